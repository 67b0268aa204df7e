// What a plugin says as it runs: what was said lately, then live, as long as one looks. Bounded, may be held, filtered by level and word.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { call, connection, on_notice, words } from '../../store/app';
import { date, fold, t, time } from '../../store/texts';
import { Empty } from '../kit';
import { merged } from './lists';
import { can } from './methods';
import type { Kind, LogLine } from './types';

const MOST = 500;

export function Log({ kind, id, go }: { kind: Kind; id: string; go: (line: number) => void }) {
  const [lines, set_lines] = useState<LogLine[]>([]);
  const [level, set_level] = useState('');
  const [search, set_search] = useState('');
  const [held, set_held] = useState(false);
  const [trouble, set_trouble] = useState('');
  const waiting = useRef<LogLine[]>([]);
  const hold = useRef(false);
  hold.current = held;
  const live = connection.value === 'open';
  const add = (more: LogLine[]): void => set_lines((before) => merged(before, more));
  useEffect(() => {
    if (!live) return;
    let gone = false;
    set_lines([]);
    waiting.current = [];
    const filter = { kind, id, ...(level ? { level } : {}) };
    const stop = on_notice((method, params) => {
      const line = params as unknown as LogLine;
      if (method !== 'plugin.log' || (line.id && (line.id !== id || (line.kind && line.kind !== kind)))) return;
      if (hold.current) waiting.current = [...waiting.current, line].slice(-MOST);
      else add([line]);
    });
    const start = async (): Promise<void> => {
      try {
        // First the live ones, so that nothing falls between.
        if (can('plugin.log_open')) await call('plugin.log_open', filter);
        if (can('plugin.log')) {
          const { items } = await call<{ items: LogLine[] }>('plugin.log', { ...filter, limit: 200 });
          if (!gone) add(items);
        }
        if (!gone) set_trouble('');
      } catch (error) {
        if (!gone) set_trouble(words(error));
      }
    };
    void start();
    return () => {
      gone = true;
      stop();
      if (can('plugin.log_close')) call('plugin.log_close').catch(() => undefined);
    };
  }, [kind, id, level, live]);
  const go_on = (): void => {
    add(waiting.current);
    waiting.current = [];
    set_held(false);
  };
  const wanted = fold(search);
  const shown = useMemo(() => lines.filter((l) => !wanted || fold(`${l.text} ${l.method ?? ''}`).includes(wanted)), [lines, wanted]);
  const end = useRef<HTMLDivElement>(null);
  const follow = useRef(true); // down to the newest, unless one reads further up
  useEffect(() => {
    const box = end.current;
    if (box && follow.current) box.scrollTop = box.scrollHeight;
  }, [shown]);
  return (
    <>
      <div class="log-tools">
        <label class="field">
          <span>{t('plugin-log-level')}</span>
          <select value={level} onChange={(e) => set_level(e.currentTarget.value)}>
            <option value="">{t('plugin-log-all')}</option>
            {['debug', 'info', 'warn', 'error'].map((l) => (
              <option key={l} value={l}>
                {t(`log-level-${l}`)}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span>{t('plugin-log-search')}</span>
          <input type="search" value={search} onInput={(e) => set_search(e.currentTarget.value)} />
        </label>
        <button type="button" aria-pressed={held} class={held ? 'on' : ''} onClick={() => (held ? go_on() : set_held(true))}>
          {t(held ? 'plugin-log-on' : 'plugin-log-hold')}
        </button>
        <button type="button" class="plain" onClick={() => set_lines([])}>
          {t('plugin-log-clear')}
        </button>
      </div>
      <p class="problem" role="alert">
        {trouble}
      </p>
      {shown.length === 0 && (
        <Empty title={t('plugin-log-none')}>
          <p>{t('plugin-log-none-hint')}</p>
        </Empty>
      )}
      <div ref={end} class="log-lines" role="log" aria-label={t('desk-log')} tabIndex={0} hidden={shown.length === 0} onScroll={(e) => (follow.current = e.currentTarget.scrollHeight - e.currentTarget.scrollTop - e.currentTarget.clientHeight < 24)}>
        <ol class="plain-list">
        {shown.map((l, i) => (
          <li key={`${l.time}-${i}`} class={`log-${l.level}`}>
            <small>
              <time dateTime={new Date(l.time).toISOString()} title={date(l.time)}>
                {time(l.time)}:{String(new Date(l.time).getUTCSeconds()).padStart(2, '0')}
              </time>{' '}
              {t(`log-level-${['debug', 'info', 'warn', 'error'].includes(l.level) ? l.level : 'info'}`)}
              {l.method && (
                <>
                  {' '}
                  · <code>{l.method}</code>
                </>
              )}
              {!!l.line && (
                <>
                  {' '}
                  ·{' '}
                  <button type="button" class="plain link" onClick={() => go(l.line!)}>
                    {t('plugin-line', { line: l.line })}
                  </button>
                </>
              )}
              {l.version && (
                <>
                  {' '}
                  · <code>{l.version.slice(0, 12)}</code>
                </>
              )}
            </small>
            {!!l.missed && <small>{t('plugin-log-missed', { count: l.missed })}</small>}
            <code class="log-text">{l.text}</code>
          </li>
        ))}
        </ol>
      </div>
    </>
  );
}
