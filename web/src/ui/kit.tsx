// Small pieces that every screen uses: icons, buttons with their state, waiting, empty and broken states, dialogs.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import { online, reloads, words } from '../store/app';
import { t } from '../store/texts';

const paths: Record<string, string> = {
  today: 'M4 11 12 4l8 7M6 10v9h12v-9M10 19v-5h4v5',
  pair: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM16.5 12a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM3 19c0-3 2-5 5-5s5 2 5 5M14 15c3.5-1 6 .5 6.5 4',
  questionnaire: 'M6 4h12v16H6zM9 9h6M9 13h6M9 17h3',
  match: 'M5 6h5M5 12h5M5 18h5M19 6h-3M19 12h-3M19 18h-3M10 6l6 6M10 12l6-6M10 18h6',
  people: 'M12 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM5 20c0-4 3-6 7-6s7 2 7 6',
  changes: 'M4 19h16M6 15l4-5 3 3 5-7M18 6h-4M18 6v4',
  admin: 'M12 3.5 5 6v5.5c0 4.5 3 7.5 7 9 4-1.5 7-4.5 7-9V6zM9 12l2.2 2.2L15 10',
  me: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 12a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM7 18c1-2.5 3-3.5 5-3.5s4 1 5 3.5',
  bell: 'M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15zM10 20.5h4',
  send: 'M4 12 20 5l-5 15-3.5-6.5zM11.5 13.5 20 5',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 8v4l3 2',
  check: 'M5 12.5 10 17l9-10',
  lock: 'M7 11h10v8H7zM9 11V8a3 3 0 0 1 6 0v3',
  undo: 'M9 7 5 11l4 4M5 11h9a4.5 4.5 0 0 1 0 9h-3',
  warn: 'M12 4 3 19h18zM12 10v4M12 16.5v.5',
  flag: 'M6 20V5h10l-2 4 2 4H6',
};
export function Icon({ name }: { name: string }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name] ?? paths.today} />
    </svg>
  );
}

/** A button that shows that it is at work and cannot be pressed twice. */
export function Act(props: { do: () => unknown; class?: string; disabled?: boolean; children: ComponentChildren; label?: string; type?: 'button' | 'submit' }) {
  const [busy, set_busy] = useState(false);
  const press = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    set_busy(true);
    try {
      await props.do();
    } finally {
      set_busy(false);
    }
  };
  return (
    <button type={props.type ?? 'button'} class={props.class ?? ''} disabled={props.disabled ?? false} aria-disabled={busy} aria-busy={busy} aria-label={props.label} onClick={press}>
      {props.children}
    </button>
  );
}

/** Loads something when `keys` change and after a feed that could not be resumed. */
export function useLoad<T>(load: () => Promise<T>, keys: unknown[]): { value: T | undefined; error: unknown; again: () => void } {
  const [state, set] = useState<{ value: T | undefined; error: unknown }>({ value: undefined, error: undefined });
  const [round, set_round] = useState(0);
  useEffect(() => {
    let stale = false;
    load().then(
      (value) => stale || set({ value, error: undefined }),
      (error: unknown) => stale || set((before) => ({ ...before, error })),
    );
    return () => {
      stale = true;
    };
  }, [...keys, round, reloads.value]);
  return { ...state, again: () => set_round((r) => r + 1) };
}

export function Skeleton({ rows = 3 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status">
      <span class="hidden">{t('loading')}</span>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class="bone" aria-hidden="true" />
      ))}
    </div>
  );
}
export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children}
    </div>
  );
}
export function Broken({ error, again }: { error: unknown; again: () => void }) {
  return (
    <div class="broken" role="alert">
      <Icon name="warn" />
      <p>{words(error)}</p>
      <button type="button" onClick={again}>
        {t('try-again')}
      </button>
    </div>
  );
}
/** What is loaded, or its skeleton, or what went wrong. */
export function Loaded<T>(props: { of: { value: T | undefined; error: unknown; again: () => void }; rows?: number; children: (value: T) => ComponentChildren }) {
  if (props.of.value !== undefined) return <>{props.children(props.of.value)}</>;
  if (props.of.error) return <Broken error={props.of.error} again={props.of.again} />;
  return props.rows === 0 ? null : <Skeleton rows={props.rows ?? 3} />;
}

export function Dialog(props: { title: string; close: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement as HTMLElement | null;
    if (!dialog.open) dialog.showModal();
    return () => {
      dialog.close();
      before?.focus();
    };
  }, []);
  return (
    <dialog ref={ref} aria-labelledby="dialog-title" onCancel={(e) => (e.preventDefault(), props.close())} onClick={(e) => e.target === ref.current && props.close()}>
      <div class="dialog">
        <header>
          <h2 id="dialog-title">{props.title}</h2>
          <button type="button" class="plain" onClick={props.close}>
            {t('close')}
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

/** The screen's heading; takes the focus when one arrives, so that a screen reader says where one is. */
export function Title({ children, note }: { children: ComponentChildren; note?: ComponentChildren }) {
  const ref = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    ref.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  return (
    <header class="title">
      <h1 tabIndex={-1} ref={ref}>
        {children}
      </h1>
      {note && <p class="note">{note}</p>}
    </header>
  );
}

/** Says that somebody is online, in words too; nothing otherwise, since to hide looks the same as to be away. */
export function Online({ person }: { person: string }) {
  if (!online.value.has(person)) return null;
  return <span class="online">{t('online')}</span>;
}

/** First letters on a quiet ground, for a face that we do not have. */
export function Face({ name }: { name: string }) {
  const letters = name.split(/\s+/).map((w) => w[0] ?? '').slice(0, 2).join('');
  return (
    <span class="face" aria-hidden="true">
      {letters.toUpperCase()}
    </span>
  );
}

/** An invitation code, which is shown once. */
export interface Code {
  person: string;
  name: string;
  code: string;
}
export function Codes({ codes, close }: { codes: Code[]; close: () => void }) {
  return (
    <Dialog title={t('codes')} close={close}>
      <p class="note">{t('codes-note')}</p>
      {codes.length === 0 && <Empty title={t('codes-none')} />}
      <ul class="codes">
        {codes.map((c) => (
          <li key={c.person}>
            <b>{c.name}</b>
            <code>{c.code}</code>
          </li>
        ))}
      </ul>
      <div class="foot no-print">
        <button type="button" class="primary" onClick={() => print()}>
          {t('print')}
        </button>
      </div>
    </Dialog>
  );
}

/** Part of the page whose code is loaded when it is first shown. */
export function Later({ load, rows = 2 }: { load: () => Promise<() => preact.JSX.Element>; rows?: number }) {
  const part = useLoad(() => load().then((component) => ({ component })), []);
  return (
    <Loaded of={part} rows={rows}>
      {({ component: Part }) => <Part />}
    </Loaded>
  );
}
