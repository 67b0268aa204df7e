// A version that came into force and was taken back by the server, or goes on failing: told to administrators on Today and
// on the page of plugins, until they have seen it. Notices are heard from the first time this part is loaded.
import { signal } from '@preact/signals';
import { useEffect, useState } from 'preact/hooks';
import { with_plugin_texts } from '../later';
import { on_notice, session } from '../../store/app';
import { to } from '../../store/route';
import { t } from '../../store/texts';
import { Icon } from '../kit';
import type { Returned as Notice } from './types';

const KEY = 'hamroh-returned';
interface Kept extends Notice {
  institution: string;
  failing: boolean;
  time: number;
}
function kept(): Kept[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(list) ? (list as Kept[]) : [];
  } catch {
    return [];
  }
}
const told = signal<Kept[]>(kept());
function keep(list: Kept[]): void {
  told.value = list.slice(-5);
  try {
    localStorage.setItem(KEY, JSON.stringify(told.value));
  } catch {
    /* without storage it is told as long as the page is open */
  }
}
on_notice((method, params) => {
  if (method !== 'plugin.returned' && method !== 'plugin.failing') return;
  const notice = params as unknown as Notice;
  // One a plugin: the newest says enough.
  const others = told.peek().filter((n) => n.kind !== notice.kind || n.id !== notice.id);
  keep([...others, { ...notice, failing: method === 'plugin.failing', institution: session.peek()?.institution ?? '', time: Date.now() }]);
});

export function Returned() {
  const here = told.value.filter((n) => n.institution === session.value?.institution);
  const [ready, set_ready] = useState(false);
  useEffect(() => {
    if (here.length) with_plugin_texts(true).then(set_ready, () => undefined);
  }, [here.length > 0]);
  return (
    <div role="status" class="returned-all">
      {ready &&
        here.map((n) => (
          <div key={`${n.kind}/${n.id}`} class="thing urgent returned">
            <p class="thing-text">
              <Icon name="warn" /> {t(n.failing ? 'plugin-failing' : 'plugin-returned', { id: n.id, reason: n.reason ?? '' })}
            </p>
            <div class="thing-foot">
              <button type="button" class="plain" onClick={() => keep(told.value.filter((o) => o !== n))}>
                {t('close')}
              </button>
              <a class="button" href={to('admin', 'plugins', n.kind, n.id)}>
                {t('plugin-returned-look')}
              </a>
            </div>
          </div>
        ))}
    </div>
  );
}
