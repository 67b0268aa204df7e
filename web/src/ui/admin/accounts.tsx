// Who can sign in, and as what; a row leads to the person's page.
import { useMemo, useState } from 'preact/hooks';
import type { AccountRow, Person } from '../../client/api';
import { call, list_all, records } from '../../store/app';
import { to } from '../../store/route';
import { fold, t } from '../../store/texts';
import { Empty, Face, Icon, Loaded, Title, useLoad } from '../kit';
import { Tabs } from './tabs';

/** All of them, page by page. */
export async function all_accounts(): Promise<AccountRow[]> {
  const out: AccountRow[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: AccountRow[]; cursor: string | null } = await call('account.list', { limit: 500, ...(cursor ? { cursor } : {}) });
    out.push(...page.items);
    cursor = page.cursor;
  } while (cursor);
  return out;
}

function Row({ account, name }: { account: AccountRow; name: string }) {
  const about = [name ? account.login : '', ...account.roles.map((r) => t(`role-${r}`))].filter(Boolean).join(' · ');
  return (
    <li>
      <a class="row" href={account.person ? to('admin', 'person', account.person) : to('admin', 'account', account.id)}>
        <Face name={name || account.login} />
        <span>
          <b>{name || account.login}</b>
          <small>{about}</small>
        </span>
        <span class="marks">
          {account.state === 'closed' && <span class="state discarded">{t('account-closed')}</span>}
          <small>
            {account.totp && <Icon name="lock" />} {t(account.totp ? 'two-steps' : 'one-step')}
          </small>
        </span>
      </a>
    </li>
  );
}

export function Accounts() {
  const loaded = useLoad(async () => {
    const [accounts] = await Promise.all([all_accounts(), list_all<Person>('person', { index: 'by_name' })]);
    return accounts;
  }, []);
  const [search, set_search] = useState('');
  const [shown, set_shown] = useState(50);
  const people = records<Person>('person');
  const name = (a: AccountRow): string => people.get(a.person)?.data.name ?? '';
  const all = useMemo(() => [...(loaded.value ?? [])].sort((a, b) => fold(name(a) || a.login).localeCompare(fold(name(b) || b.login))), [loaded.value, people]);
  const wanted = fold(search);
  const found = all.filter((a) => fold([name(a), a.login, ...a.roles.map((r) => t(`role-${r}`))].join(' ')).includes(wanted));
  return (
    <>
      <Title note={t('accounts-note')}>{t('accounts')}</Title>
      <Tabs here="accounts" />
      <label class="field">
        <span>{t('accounts-search')}</span>
        <input type="search" value={search} onInput={(e) => (set_search(e.currentTarget.value), set_shown(50))} />
      </label>
      <Loaded of={loaded} rows={6}>
        {() => (
          <>
            <p class="note" role="status">
              {t('accounts-found', { count: found.length })}
            </p>
            {all.length < 2 && (
              <Empty title={t('accounts-alone')}>
                <p>{t('accounts-alone-hint')}</p>
              </Empty>
            )}
            {found.length === 0 && (
              <Empty title={t('nothing-found')}>
                <p>{t('accounts-none-hint')}</p>
                <a class="button" href={to('people')}>
                  {t('nav-people')}
                </a>
              </Empty>
            )}
            <ul class="rows">
              {found.slice(0, shown).map((a) => (
                <Row key={a.id} account={a} name={name(a)} />
              ))}
            </ul>
            {found.length > shown && (
              <button type="button" onClick={() => set_shown(shown + 100)}>
                {t('show-more', { count: found.length - shown })}
              </button>
            )}
          </>
        )}
      </Loaded>
    </>
  );
}
