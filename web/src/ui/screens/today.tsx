// The first screen of every role: at most five things, the most urgent first, each one sentence, one button and its clock.
import { useEffect, useState } from 'preact/hooks';
import type { Envelope, Programme, Today } from '../../client/api';
import { call, is_admin, is_staff, list, on_event, session } from '../../store/app';
import { to } from '../../store/route';
import { date, given_name, left, number, say, t, weekday } from '../../store/texts';
import { Empty, Icon, Later, Loaded, Title, useLoad } from '../kit';
import { Ikat } from '../languages';

interface Overview {
  people: number;
  mentors: number;
  mentees: number;
  answered: Record<string, number>;
  pairs: { requested: number; active: number; ended: number };
  meetings: Record<string, number>;
  silent: { pair: string; mentor_name: string; mentee_name: string; days: number }[];
}

/** The coordinator's first number: meetings held per pair. Four or more are what helps. */
function Programmes() {
  const programmes = useLoad(() => list<Programme>('programme', { limit: 10, order: 'desc' }), []);
  const active = programmes.value?.items.find((p) => p.data.state !== 'ended');
  if (!active) return null;
  return <Numbers programme={active} />;
}
function Numbers({ programme }: { programme: Envelope<Programme> }) {
  const overview = useLoad(() => call<Overview>('programme.overview', { programme: programme.id }), [programme.id]);
  const keys = ['0', '1', '2', '3', '4+'];
  return (
    <section class="card" aria-labelledby="numbers">
      <h2 id="numbers">{say(programme.data.title)}</h2>
      <Loaded of={overview} rows={2}>
        {(o) => {
          const most = Math.max(1, ...keys.map((k) => o.meetings[k] ?? 0));
          return (
            <>
              <p class="figures">
                <span>
                  <b>{number(o.people)}</b> {t('people-count')}
                </span>
                <span>
                  <b>{number(o.pairs.active)}</b> {t('pairs-count')}
                </span>
                <span>
                  <b>{number(o.answered.before ?? 0)}</b> {t('answered-count')}
                </span>
              </p>
              <h3>{t('meetings-per-pair')}</h3>
              <table class="bars">
                <thead class="hidden">
                  <tr>
                    <th scope="col">{t('meetings-held')}</th>
                    <th scope="col">{t('pairs-count')}</th>
                  </tr>
                </thead>
                <tbody>
                  {keys.map((k) => (
                    <tr key={k} class={k === '4+' ? 'good' : ''}>
                      <th scope="row">{k}</th>
                      <td>
                        <meter min={0} max={most} value={o.meetings[k] ?? 0} aria-hidden="true" />
                        <span>{o.meetings[k] ?? 0}</span>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
              <p class="note">{t('meetings-why')}</p>
            </>
          );
        }}
      </Loaded>
    </section>
  );
}

export function TodayScreen() {
  const things = useLoad(() => call<{ items: Today[] }>('today.list'), []);
  const [thanks, set_thanks] = useState(false);
  // What others do changes the list; it is read again at most once in two seconds, so that a busy term does not flood it.
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = on_event((event) => {
      if (event.type === 'job' || timer) return;
      timer = setTimeout(() => ((timer = undefined), things.again()), 2000);
    });
    return () => (clearTimeout(timer), stop());
  }, []);
  const count = things.value?.items.length;
  const [before, set_before] = useState<number | undefined>();
  useEffect(() => {
    if (count === undefined) return;
    if (before !== undefined && count < before) {
      set_thanks(true);
      setTimeout(() => set_thanks(false), 6000);
    }
    set_before(count);
  }, [count]);
  const first = given_name(session.value?.name ?? '');
  const now = Date.now();
  return (
    <>
      <Ikat />
      <Title note={`${weekday(now)}, ${date(now)}`}>{first ? t('hello-name', { name: first }) : t('hello')}</Title>
      <div role="status" class="thanks">
        {thanks && t('thanks-done')}
      </div>
      {is_admin.value && <Later rows={0} load={() => import('../plugins/returned').then((m) => m.Returned)} />}
      <Loaded of={things} rows={3}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title={t('today-empty')}>
              <p>{t(is_staff.value ? 'today-empty-staff' : 'today-empty-hint')}</p>
            </Empty>
          ) : (
            <ol class="things">
              {items.map((item) => (
                <li key={item.key + (item.action.id ?? '')} class={item.urgent ? 'thing urgent' : 'thing'}>
                  <p class="thing-text">{say(item.text)}</p>
                  <div class="thing-foot">
                    <span class="clock">
                      {item.due !== undefined && (
                        <>
                          <Icon name="clock" /> {left(item.due, now)}
                        </>
                      )}
                    </span>
                    <a class="button" href={to(item.action.screen, ...(item.action.id ? [item.action.id] : []))}>
                      {say(item.label) || t('open')}
                    </a>
                  </div>
                </li>
              ))}
            </ol>
          )
        }
      </Loaded>
      {is_staff.value && <Programmes />}
    </>
  );
}
