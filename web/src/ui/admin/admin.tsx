// What only administrators do: accounts, a person's account and data, plugins, the audit, backups. Loaded when it is first shown.
import { route } from '../../store/route';
import { Later } from '../kit';
import { Accounts } from './accounts';
import { Audit } from './audit';
import { Backup } from './backup';
import { One } from './one';

export { with_texts } from '../later';

export function Admin() {
  const [, at, id] = route.value;
  if ((at === 'person' || at === 'account') && id) return <One key={`${at}/${id}`} kind={at} id={id} />;
  if (at === 'audit') return <Audit />;
  if (at === 'backup') return <Backup />;
  if (at === 'plugins') return <Later load={() => import('../plugins/page').then((m) => m.with_plugin_texts(m.Plugins))} />;
  return <Accounts />;
}
