// What has happened that concerns the reader: the newest first, what is not read marked, each leading to where it happened.
import { load_news, news, read, read_all, unread } from '../../store/news';
import { attempt, me, toast, words } from '../../store/app';
import { go, to } from '../../store/route';
import { say, stamp, t } from '../../store/texts';
import type { Envelope, Notification } from '../../client/api';
import { Act, Empty, Loaded, Title, useLoad } from '../kit';

function One({ item }: { item: Envelope<Notification> }) {
  const { text, action, unread: fresh, created, urgent } = item.data;
  const open = (event: Event): void => {
    if (fresh) void attempt('notification.read', { ids: [item.id] });
    if (!action) event.preventDefault();
    else if (event instanceof MouseEvent && (event.ctrlKey || event.metaKey)) return;
    else {
      event.preventDefault();
      go(...action.split('/'));
    }
  };
  return (
    <li class={fresh ? 'news fresh' : 'news'}>
      <a href={action ? to(...action.split('/')) : to('news')} onClick={open}>
        {fresh && <span class="hidden">{t('news-fresh')}: </span>}
        <span class={urgent ? 'urgent' : ''}>{say(text)}</span>
      </a>
      <small>{stamp(created)}</small>
      {fresh && (
        <Act class="plain" label={`${t('news-mark')}: ${say(text)}`} do={() => read([item.id]).catch((error: unknown) => void (toast.value = { text: words(error), urgent: true }))}>
          {t('news-mark')}
        </Act>
      )}
    </li>
  );
}

export function News() {
  const loaded = useLoad(() => (me.value ? load_news() : Promise.resolve(null)), [me.value]);
  return (
    <>
      <Title>{t('nav-news')}</Title>
      <Loaded of={loaded}>
        {() =>
          news.value.length ? (
            <>
              {unread.value > 0 && (
                <div class="foot">
                  <Act do={() => read_all().catch((error: unknown) => void (toast.value = { text: words(error), urgent: true }))}>{t('news-mark-all')}</Act>
                </div>
              )}
              <ul class="plain-list">
                {news.value.map((item) => (
                  <One key={item.id} item={item} />
                ))}
              </ul>
            </>
          ) : (
            <Empty title={t('news-none')} />
          )
        }
      </Loaded>
      <p class="note">
        <a href={to('me')}>{t('news-elsewhere')}</a>
      </p>
    </>
  );
}
