// The way between the parts of the administrator's screen.
import { to } from '../../store/route';
import { t } from '../../store/texts';

export function Tabs({ here }: { here: 'accounts' | 'audit' | 'backup' }) {
  return (
    <ul class="tabs">
      {(['accounts', 'audit', 'backup'] as const).map((name) => (
        <li key={name}>
          <a href={to('admin', name)} aria-current={name === here ? 'page' : undefined}>
            {t(`tab-${name}`)}
          </a>
        </li>
      ))}
    </ul>
  );
}
