// Asks the server about a source as one types: a moment after the last key, one question at a time, the newest text only.
import { useEffect, useRef, useState } from 'preact/hooks';
import { OFFLINE, RpcError } from '../../client/rpc';
import { call, connection, words } from '../../store/app';
import type { Translated } from '../../client/api';
import { say, t } from '../../store/texts';
import { tests_of } from './source';
import type { Kind, Problem, TestRow } from './types';

const PAUSE = 600;
const AGAIN = 1500; // somebody else's trial is under way, or too many were asked for

export interface Checked {
  /** The text that this is about. */
  source: string;
  problems: Problem[];
  /** Names that nothing has, and the like: it may be put in force all the same. */
  warnings: Problem[];
  tests: TestRow[];
}
export interface Checking {
  checked: Checked | null;
  busy: boolean;
  /** Why nothing is known, when it is not the plugin's fault. */
  trouble: string;
}

/** Problems in an answer of the server about a plugin, or null when the answer is about something else. */
export function problems_in(error: unknown): Problem[] | null {
  if (!(error instanceof RpcError)) return null;
  const data = error.data ?? {};
  const list = data.errors as Problem[] | undefined;
  // Parameters (too long a source, …) have their own list, without lines.
  if (error.code === -32602) return (list ?? []).map((p) => ({ message: [p.path, p.message].filter(Boolean).join(': ') }));
  if (error.code !== -32006) return null;
  if (Array.isArray(list) && list.length) return list;
  return [{ message: String(data.message ?? error.message), ...(data.line ? { line: Number(data.line) } : {}), ...(data.file ? { file: String(data.file) } : {}) }];
}

/** What a change of record types would lose, as the server names it. */
export function loss(change: unknown): string {
  if (typeof change === 'string') return change;
  const c = (change ?? {}) as Record<string, unknown>;
  if (c.text) return say(c.text as Translated);
  const where = [c.type, c.field].filter(Boolean).join('.');
  const what = [c.message ?? c.what ?? '', c.records !== undefined ? t('plugin-lossy-records', { count: Number(c.records) }) : ''].filter(Boolean).join(' · ');
  return [where, String(what)].filter(Boolean).join(': ');
}

export function useCheck(kind: Kind, id: string): Checking & { look: (source: string, now?: boolean) => void } {
  const [state, set] = useState<Checking>({ checked: null, busy: false, trouble: '' });
  const work = useRef({ wanted: null as string | null, running: false, timer: undefined as ReturnType<typeof setTimeout> | undefined, gone: false });
  const run = async (): Promise<void> => {
    const w = work.current;
    if (w.running || w.wanted === null || w.gone) return;
    const source = w.wanted;
    w.wanted = null;
    w.running = true;
    set((s) => ({ ...s, busy: true }));
    let checked: Checked | null = null;
    let trouble = '';
    try {
      const result = await call<{ tests?: TestRow[]; warnings?: Problem[]; changes?: unknown[] }>('plugin.check', { kind, id, source }, 60_000);
      checked = { source, problems: [], warnings: [...(result.warnings ?? []), ...(result.changes ?? []).map((c) => ({ message: t('plugin-lossy-would', { what: loss(c) }) }))], tests: tests_of(source, [], Array.isArray(result.tests) ? result.tests : undefined) };
    } catch (error) {
      const problems = problems_in(error);
      if (problems) {
        const given = (error as RpcError).data?.tests;
        checked = { source, problems, warnings: [], tests: tests_of(source, problems, Array.isArray(given) ? (given as TestRow[]) : undefined) };
      } else {
        const e = error instanceof RpcError ? error : null;
        const passing = (e?.code === -32004 && e.data?.reason === 'deploying') || e?.code === -32005;
        if (passing || e?.code === OFFLINE) w.wanted ??= source;
        if (passing) w.timer = setTimeout(() => void run(), Number(e?.data?.retry_after ?? 0) * 1000 || AGAIN);
        trouble = passing ? '' : words(error);
      }
    }
    w.running = false;
    if (w.gone) return;
    set((s) => ({ checked: checked ?? s.checked, busy: w.wanted !== null && !trouble, trouble }));
    if (checked && w.wanted !== null && !w.timer) void run();
  };
  useEffect(() => {
    if (connection.value === 'open') void run(); // what could not be asked without a network
  }, [connection.value]);
  useEffect(
    () => () => {
      work.current.gone = true;
      clearTimeout(work.current.timer);
    },
    [],
  );
  const look = (source: string, now = false): void => {
    const w = work.current;
    w.wanted = source;
    clearTimeout(w.timer);
    w.timer = setTimeout(() => ((w.timer = undefined), void run()), now ? 0 : PAUSE);
  };
  return { ...state, look };
}
