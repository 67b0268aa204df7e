// The frame around every screen: navigation, what the connection does, short notes at the bottom.
import { useEffect } from 'preact/hooks';
import { connection, is_admin, is_staff, me, roles, session, toast, waiting } from '../store/app';
import { route, to } from '../store/route';
import { t } from '../store/texts';
import { Bell } from './bell';
import { Icon, Later, Skeleton } from './kit';
import { Changes } from './screens/changes';
import { Match } from './screens/match';
import { Me } from './screens/me';
import { PairScreen } from './screens/pair';
import { News } from './screens/news';
import { People } from './screens/people';
import { QuestionnaireScreen } from './screens/questionnaire';
import { SignIn } from './screens/sign_in';
import { TodayScreen } from './screens/today';

const screens: Record<string, () => preact.JSX.Element> = {
  today: TodayScreen,
  pair: PairScreen,
  questionnaire: QuestionnaireScreen,
  match: Match,
  people: People,
  changes: Changes,
  news: News,
  admin: () => <Later load={() => import('./admin/admin').then((m) => m.with_texts(m.Admin))} />,
  me: Me,
};

function Navigation({ here }: { here: string }) {
  const shown = is_staff.value
    ? ['today', 'people', 'match', 'changes', ...(is_admin.value ? ['admin'] : []), 'me']
    : roles.value.includes('psychologist') || roles.value.includes('coach')
      ? ['today', 'people', 'questionnaire', 'me']
      : ['today', 'pair', 'questionnaire', 'me'];
  return (
    <nav aria-label={t('navigation')}>
      <p class="brand" aria-hidden="true">
        Hamroh
      </p>
      {shown.map((name) => (
        <a key={name} href={to(name)} aria-current={name === here ? 'page' : undefined}>
          <Icon name={name} />
          <span>{t(`nav-${name}`)}</span>
        </a>
      ))}
    </nav>
  );
}

function Connection() {
  const unsent = waiting.value.filter((e) => e.state === 'pending').length;
  const away = connection.value === 'offline';
  return (
    <div class={away ? 'offline shown' : 'offline'} role="status">
      {away && (unsent ? t('offline-waiting', { count: unsent }) : t('offline'))}
    </div>
  );
}

function Toast() {
  const now = toast.value;
  useEffect(() => {
    if (!now) return;
    const timer = setTimeout(() => toast.value === now && (toast.value = null), now.undo ? 10000 : 6000);
    return () => clearTimeout(timer);
  }, [now]);
  return (
    <div class="toasts" role={now?.urgent ? 'alert' : 'status'}>
      {now && (
        <div class={now.urgent ? 'toast urgent' : 'toast'}>
          <p>{now.text}</p>
          {now.undo && (
            <button type="button" class="plain" onClick={() => (now.undo?.(), (toast.value = null))}>
              {t('undo')}
            </button>
          )}
          <button type="button" class="plain" onClick={() => (toast.value = null)}>
            {t('close')}
          </button>
        </div>
      )}
    </div>
  );
}

export function App() {
  const wanted = route.value[0] ?? '';
  const here = screens[wanted] && (wanted !== 'admin' || is_admin.value) ? wanted : 'today';
  const known = session.value !== undefined;
  const signed = !!session.value && !session.value.need;
  useEffect(() => {
    document.title = signed ? `${t(`nav-${here}`)} · Hamroh` : 'Hamroh';
  }, [here, signed, t('nav-today')]);
  const Screen = screens[here]!;
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), document.getElementById('main')?.focus())}>
        {t('skip')}
      </a>
      {signed && <Navigation here={here} />}
      <main id="main" tabIndex={-1} class={signed ? `screen-${here}` : 'alone'}>
        <Connection />
        {signed && me.value && <Bell here={here === 'news'} />}
        {!known ? <Skeleton rows={4} /> : session.value?.need ? <Later load={() => import('./account').then((m) => m.with_texts(m.SetUpFirst))} /> : signed ? <Screen key={`${here}/${here === 'questionnaire' ? (route.value[1] ?? '') : ''}`} /> : <SignIn />}
      </main>
      <Toast />
    </>
  );
}
