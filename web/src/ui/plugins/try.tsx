// A trial of what stands in the editor on the institution's real data, without any effect: answers to a questionnaire scored, a method
// called. What it would have written is shown and thrown away.
import { useState } from 'preact/hooks';
import type { Questionnaire } from '../../client/api';
import { RpcError } from '../../client/rpc';
import { call, me, words } from '../../store/app';
import { number, say, t } from '../../store/texts';
import { Act, Empty, Loaded, useLoad } from '../kit';
import { problems_in } from './check';
import { Problems } from './list';
import { item_ids, method_names, value_of } from './source';
import type { Kind, Problem, Tried } from './types';

export interface Trouble {
  text: string;
  problems: Problem[];
}
export function trouble_of(error: unknown): Trouble {
  const problems = problems_in(error);
  if (problems) return { text: t('plugin-try-failed'), problems };
  // "No" is an answer, too: what the rule refuses, in its own words.
  const data = error instanceof RpcError ? (error.data ?? {}) : {};
  return { text: error instanceof RpcError && error.code === -32004 && data.reason && !data.text ? t('plugin-try-refused', { reason: String(data.reason) }) : words(error), problems: [] };
}
export function TroubleView({ trouble, id, go }: { trouble: Trouble | null; id: string; go: (line: number) => void }) {
  return (
    <div role="alert">
      {trouble && (
        <>
          <p class="problem">{trouble.text}</p>
          {trouble.problems.length > 0 && <Problems items={trouble.problems} id={id} go={go} />}
        </>
      )}
    </div>
  );
}

function Shown({ tried }: { tried: Tried }) {
  const result = tried.result;
  const parts = (result && typeof result === 'object' ? result : {}) as { result?: never; scores?: Record<string, number>; bands?: Record<string, unknown>; urgent?: boolean };
  return (
    <div class="tried" role="status">
      <h3>{t('plugin-try-result')}</h3>
      {parts.result && <p class="result">{say(parts.result)}</p>}
      {parts.urgent && <p class="warning">{t('plugin-try-urgent')}</p>}
      {parts.scores && (
        <table class="table">
          <thead>
            <tr>
              <th scope="col">{t('plugin-try-scale')}</th>
              <th scope="col">{t('plugin-try-score')}</th>
              <th scope="col">{t('plugin-try-band')}</th>
            </tr>
          </thead>
          <tbody>
            {Object.entries(parts.scores).map(([scale, score]) => (
              <tr key={scale}>
                <th scope="row">{scale}</th>
                <td>{typeof score === 'number' ? number(score, 2) : '–'}</td>
                <td>{band(parts.bands?.[scale])}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {!parts.scores && (
        <pre class="command" tabIndex={0} aria-label={t('plugin-try-result')}>
          <code>{JSON.stringify(result ?? null, null, 2)}</code>
        </pre>
      )}
      {!!tried.changes?.length && (
        <details open>
          <summary>{t('plugin-try-changes', { count: tried.changes.length })}</summary>
          <pre class="command" tabIndex={0} aria-label={t('plugin-try-changes', { count: tried.changes.length })}>
            <code>{JSON.stringify(tried.changes, null, 2)}</code>
          </pre>
        </details>
      )}
      {!!tried.logs?.length && (
        <details open>
          <summary>{t('plugin-try-logs')}</summary>
          <ul>
            {tried.logs.map((l, i) => (
              <li key={i}>
                <code>{typeof l === 'string' ? l : `${l.level}: ${l.text}`}</code>
              </li>
            ))}
          </ul>
        </details>
      )}
      {tried.cpu_ms !== undefined && <p class="note">{t('plugin-try-cpu', { ms: number(tried.cpu_ms, 1) })}</p>}
    </div>
  );
}
function band(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  const b = value as { name?: string; text?: never };
  return say(b.text) || b.name || JSON.stringify(value);
}

interface Props {
  kind: Kind;
  id: string;
  source: () => string;
  /** As it was when the panel was opened, for what is offered. */
  text: string;
  go: (line: number) => void;
}
function useTrial(kind: Kind, id: string, source: () => string) {
  const [tried, set_tried] = useState<Tried | null>(null);
  const [trouble, set_trouble] = useState<Trouble | null>(null);
  const run = async (params: Record<string, unknown>): Promise<void> => {
    set_trouble(null);
    try {
      set_tried(await call<Tried>('plugin.try', { kind, id, source: source(), ...params }, 60_000));
    } catch (error) {
      set_tried(null);
      set_trouble(trouble_of(error));
    }
  };
  return { tried, trouble, run, say: (text: string) => (set_tried(null), set_trouble({ text, problems: [] })) };
}

function Answers({ kind, id, source, text, go }: Props) {
  // Items of the file; those that it makes as it runs are known of the version in force.
  const deployed = useLoad(() => call<Questionnaire>('questionnaire.get', { questionnaire: id }).catch(() => null).then((q) => ({ items: q?.items ?? [] })), [id]);
  const [answers, set_answers] = useState<Record<string, string>>({});
  const trial = useTrial(kind, id, source);
  return (
    <Loaded of={deployed} rows={3}>
      {({ items }) => {
        const ids = [...new Set([...item_ids(text), ...items.map((i) => i.id)])];
        const about = new Map(items.map((i) => [i.id, i]));
        const any = (): void =>
          set_answers(
            Object.fromEntries(
              ids.map((item) => {
                const options = about.get(item)?.options;
                const value = options?.length ? options[Math.floor(Math.random() * options.length)]!.value : 1 + Math.floor(Math.random() * 5);
                return [item, String(value)];
              }),
            ),
          );
        if (!ids.length) return <Empty title={t('plugin-try-no-items')} />;
        return (
          <form class="stack">
            <p class="note">{t('plugin-try-answers-note')}</p>
            <div class="answers">
              {ids.map((item) => (
                <label key={item} class="field" title={say(about.get(item)?.text)}>
                  <span>{item}</span>
                  <input value={answers[item] ?? ''} autocomplete="off" inputMode="text" onInput={(e) => set_answers({ ...answers, [item]: e.currentTarget.value })} />
                </label>
              ))}
            </div>
            <div class="foot">
              <Act
                type="submit"
                class="primary"
                do={() => trial.run({ answers: Object.fromEntries(ids.map((i) => [i, value_of(answers[i] ?? '')] as const).filter(([, v]) => v !== null)) })}
              >
                {t('plugin-try-score-do')}
              </Act>
              <button type="button" onClick={any}>
                {t('plugin-try-any')}
              </button>
            </div>
            <TroubleView trouble={trial.trouble} id={id} go={go} />
            {trial.tried && <Shown tried={trial.tried} />}
          </form>
        );
      }}
    </Loaded>
  );
}

function Method({ kind, id, source, text, go }: Props) {
  const methods = method_names(text);
  const [method, set_method] = useState(methods[0] ?? '');
  const [params, set_params] = useState('{}');
  const [person, set_person] = useState('');
  const trial = useTrial(kind, id, source);
  const needs_method = kind === 'service' || kind === 'activity';
  const run = async (): Promise<void> => {
    let parsed: unknown;
    try {
      parsed = JSON.parse(params.trim() || '{}');
    } catch (error) {
      return trial.say(t('plugin-try-json', { message: (error as Error).message }));
    }
    await trial.run({ ...(method ? { method } : {}), params: parsed, ...(person.trim() ? { person: person.trim() } : {}) });
  };
  return (
    <form class="stack">
      <p class="note">{t('plugin-try-note')}</p>
      {needs_method && (
        <label class="field">
          <span>{t('plugin-try-method')}</span>
          <input list="plugin-methods" value={method} autocomplete="off" autocapitalize="off" spellcheck={false} onInput={(e) => set_method(e.currentTarget.value)} />
          <datalist id="plugin-methods">
            {methods.map((m) => (
              <option key={m} value={m} />
            ))}
          </datalist>
        </label>
      )}
      <label class="field">
        <span>{t('plugin-try-params')}</span>
        <textarea class="code" rows={4} value={params} autocapitalize="off" spellcheck={false} onInput={(e) => set_params(e.currentTarget.value)} />
      </label>
      {needs_method && (
        <label class="field">
          <span>{t('plugin-try-person')}</span>
          <input value={person} placeholder={me.value ?? ''} autocomplete="off" autocapitalize="off" spellcheck={false} onInput={(e) => set_person(e.currentTarget.value)} />
        </label>
      )}
      <div class="foot">
        <Act type="submit" class="primary" do={run}>
          {t('plugin-try-do')}
        </Act>
      </div>
      <TroubleView trouble={trial.trouble} id={id} go={go} />
      {trial.tried && <Shown tried={trial.tried} />}
    </form>
  );
}

export function Try(props: Props) {
  return props.kind === 'questionnaire' ? <Answers {...props} /> : <Method {...props} />;
}
