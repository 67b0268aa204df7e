// The bell that stands on every screen, with how much is not read.
import { useEffect } from 'preact/hooks';
import { me, reloads } from '../store/app';
import { load_unread, unread } from '../store/news';
import { to } from '../store/route';
import { t } from '../store/texts';
import { Icon } from './kit';

export function Bell({ here }: { here: boolean }) {
  useEffect(() => {
    if (me.value) load_unread().catch(() => undefined); // the feed brings what is new; the screen itself says what went wrong
  }, [me.value, reloads.value]);
  const count = unread.value;
  return (
    <a class="bell" href={to('news')} aria-current={here ? 'page' : undefined} aria-label={t('news-bell', { count })} title={t('nav-news')}>
      <Icon name="bell" />
      {count > 0 && (
        <span class="count" aria-hidden="true">
          {count > 99 ? '99+' : count}
        </span>
      )}
    </a>
  );
}
