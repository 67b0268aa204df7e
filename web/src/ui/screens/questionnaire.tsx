// Questionnaires: which wait, and answering one, a page at a time. Answers that were not sent yet stay on this device.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Item, Questionnaire, QuestionnaireRow, Submitted } from '../../client/api';
import { call, me, roles, session, words } from '../../store/app';
import { go, route, to } from '../../store/route';
import { date, left, say, t } from '../../store/texts';
import { Act, Empty, Icon, Loaded, Title, useLoad } from '../kit';

type Answers = Record<string, unknown>;

function List() {
  const rows = useLoad(() => call<{ items: QuestionnaireRow[] }>('questionnaire.list'), []);
  return (
    <>
      <Title note={t('questionnaires-note')}>{t('nav-questionnaire')}</Title>
      <Loaded of={rows}>
        {({ items }) => {
          const due = items.filter((q) => q.due.length);
          const rest = items.filter((q) => !q.due.length);
          return (
            <>
              {due.length === 0 && <Empty title={t('questionnaires-none')} />}
              {due.map((q) => (
                <article key={q.id} class="card">
                  <h2>{say(q.title)}</h2>
                  <p class="note">
                    {q.minutes !== undefined && t('minutes', { count: q.minutes })}
                    {q.due[0]?.due !== undefined && ` · ${left(q.due[0].due)}`}
                  </p>
                  <a class="button primary" href={to('questionnaire', q.id)}>
                    {t('questionnaire-begin')}
                  </a>
                </article>
              ))}
              {rest.length > 0 && <h2>{t('questionnaires-others')}</h2>}
              <ul class="rows">
                {rest.map((q) => (
                  <li key={q.id}>
                    <a class="row" href={to('questionnaire', q.id)}>
                      <span>
                        <b>{say(q.title)}</b>
                        {q.done[0] && <small>{t('questionnaire-taken', { date: date(q.done[0].taken) })}</small>}
                      </span>
                      {q.minutes !== undefined && <small>{t('minutes', { count: q.minutes })}</small>}
                    </a>
                  </li>
                ))}
              </ul>
            </>
          );
        }}
      </Loaded>
    </>
  );
}

function Question({ item, value, set }: { item: Item; value: unknown; set: (value: unknown) => void }) {
  const name = 'item-' + item.id;
  if (item.type === 'number' || item.type === 'text')
    return (
      <label class="field question">
        <span>{say(item.text)}</span>
        {item.type === 'number' ? (
          <input name={name} type="number" min={item.min} max={item.max} value={value === undefined ? '' : String(value)} onInput={(e) => set(e.currentTarget.value === '' ? undefined : e.currentTarget.valueAsNumber)} />
        ) : (
          <textarea name={name} maxLength={item.max ?? 2000} value={String(value ?? '')} onInput={(e) => set(e.currentTarget.value || undefined)} />
        )}
      </label>
    );
  return (
    <fieldset class="question">
      <legend>{say(item.text)}</legend>
      <div class="options">
        {item.options.map((option) => (
          <label key={String(option.value)} class="option">
            <input type="radio" name={name} value={String(option.value)} checked={value === option.value} onChange={() => set(option.value)} />
            <span>{say(option.text)}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

function Fill({ form }: { form: Questionnaire }) {
  const key = `hamroh-answers-${session.value?.institution}-${me.value}-${form.id}`;
  const [answers, set_answers] = useState<Answers>(() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? '{}') as Answers;
    } catch {
      return {};
    }
  });
  const [page, set_page] = useState(0);
  const [problem, set_problem] = useState('');
  const [done, set_done] = useState<Submitted | null>(null);
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => {
    try {
      localStorage.setItem(key, JSON.stringify(answers));
    } catch {
      /* answers then live as long as the page */
    }
  }, [answers]);
  const pages = form.pages;
  const items = (pages[page] ?? []).map((id) => form.items.find((i) => i.id === id)).filter((i): i is Item => !!i);
  const turn = (next: number): void => {
    set_page(next);
    set_problem('');
    setTimeout(() => top.current?.focus(), 0);
  };
  const open = items.filter((i) => answers[i.id] === undefined).length;
  const submit = async (): Promise<void> => {
    set_problem('');
    try {
      set_done(await call<Submitted>('questionnaire.submit', { questionnaire: form.id, answers }));
      localStorage.removeItem(key);
    } catch (error) {
      set_problem(words(error));
    }
  };
  if (done)
    return (
      <>
        <Title>{t('questionnaire-thanks')}</Title>
        <div class="card result">
          <p>{say(done.result)}</p>
        </div>
        <a class="button primary" href={to('today')}>
          {t('to-today')}
        </a>
      </>
    );
  const answered = form.items.filter((i) => answers[i.id] !== undefined).length;
  return (
    <>
      <Title note={page === 0 ? say(form.intro) : undefined}>{say(form.title)}</Title>
      <div ref={top} tabIndex={-1} class="progress">
        <progress max={form.items.length} value={answered} aria-label={t('questionnaire-progress')} />
        <small>{t('page-of', { page: page + 1, pages: pages.length })}</small>
      </div>
      {form.stem && <p class="stem">{say(form.stem)}</p>}
      {items.map((item) => (
        <Question key={item.id} item={item} value={answers[item.id]} set={(value) => set_answers((a) => ({ ...a, [item.id]: value }))} />
      ))}
      {open > 0 && <p class="note">{t('questionnaire-open', { count: open })}</p>}
      <p class="problem" role="alert">
        {problem}
      </p>
      <div class="foot">
        {page > 0 ? (
          <button type="button" onClick={() => turn(page - 1)}>
            {t('back')}
          </button>
        ) : (
          <a class="button" href={to('questionnaire')}>
            {t('later')}
          </a>
        )}
        {page + 1 < pages.length ? (
          <button type="button" class="primary" onClick={() => turn(page + 1)}>
            {t('next')}
          </button>
        ) : (
          <Act class="primary" do={submit} disabled={answered === 0}>
            {t('questionnaire-send')}
          </Act>
        )}
      </div>
      <details class="note">
        <summary>{t('questionnaire-about')}</summary>
        <p>{t(form.sensitive ? 'questionnaire-sealed' : 'questionnaire-kept')}</p>
        {form.source && <p lang="en">{form.source}</p>}
      </details>
    </>
  );
}

interface Opened {
  scores?: Record<string, number>;
  bands?: Record<string, string>;
}
/** A psychologist opens what was entrusted to them; the reason is asked first, and kept. */
function Entrusted({ id }: { id: string }) {
  const [why, set_why] = useState('');
  const [seen, set_seen] = useState<Opened | null>(null);
  const [problem, set_problem] = useState('');
  const form = useRef<HTMLFormElement>(null);
  const open = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    try {
      set_seen(await call<Opened>('questionnaire.open', { result: id, why }));
      set_problem('');
    } catch (error) {
      set_problem(words(error));
    }
  };
  return (
    <>
      <Title note={t('entrusted-note')}>{t('entrusted')}</Title>
      {seen ? (
        <table class="table">
          <tbody>
            {Object.entries(seen.scores ?? {}).map(([scale, score]) => (
              <tr key={scale}>
                <th scope="row">{scale}</th>
                <td>{typeof score === 'number' ? score : JSON.stringify(score)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <form ref={form} class="card" onSubmit={(e) => (e.preventDefault(), void open())}>
          <label class="field">
            <span>{t('entrusted-why')}</span>
            <input required minLength={3} maxLength={200} value={why} onInput={(e) => set_why(e.currentTarget.value)} />
          </label>
          <p class="problem" role="alert">
            {problem}
          </p>
          <Act class="primary" type="submit" do={open}>
            <Icon name="lock" /> {t('entrusted-open')}
          </Act>
        </form>
      )}
    </>
  );
}

export function QuestionnaireScreen() {
  const id = route.value[1];
  if (!id) return <List />;
  if (id.includes(':') && roles.value.includes('psychologist')) return <Entrusted id={id} />;
  return <One id={id} />;
}
function One({ id }: { id: string }) {
  const form = useLoad(() => call<Questionnaire>('questionnaire.get', { questionnaire: id }), [id]);
  useEffect(() => {
    if (id.includes(':')) go('questionnaire');
  }, [id]);
  return <Loaded of={form}>{(value) => <Fill form={value} />}</Loaded>;
}
