// What one says about oneself: free hours, places for mentees, language; and one's sign-ins.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Envelope, Person } from '../../client/api';
import { attempt, be_visible, call, connection, keep_records, session, sign_out, toast, visible } from '../../store/app';
import { t, weekday } from '../../store/texts';
import { Act, Later, Loaded, Title, useLoad } from '../kit';
import { Languages } from '../languages';

const FIRST = 8; // hours of the day that are shown
const LAST = 21;
const MONDAY = Date.UTC(2024, 0, 1, 12); // a Monday, for names of days

/** Hours of the week as a grid of switches: one tab stop, arrows move, space switches; a finger or mouse drawn over it switches
 * all it crosses. */
function Hours({ hours, change }: { hours: number[]; change: (hours: number[]) => void }) {
  const [at, set_at] = useState<[number, number]>([5, 10]);
  const drawing = useRef<boolean | null>(null);
  const grid = useRef<HTMLTableElement>(null);
  const set = new Set(hours);
  const put = (hour: number, on: boolean): void => {
    const next = new Set(set);
    if (on) next.add(hour);
    else next.delete(hour);
    change([...next].sort((a, b) => a - b));
  };
  const key = (e: KeyboardEvent): void => {
    const [d, h] = at;
    const moves: Record<string, [number, number]> = { ArrowLeft: [d - 1, h], ArrowRight: [d + 1, h], ArrowUp: [d, h - 1], ArrowDown: [d, h + 1], Home: [0, h], End: [6, h] };
    const next = moves[e.key];
    if (!next) return;
    e.preventDefault();
    const [day, hour] = [Math.min(6, Math.max(0, next[0])), Math.min(LAST, Math.max(FIRST, next[1]))];
    set_at([day, hour]);
    grid.current?.querySelector<HTMLElement>(`[data-hour="${day * 24 + hour}"]`)?.focus();
  };
  useEffect(() => {
    const stop = (): void => void (drawing.current = null);
    addEventListener('pointerup', stop);
    return () => removeEventListener('pointerup', stop);
  }, []);
  const days = Array.from({ length: 7 }, (_, d) => weekday(MONDAY + d * 86400000));
  return (
    <table class="hours" ref={grid} onKeyDown={key}>
      <caption class="hidden">{t('hours-caption')}</caption>
      <thead>
        <tr>
          <td />
          {days.map((d, i) => (
            <th key={d} scope="col" class={i > 4 ? 'weekend' : ''}>
              <abbr title={d}>{d.slice(0, 2)}</abbr>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {Array.from({ length: LAST - FIRST + 1 }, (_, r) => FIRST + r).map((h) => (
          <tr key={h}>
            <th scope="row">{h}:00</th>
            {days.map((d, i) => {
              const hour = i * 24 + h;
              const on = set.has(hour);
              return (
                <td key={d}>
                  <button
                    type="button"
                    data-hour={hour}
                    tabIndex={at[0] === i && at[1] === h ? 0 : -1}
                    aria-pressed={on}
                    aria-label={`${d}, ${h}:00`}
                    onFocus={() => set_at([i, h])}
                    onPointerDown={(e) => {
                      if (e.pointerType === 'mouse') drawing.current = !on;
                    }}
                    onPointerEnter={() => drawing.current !== null && drawing.current !== on && put(hour, drawing.current)}
                    onClick={() => (drawing.current = null, put(hour, !on))}
                  />
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function About({ person }: { person: Envelope<Person> }) {
  const [hours, set_hours] = useState(person.data.availability ?? []);
  const [capacity, set_capacity] = useState(person.data.mentoring?.capacity ?? 0);
  const [away, set_away] = useState(person.data.mentoring?.status === 'off');
  const [tags, set_tags] = useState({
    languages: (person.data.languages ?? []).join(', '),
    strengths: (person.data.strengths ?? []).join(', '),
    needs: (person.data.needs ?? []).join(', '),
    interests: (person.data.interests ?? []).join(', '),
  });
  const save = async (): Promise<void> => {
    const split = (text: string): string[] => [...new Set(text.split(',').map((w) => w.trim()).filter(Boolean))];
    const record = await attempt<Envelope<Person>>('person.update', {
      availability: hours,
      mentoring: { capacity, status: away ? 'off' : 'active' },
      languages: split(tags.languages),
      strengths: split(tags.strengths),
      needs: split(tags.needs),
      interests: split(tags.interests),
    });
    if (!record) return;
    keep_records([record]);
    toast.value = { text: t('saved') };
  };
  return (
    <>
      <section class="card" aria-labelledby="hours">
        <h2 id="hours">{t('hours')}</h2>
        <p class="note">{t('hours-note')}</p>
        <Hours hours={hours} change={set_hours} />
      </section>
      <section class="card" aria-labelledby="mentoring">
        <h2 id="mentoring">{t('mentoring')}</h2>
        <label class="field inline">
          <span>{t('capacity')}</span>
          <input type="number" min={0} max={20} value={capacity} onInput={(e) => set_capacity(Math.max(0, Math.min(20, e.currentTarget.valueAsNumber || 0)))} />
        </label>
        <label class="check">
          <input type="checkbox" checked={away} onChange={(e) => set_away(e.currentTarget.checked)} /> {t('mentoring-off')}
        </label>
        {(['languages', 'strengths', 'needs', 'interests'] as const).map((name) => (
          <label key={name} class="field">
            <span>{t(`field-${name}`)}</span>
            <input value={tags[name]} onInput={(e) => set_tags({ ...tags, [name]: e.currentTarget.value })} />
          </label>
        ))}
        <p class="note">{t('commas')}</p>
      </section>
      <div class="foot sticky">
        <Act class="primary" do={save}>
          {t('save')}
        </Act>
      </div>
    </>
  );
}

function Seen() {
  const change = async (box: HTMLInputElement): Promise<void> => {
    await be_visible(box.checked);
    box.checked = visible.peek(); // what the server has, also when it could not be reached
  };
  return (
    <section class="card" aria-labelledby="seen">
      <h2 id="seen">{t('seen')}</h2>
      <label class="check">
        <input type="checkbox" checked={visible.value} disabled={connection.value !== 'open'} onChange={(e) => void change(e.currentTarget)} /> {t('seen-online')}
      </label>
      <p class="note">{t('seen-note')}</p>
    </section>
  );
}

export function Me() {
  const mine = useLoad(() => call<{ person: Envelope<Person> | null; account: { login: string; roles: string[] } }>('person.me'), []);
  return (
    <>
      <Loaded of={mine}>
        {({ person, account }) => (
          <>
            <Title note={[person?.data.group, person?.data.faculty, ...account.roles.map((r) => t(`role-${r}`))].filter(Boolean).join(' · ')}>{person?.data.name ?? account.login}</Title>
            {person && <About key={person.id} person={person} />}
          </>
        )}
      </Loaded>
      <section class="card">
        <Languages />
      </section>
      {session.value?.person && <Seen />}
      <Later load={() => import('../account').then((m) => m.with_texts(m.Account))} />
      <Act class="wide" do={sign_out} disabled={connection.value !== 'open'}>
        {t('sign-out')}
      </Act>
    </>
  );
}
