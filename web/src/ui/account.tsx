// What concerns the own account: where one is signed in, the second factor, the password, one's data. Loaded when it is first
// shown, with the library that draws the code to scan.
import qrcode from 'qrcode-generator';
import { useRef, useState } from 'preact/hooks';
import type { AuditEntry, PastSignIn, SessionList } from '../client/api';
import { RpcError } from '../client/rpc';
import { attempt, call, look_again, me, session, sign_out, toast, words } from '../store/app';
import { date, moment, stamp, t } from '../store/texts';
import { AuditRows } from './audit_rows';
import { Contacts } from './contacts';
import { export_person, save } from './data';
import { Act, Dialog, Icon, Loaded, Title, useLoad } from './kit';

const UNKNOWN_METHOD = -32601;

// ---- the second factor ---------------------------------------------------------------------------------------------------

/** A code to scan: always dark on white, whatever the scheme, with the margin that cameras need. */
function Scan({ text }: { text: string }) {
  const code = qrcode(0, 'M');
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  let path = '';
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) if (code.isDark(y, x)) path += `M${x + 4} ${y + 4}h1v1h-1z`;
  return (
    <svg class="scan" role="img" aria-label={t('totp-scan-label')} viewBox={`0 0 ${size + 8} ${size + 8}`} shape-rendering="crispEdges">
      <rect width="100%" height="100%" fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast.value = { text: t('copied') };
  } catch {
    toast.value = { text: t('copy-failed'), urgent: true }; // no clipboard without https: it can be selected by hand
  }
}

function Recovery({ codes, done }: { codes: string[]; done: () => void }) {
  const [kept, set_kept] = useState(false);
  const box = useRef<HTMLInputElement>(null);
  return (
    // Not closed by mistake: they are shown this once.
    <Dialog title={t('recovery-title')} close={() => (kept ? done() : box.current?.focus())}>
      <p>{t('recovery-note')}</p>
      <ul class="codes recovery">
        {codes.map((c) => (
          <li key={c}>
            <code>{c}</code>
          </li>
        ))}
      </ul>
      <div class="foot no-print">
        <button type="button" onClick={() => void copy(codes.join('\n'))}>
          {t('copy')}
        </button>
        <button type="button" onClick={() => print()}>
          {t('print')}
        </button>
      </div>
      <label class="check no-print">
        <input ref={box} type="checkbox" checked={kept} onChange={(e) => set_kept(e.currentTarget.checked)} /> {t('recovery-kept')}
      </label>
      <button type="button" class="primary no-print" disabled={!kept} onClick={done}>
        {t('done')}
      </button>
    </Dialog>
  );
}

function SetUp({ done, close }: { done: () => void; close: () => void }) {
  const begun = useLoad(() => call<{ secret: string; uri: string }>('session.totp_begin'), []);
  const [codes, set_codes] = useState<string[] | null>(null);
  const [problem, set_problem] = useState('');
  const field = useRef<HTMLInputElement>(null);
  const submit = async (): Promise<void> => {
    if (!field.current!.form!.reportValidity()) return;
    set_problem('');
    try {
      set_codes((await call<{ recovery: string[] }>('session.totp_confirm', { code: field.current!.value.replace(/\s/g, '') })).recovery);
    } catch (error) {
      set_problem(error instanceof RpcError && error.code === -32602 ? t('totp-code-wrong') : words(error));
      field.current?.select();
    }
  };
  if (codes) return <Recovery codes={codes} done={done} />;
  return (
    <Dialog title={t('totp-title')} close={close}>
      <Loaded of={begun} rows={2}>
        {({ secret, uri }) => (
          <form class="set-up" onSubmit={(e) => (e.preventDefault(), void submit())}>
            <p>{t('totp-step-app')}</p>
            <p>{t('totp-step-scan')}</p>
            <Scan text={uri} />
            <a class="button" href={uri}>
              {t('totp-open-app')}
            </a>
            <p class="note">{t('totp-secret')}</p>
            <div class="secret">
              <code>{secret.match(/.{4}/g)!.join(' ')}</code>
              <button type="button" class="plain" onClick={() => void copy(secret)}>
                {t('copy')}
              </button>
            </div>
            <label class="field">
              <span>{t('totp-step-code')}</span>
              <input ref={field} name="code" required inputMode="numeric" pattern="[0-9]{3} ?[0-9]{3}" title={t('totp-code-form')} autocomplete="one-time-code" placeholder="000000" maxLength={7} />
            </label>
            <p class="problem" role="alert">
              {problem}
            </p>
            <Act class="primary" type="submit" do={submit}>
              {t('totp-confirm')}
            </Act>
          </form>
        )}
      </Loaded>
    </Dialog>
  );
}

/** A code of the app, or a recovery code. */
function EitherCode() {
  return (
    <label class="field">
      <span>{t('second-either')}</span>
      <input name="code" required autocomplete="one-time-code" spellcheck={false} maxLength={30} />
    </label>
  );
}

function TurnOff({ done }: { done: () => void }) {
  const [problem, set_problem] = useState('');
  const form = useRef<HTMLFormElement>(null);
  const submit = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    const value = (name: string): string => (form.current!.elements.namedItem(name) as HTMLInputElement).value;
    try {
      await call('session.totp_disable', { password: value('password'), code: value('code').trim() });
      toast.value = { text: t('totp-is-off') };
      done();
    } catch (error) {
      const path = error instanceof RpcError && (error.data?.errors as { path: string }[] | undefined)?.[0]?.path;
      set_problem(path === 'password' ? t('password-wrong') : path === 'code' ? t('second-wrong') : words(error));
    }
  };
  return (
    <details>
      <summary>{t('totp-turn-off')}</summary>
      <form ref={form} onSubmit={(e) => (e.preventDefault(), void submit())}>
        <label class="field">
          <span>{t('password')}</span>
          <input name="password" type="password" required autocomplete="current-password" />
        </label>
        <EitherCode />
        <p class="problem" role="alert">
          {problem}
        </p>
        <Act type="submit" do={submit}>
          {t('totp-turn-off')}
        </Act>
      </form>
    </details>
  );
}

function Renew({ done }: { done: () => void }) {
  const [codes, set_codes] = useState<string[] | null>(null);
  const [problem, set_problem] = useState('');
  const form = useRef<HTMLFormElement>(null);
  const submit = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    const field = form.current!.elements.namedItem('code') as HTMLInputElement;
    set_problem('');
    try {
      set_codes((await call<{ recovery: string[] }>('session.totp_renew', { code: field.value.trim() })).recovery);
    } catch (error) {
      set_problem(error instanceof RpcError && error.code === -32602 ? t('second-wrong') : words(error));
      field.select();
    }
  };
  return (
    <details>
      <summary>{t('recovery-renew')}</summary>
      <p class="note">{t('recovery-renew-note')}</p>
      <form ref={form} onSubmit={(e) => (e.preventDefault(), void submit())}>
        <EitherCode />
        <p class="problem" role="alert">
          {problem}
        </p>
        <Act type="submit" do={submit}>
          {t('recovery-renew-do')}
        </Act>
      </form>
      {codes && <Recovery codes={codes} done={() => (set_codes(null), form.current?.reset(), done())} />}
    </details>
  );
}

function SecondFactor({ totp, again }: { totp: SessionList['totp']; again: () => void }) {
  const [setting, set_setting] = useState(false);
  const left = totp.recovery_left ?? 0;
  return (
    <section class="card" aria-labelledby="second">
      <h2 id="second">{t('totp-title')}</h2>
      {totp.on ? (
        <>
          <p>
            <Icon name="lock" /> {t('totp-on', { date: date(totp.since ?? 0) })}
          </p>
          <p class={left < 3 ? 'warning' : 'note'}>{t('recovery-left', { count: left })}</p>
          <Renew done={again} />
          <TurnOff done={again} />
        </>
      ) : (
        <>
          <p class="note">{t('totp-why')}</p>
          <div class="foot">
            <button type="button" onClick={() => set_setting(true)}>
              {t('totp-set-up')}
            </button>
          </div>
        </>
      )}
      {setting && <SetUp done={() => (set_setting(false), again())} close={() => set_setting(false)} />}
    </section>
  );
}

/** All there is for staff who must have a second factor and have none. */
export function SetUpFirst() {
  const [setting, set_setting] = useState(false);
  return (
    <>
      <Title note={t('totp-required')}>{t('totp-title')}</Title>
      <p>{t('totp-why')}</p>
      <button type="button" class="primary wide" onClick={() => set_setting(true)}>
        {t('totp-set-up')}
      </button>
      <Act class="plain wide" do={sign_out}>
        {t('sign-out')}
      </Act>
      {setting && <SetUp done={() => void look_again()} close={() => set_setting(false)} />}
    </>
  );
}

// ---- where one is signed in ----------------------------------------------------------------------------------------------

function Sessions({ items, again }: { items: SessionList['items']; again: () => void }) {
  const end = async (method: string, params: object): Promise<void> => {
    if ((await attempt(method, params)) === undefined) return;
    toast.value = { text: t('session-ended') };
    again();
  };
  const sorted = [...items].sort((a, b) => Number(b.current) - Number(a.current) || b.seen - a.seen);
  return (
    <section class="card" aria-labelledby="sessions">
      <h2 id="sessions">{t('sessions')}</h2>
      <ul class="plain-list">
        {sorted.map((s) => {
          const what = s.agent || t('session-other');
          return (
            <li key={s.id} class="row">
              <span>
                <b>{s.current ? [t('session-this'), s.agent].filter(Boolean).join(' · ') : what}</b>
                <small>{t('session-since', { since: date(s.created), when: stamp(s.seen) })}</small>
              </span>
              {!s.current && (
                <Act class="plain" label={`${t('session-end')}: ${what}, ${stamp(s.seen)}`} do={() => end('session.revoke', { id: s.id })}>
                  {t('session-end')}
                </Act>
              )}
            </li>
          );
        })}
      </ul>
      {items.length > 1 && (
        <div class="foot">
          <Act do={() => end('session.revoke_others', {})}>{t('session-end-others')}</Act>
        </div>
      )}
      <History />
    </section>
  );
}

function History() {
  const [open, set_open] = useState(false);
  return (
    <details onToggle={(e) => set_open(e.currentTarget.open)}>
      <summary>{t('history')}</summary>
      <p class="note">{t('history-note')}</p>
      {open && <Entries />}
    </details>
  );
}
function Entries() {
  const rows = useLoad(() => call<{ items: PastSignIn[] }>('session.history'), []);
  return (
    <Loaded of={rows} rows={2}>
      {({ items }) => (
        <ul class="plain-list history">
          {items.map((e, i) => (
            <li key={i} class={e.outcome === 'failed' || e.outcome === 'code' ? 'attempt' : ''}>
              <b>
                {(e.outcome === 'failed' || e.outcome === 'code') && <Icon name="warn" />}
                {t(`history-${e.outcome}`)}
              </b>
              <small>{[moment(e.time), e.agent, e.network].filter(Boolean).join(' · ')}</small>
            </li>
          ))}
        </ul>
      )}
    </Loaded>
  );
}

// ---- password ------------------------------------------------------------------------------------------------------------

function Password() {
  const [problem, set_problem] = useState('');
  const form = useRef<HTMLFormElement>(null);
  const submit = async (): Promise<void> => {
    if (!form.current!.reportValidity()) return;
    const value = (name: string): string => (form.current!.elements.namedItem(name) as HTMLInputElement).value;
    try {
      await call('session.change_password', { old: value('old'), new: value('new') });
      form.current!.reset();
      set_problem('');
      toast.value = { text: t('password-changed') };
    } catch (error) {
      const path = error instanceof RpcError && (error.data?.errors as { path: string }[] | undefined)?.[0]?.path;
      set_problem(path === 'old' ? t('password-wrong') : words(error));
    }
  };
  return (
    <details class="card">
      <summary>{t('password-change')}</summary>
      <form ref={form} onSubmit={(e) => (e.preventDefault(), void submit())}>
        <input class="hidden" name="login" autocomplete="username" value={session.value?.login ?? ''} readOnly tabIndex={-1} aria-hidden="true" />
        <label class="field">
          <span>{t('password-old')}</span>
          <input name="old" type="password" required autocomplete="current-password" />
        </label>
        <label class="field">
          <span>{t('password-new')}</span>
          <input name="new" type="password" required minLength={10} autocomplete="new-password" />
        </label>
        <p class="problem" role="alert">
          {problem}
        </p>
        <Act type="submit" do={submit}>
          {t('password-change')}
        </Act>
      </form>
    </details>
  );
}

// ---- my data -------------------------------------------------------------------------------------------------------------

function MyData() {
  const [there, set_there] = useState(true);
  const [read_by, set_read_by] = useState<AuditEntry[] | null>(null);
  const download = async (): Promise<void> => {
    try {
      const data = await export_person();
      save('hamroh.json', data);
      set_read_by((data.read_by as AuditEntry[] | undefined)?.filter((e) => e.who !== me.value) ?? []);
      toast.value = { text: t('my-data-saved') };
    } catch (error) {
      if (error instanceof RpcError && error.code === UNKNOWN_METHOD) set_there(false);
      toast.value = { text: error instanceof RpcError && error.code === UNKNOWN_METHOD ? t('my-data-none') : words(error), urgent: true };
    }
  };
  return (
    <section class="card" aria-labelledby="my-data">
      <h2 id="my-data">{t('my-data')}</h2>
      <p class="note">{t('my-data-note')}</p>
      {there && (
        <div class="foot">
          <Act do={download}>{t('my-data-download')}</Act>
        </div>
      )}
      {read_by && (
        <div role="status">
          {read_by.length ? (
            <>
              <h3>{t('read-by')}</h3>
              <AuditRows items={[...read_by].sort((a, b) => b.time - a.time)} whose={false} />
            </>
          ) : (
            <p class="note">{t('read-by-none')}</p>
          )}
        </div>
      )}
    </section>
  );
}

export { with_texts } from './later';

export function Account() {
  const rows = useLoad(() => call<SessionList>('session.list'), []);
  return (
    <>
      {session.value?.person && <Contacts />}
      <Loaded of={rows} rows={2}>
        {({ items, totp }) => (
          <>
            <SecondFactor totp={totp} again={rows.again} />
            <Sessions items={items} again={rows.again} />
          </>
        )}
      </Loaded>
      <Password />
      {session.value?.person && <MyData />}
    </>
  );
}
