// Putting a source in force: a note for those who come after, what is in the way of it, and a question when data would be lost.
import { useState } from 'preact/hooks';
import { RpcError } from '../../client/rpc';
import { call, words } from '../../store/app';
import { t } from '../../store/texts';
import { Act, Dialog } from '../kit';
import { loss, problems_in } from './check';
import { takes } from './methods';
import type { Kind, Problem, Source } from './types';
import { own_layer } from './list';

const PATIENCE = 120_000;
const AGAIN = 500;
const TRIES = 20;

/** One version is tried at a time. Mostly that is the check of one's own text, which is over in a moment: it is waited for. */
async function when_free(params: () => Record<string, unknown>): Promise<Deployed> {
  for (let left = TRIES; ; left--) {
    try {
      return await call<Deployed>('plugin.deploy', params(), PATIENCE);
    } catch (error) {
      if (!left || !(error instanceof RpcError) || error.data?.reason !== 'deploying') throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

export interface Deployed {
  version: string | null;
  plugin?: { version?: string };
}
/** What would be lost, when the answer asks for a confirmation. */
export function lost_in(error: unknown): string[] | null {
  if (!(error instanceof RpcError) || error.code !== -32004 || error.data?.reason !== 'lossy') return null;
  return ((error.data.changes as unknown[] | undefined) ?? []).map(loss);
}
export function Lossy({ lost, sure, set }: { lost: string[]; sure: boolean; set: (yes: boolean) => void }) {
  return (
    <div class="warning lossy" role="alert">
      <p>
        <b>{t('plugin-lossy')}</b>
      </p>
      {lost.length > 0 && (
        <ul>
          {lost.map((line) => (
            <li key={line}>{line}</li>
          ))}
        </ul>
      )}
      <label class="check">
        <input type="checkbox" checked={sure} onChange={(e) => set(e.currentTarget.checked)} />
        <span>{t('plugin-lossy-sure')}</span>
      </label>
    </div>
  );
}

/** The record id of the version in force in this layer, or null. */
export async function in_force(kind: Kind, id: string): Promise<{ got: Source | null; version: string | null }> {
  try {
    const got = await call<Source>('plugin.get', { kind, id });
    return { got, version: got.layer === own_layer() ? got.version : null };
  } catch (error) {
    if (error instanceof RpcError && error.code === -32003) return { got: null, version: null };
    throw error;
  }
}

interface Props {
  kind: Kind;
  id: string;
  source: string;
  /** The version that this text began from. */
  base: string | null;
  close: () => void;
  done: (result: Deployed) => void;
  refused: (problems: Problem[]) => void;
  overtaken: () => void;
  /** False while the answer is awaited: events of one's own deploy are no news. */
  under_way: (yes: boolean) => void;
}
export function Deploy(props: Props) {
  const { kind, id, source, base } = props;
  const [note, set_note] = useState('');
  const [problem, set_problem] = useState('');
  const [lost, set_lost] = useState<string[] | null>(null);
  const [sure, set_sure] = useState(false);
  const deploy = async (): Promise<void> => {
    set_problem('');
    props.under_way(true);
    try {
      const expects = takes('plugin.deploy', 'expects');
      // A server that cannot be told is asked just before: that leaves a moment, but not an afternoon.
      if (!expects && (await in_force(kind, id)).version !== base) return props.overtaken();
      const params = { kind, id, source, note: note.trim(), ...(expects ? { expects: base } : {}), ...(lost ? { confirm: true } : {}) };
      props.done(await when_free(() => ({ ...params, idem: crypto.randomUUID() })));
    } catch (error) {
      const problems = problems_in(error);
      if (problems) return props.refused(problems);
      const data = error instanceof RpcError && error.code === -32004 ? (error.data ?? {}) : {};
      const losses = lost_in(error);
      if (losses) set_lost(losses);
      else if (data.reason === 'deploying') set_problem(t('plugin-deploying'));
      else if (data.reason === 'changed' || data.reason === 'expects') props.overtaken();
      else if (error instanceof RpcError && error.code === -32004 && (await in_force(kind, id).catch(() => null))?.version !== base) props.overtaken();
      else set_problem(words(error));
    } finally {
      props.under_way(false);
    }
  };
  return (
    <Dialog title={t('plugin-deploy-title', { id })} close={props.close}>
      <form class="stack">
        <p>{t('plugin-deploy-what')}</p>
        <label class="field">
          <span>{t('plugin-note')}</span>
          <textarea rows={3} maxLength={2000} value={note} onInput={(e) => set_note(e.currentTarget.value)} placeholder={t('plugin-note-hint')} />
        </label>
        {lost && <Lossy lost={lost} sure={sure} set={set_sure} />}
        <p class="problem" role="alert">
          {problem}
        </p>
        <div class="foot">
          <Act type="submit" class={lost ? 'primary danger' : 'primary'} disabled={!!lost && !sure} do={deploy}>
            {t(lost ? 'plugin-lossy-deploy' : 'plugin-deploy-do')}
          </Act>
          <button type="button" class="plain" onClick={props.close}>
            {t('plugin-deploy-not')}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
