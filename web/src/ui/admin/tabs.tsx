// The way between the parts of the administrator's screen.
import { to } from '../../store/route';
import { t } from '../../store/texts';

export function Tabs({ here }: { here: 'accounts' | 'plugins' | 'audit' | 'backup' }) {
  return (
    <ul class="tabs">
      {(['accounts', 'plugins', 'audit', 'backup'] as const).map((name) => (
        <li key={name}>
          <a href={to('admin', name)} aria-current={name === here ? 'page' : undefined}>
            {t(`tab-${name}`)}
          </a>
        </li>
      ))}
    </ul>
  );
}
