// One person, or one account without a person: what they may do here, how they sign in, their data, who looked at it.
import { useState } from 'preact/hooks';
import type { AccountRow, Envelope, Person } from '../../client/api';
import { RpcError } from '../../client/rpc';
import { attempt, call, keep_records, session, toast, words } from '../../store/app';
import { to } from '../../store/route';
import { date, fold, t } from '../../store/texts';
import { export_person, save } from '../data';
import { Act, Codes, Dialog, Empty, Icon, Loaded, Title, useLoad, type Code } from '../kit';
import { all_accounts } from './accounts';
import { Entries } from './audit';
import { Erase } from './erase';

const ROLES = ['student', 'coach', 'psychologist', 'coordinator', 'administrator'] as const;
const NOT_FOUND = -32003;

function RoleBoxes({ chosen, change, own }: { chosen: string[]; change: (roles: string[]) => void; own?: boolean }) {
  return (
    <fieldset>
      <legend>{t('account-roles')}</legend>
      {ROLES.map((r) => (
        <label key={r} class="check">
          <input type="checkbox" checked={chosen.includes(r)} disabled={!!own && r === 'administrator'} onChange={(e) => change(e.currentTarget.checked ? [...chosen, r] : chosen.filter((c) => c !== r))} /> {t(`role-${r}`)}
        </label>
      ))}
      {own && <p class="note">{t('account-roles-own')}</p>}
    </fieldset>
  );
}

function Roles({ account, own, again }: { account: AccountRow; own: boolean; again: () => void }) {
  const [chosen, set_chosen] = useState(account.roles);
  const same = chosen.length === account.roles.length && chosen.every((r) => account.roles.includes(r));
  const keep = async (): Promise<void> => {
    if ((await attempt('account.set_roles', { account: account.id, roles: chosen })) === undefined) return;
    toast.value = { text: t('account-roles-saved') };
    again();
  };
  return (
    <details>
      <summary>{t('account-roles-change')}</summary>
      <RoleBoxes chosen={chosen} change={set_chosen} own={own} />
      <Act do={keep} disabled={same}>
        {t('save')}
      </Act>
    </details>
  );
}

function Reset({ account, name, close, done }: { account: AccountRow; name: string; close: () => void; done: () => void }) {
  const [problem, set_problem] = useState('');
  const reset = async (): Promise<void> => {
    try {
      await call('account.reset_totp', { account: account.id });
      toast.value = { text: t('account-reset-done', { name }) };
      done();
    } catch (error) {
      set_problem(words(error));
    }
  };
  return (
    <Dialog title={t('account-reset')} close={close}>
      <p>{t('account-reset-what', { name })}</p>
      <p>{t('account-reset-sure', { name })}</p>
      <p class="note">{t('account-reset-told', { name })}</p>
      <p class="problem" role="alert">
        {problem}
      </p>
      <div class="foot">
        <Act class="primary" do={reset}>
          {t('account-reset')}
        </Act>
        <button type="button" onClick={close}>
          {t('not-now')}
        </button>
      </div>
    </Dialog>
  );
}

function Account({ account, name, again }: { account: AccountRow; name: string; again: () => void }) {
  const [resetting, set_resetting] = useState(false);
  const own = account.person ? account.person === session.value?.person : fold(account.login) === fold(session.value?.login ?? '');
  const sign_out = async (): Promise<void> => {
    if ((await attempt('account.sign_out', { account: account.id })) !== undefined) toast.value = { text: t('account-signed-out', { name }) };
  };
  const set_state = async (state: 'active' | 'closed'): Promise<void> => {
    if ((await attempt('account.set_state', { account: account.id, state })) === undefined) return;
    toast.value = state === 'closed' ? { text: t('account-closed-toast'), undo: () => void set_state('active') } : { text: t('account-opened-toast') };
    again();
  };
  return (
    <section class="card" aria-labelledby="account">
      <h2 id="account">{t('account')}</h2>
      <p>
        <b>{account.login}</b> · {account.roles.map((r) => t(`role-${r}`)).join(', ') || t('account-no-role')}
        {account.state === 'closed' && (
          <>
            {' '}
            <span class="state discarded">{t('account-closed')}</span>
          </>
        )}
      </p>
      <p class="note">{t('account-since', { date: date(account.created) })}</p>
      <p>
        {account.totp && <Icon name="lock" />} {t(account.totp ? 'two-steps' : 'one-step')}
      </p>
      <Roles key={account.roles.join()} account={account} own={own} again={again} />
      {own ? (
        <p class="note">{t('account-own')}</p>
      ) : (
        <div class="foot">
          <Act do={sign_out}>{t('account-sign-out')}</Act>
          {account.totp && (
            <button type="button" onClick={() => set_resetting(true)}>
              {t('account-reset')}
            </button>
          )}
          {account.state === 'closed' ? <Act do={() => set_state('active')}>{t('account-open')}</Act> : <Act do={() => set_state('closed')}>{t('account-close')}</Act>}
        </div>
      )}
      {resetting && <Reset account={account} name={name} close={() => set_resetting(false)} done={() => (set_resetting(false), again())} />}
    </section>
  );
}

/** A person without an account gets a code, for the roles that are chosen. */
function Invite({ person }: { person: Envelope<Person> }) {
  const [chosen, set_chosen] = useState<string[]>(['student']);
  const [code, set_code] = useState<Code | null>(null);
  const invite = async (): Promise<void> => {
    const got = await attempt<Code>('person.invite', { person: person.id, roles: chosen });
    if (got) set_code(got);
  };
  return (
    <section class="card" aria-labelledby="account">
      <h2 id="account">{t('account')}</h2>
      <p>{t('account-none')}</p>
      <RoleBoxes chosen={chosen} change={set_chosen} />
      <div class="foot">
        <Act class="primary" do={invite} disabled={chosen.length === 0}>
          {t('invite')}
        </Act>
      </div>
      {code && <Codes codes={[code]} close={() => set_code(null)} />}
    </section>
  );
}

function Data({ person, name, again }: { person: Envelope<Person>; name: string; again: () => void }) {
  const [erasing, set_erasing] = useState(false);
  const own = person.id === session.value?.person;
  const download = async (): Promise<void> => {
    try {
      save(`hamroh-${person.id.slice(-6)}.json`, await export_person(person.id)); // no name in the name of a file that lies about
      toast.value = { text: t('export-done', { name }) };
    } catch (error) {
      toast.value = { text: words(error), urgent: true };
    }
  };
  return (
    <section class="card" aria-labelledby="data">
      <h2 id="data">{t('one-data')}</h2>
      <p class="note">{t('export-note')}</p>
      <div class="foot">
        <Act do={download}>{t('export')}</Act>
      </div>
      {person.data.erased !== undefined && <p>{t('erased-on', { date: date(person.data.erased) })}</p>}
      {own ? (
        <p class="note">{t('erase-own')}</p>
      ) : (
        <div class="foot">
          <button type="button" class="danger" onClick={() => set_erasing(true)}>
            {t(person.data.erased !== undefined ? 'erase-repeat' : 'erase')}
          </button>
        </div>
      )}
      {erasing && <Erase person={person} close={() => set_erasing(false)} done={() => (set_erasing(false), again())} />}
    </section>
  );
}

interface Found {
  account: AccountRow | undefined;
  person: Envelope<Person> | undefined;
}
async function find(kind: 'person' | 'account', id: string): Promise<Found> {
  const account = (await all_accounts()).find((a) => (kind === 'person' ? a.person : a.id) === id);
  const wanted = kind === 'person' ? id : account?.person;
  if (!wanted) return { account, person: undefined };
  const person = await call<Envelope<Person>>('record.get', { type: 'person', id: wanted }).catch((error: unknown) => {
    if (error instanceof RpcError && error.code === NOT_FOUND) return undefined;
    throw error;
  });
  if (person) keep_records([person]);
  return { account, person };
}

export function One({ kind, id }: { kind: 'person' | 'account'; id: string }) {
  const found = useLoad(() => find(kind, id), [kind, id]);
  return (
    <>
      <a class="back" href={to('admin', 'accounts')}>
        {t('all-accounts')}
      </a>
      <Loaded of={found} rows={4}>
        {({ account, person }) => {
          if (!account && !person)
            return (
              <>
                <Title>{t('one-person')}</Title>
                <Empty title={t('error-not-found')} />
              </>
            );
          const erased = person?.data.erased !== undefined;
          const name = erased ? t('erased-person') : (person?.data.name ?? account!.login);
          return (
            <>
              <Title note={[person?.data.group, person?.data.faculty].filter(Boolean).join(' · ')}>{name}</Title>
              {account ? <Account account={account} name={name} again={found.again} /> : person && !erased && <Invite person={person} />}
              {person && <Data person={person} name={name} again={found.again} />}
              {person && (
                <section class="card" aria-labelledby="looked">
                  <h2 id="looked">{t('audit-of')}</h2>
                  <Entries whose={person.id} />
                </section>
              )}
            </>
          );
        }}
      </Loaded>
    </>
  );
}
