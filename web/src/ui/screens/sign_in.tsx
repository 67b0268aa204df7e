// Signing in, or making an account with an invitation code.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Translated } from '../../client/api';
import { RpcError } from '../../client/rpc';
import { accept, call, connection, sign_in, words } from '../../store/app';
import { say, t } from '../../store/texts';
import { Act } from '../kit';
import { Ikat, Languages } from '../languages';

/** The password was right; now the code of the second factor. */
function Code({ enter, back }: { enter: (code: string) => Promise<void>; back: () => void }) {
  const [recovery, set_recovery] = useState(false);
  const [problem, set_problem] = useState('');
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), [recovery]);
  const submit = async (): Promise<void> => {
    if (!field.current!.form!.reportValidity()) return;
    set_problem('');
    try {
      await enter(field.current!.value.trim());
    } catch (error) {
      set_problem(error instanceof RpcError && error.data?.need === 'code' ? t('second-wrong') : words(error));
      field.current?.select();
    }
  };
  return (
    <form onSubmit={(e) => (e.preventDefault(), void submit())}>
      <h2>{t('second-title')}</h2>
      <label class="field">
        <span>{t(recovery ? 'second-recovery' : 'second-code')}</span>
        <input
          ref={field}
          key={String(recovery)}
          name="second"
          required
          autocomplete="one-time-code"
          inputMode={recovery ? 'text' : 'numeric'}
          autocapitalize="characters"
          spellcheck={false}
          maxLength={30}
          placeholder={recovery ? 'XXXX-XXXX-XXXX-XXXX' : '000000'}
        />
      </label>
      <p class="problem" role="alert">
        {problem}
      </p>
      <Act class="primary wide" type="submit" do={submit} disabled={connection.value === 'connecting'}>
        {t('sign-in')}
      </Act>
      <button type="button" class="plain wide" onClick={() => (set_recovery(!recovery), set_problem(''))}>
        {t(recovery ? 'second-use-code' : 'second-use-recovery')}
      </button>
      <button type="button" class="plain wide" onClick={back}>
        {t('back')}
      </button>
    </form>
  );
}

const KEY = 'hamroh-institution';

export function SignIn() {
  const [institutions, set_institutions] = useState<{ id: string; title: Translated }[]>([]);
  const [institution, set_institution] = useState(() => localStorage.getItem(KEY) ?? '');
  const [invited, set_invited] = useState(false);
  const [problem, set_problem] = useState('');
  const [first, set_first] = useState<{ login: string; password: string } | null>(null); // right, and a code is asked for

  useEffect(() => {
    if (connection.value === 'offline') return;
    let stale = false;
    const load = (): void => {
      call<{ items: { id: string; title: Translated }[] }>('institution.list').then(
        ({ items }) => {
          if (stale) return;
          set_institutions(items);
          // Who comes first is shown the institution that is not the cluster itself.
          set_institution((now) => (items.some((i) => i.id === now) ? now : (items.find((i) => i.id !== 'cluster') ?? items[0])?.id ?? ''));
        },
        () => stale || setTimeout(load, 500),
      );
    };
    load();
    return () => {
      stale = true;
    };
  }, [connection.value]);

  const submit = async (): Promise<void> => {
    const form = document.getElementById('sign-in') as HTMLFormElement;
    if (!form.reportValidity()) return;
    const value = (name: string): string => (form.elements.namedItem(name) as HTMLInputElement).value;
    set_problem('');
    try {
      localStorage.setItem(KEY, institution);
      if (invited) await accept(institution, value('code'), value('login'), value('password'));
      else await sign_in(institution, value('login'), value('password'));
    } catch (error) {
      if (error instanceof RpcError && error.data?.need === 'code') return set_first({ login: value('login'), password: value('password') });
      set_problem(error instanceof RpcError && error.code === -32001 ? t(invited ? 'sign-in-bad-code' : 'sign-in-wrong') : words(error));
    }
  };

  return (
    <div class="sign-in">
      <Ikat />
      <h1>Hamroh</h1>
      <p class="lead">{t('sign-in-lead')}</p>
      {first && <Code enter={(code) => sign_in(institution, first.login, first.password, code)} back={() => set_first(null)} />}
      <form id="sign-in" hidden={!!first} onSubmit={(e) => (e.preventDefault(), void submit())}>
        <label class="field">
          <span>{t('institution')}</span>
          <select name="institution" required value={institution} onChange={(e) => set_institution(e.currentTarget.value)}>
            {institutions.map((i) => (
              <option key={i.id} value={i.id}>
                {say(i.title) || i.id}
              </option>
            ))}
          </select>
        </label>
        {invited && (
          <label class="field">
            <span>{t('code')}</span>
            <input name="code" required autocomplete="one-time-code" autocapitalize="characters" spellcheck={false} placeholder="XXXX-XXXX-XXXX-XXXX" />
          </label>
        )}
        <label class="field">
          <span>{t(invited ? 'login-new' : 'login')}</span>
          <input name="login" required autocomplete="username" autocapitalize="none" spellcheck={false} />
        </label>
        <label class="field">
          <span>{t(invited ? 'password-new' : 'password')}</span>
          <input name="password" type="password" required minLength={invited ? 10 : 1} autocomplete={invited ? 'new-password' : 'current-password'} />
        </label>
        <p class="problem" role="alert">
          {problem}
        </p>
        <Act class="primary wide" type="submit" do={submit} disabled={connection.value === 'connecting'}>
          {t(invited ? 'make-account' : 'sign-in')}
        </Act>
        <button type="button" class="plain wide" onClick={() => (set_invited(!invited), set_problem(''))}>
          {t(invited ? 'have-account' : 'have-code')}
        </button>
      </form>
      <Languages />
    </div>
  );
}
