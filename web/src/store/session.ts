// Who is signed in on this device. The token lives in localStorage; everything else of a person goes from the device at sign-out.
import { computed, signal } from '@preact/signals';
import type { Session } from '../client/api.ts';
import * as idb from '../client/idb.ts';
import { RpcError } from '../client/rpc.ts';
import { call, forgetPlace, greeting, link, on, openFeed } from './core.ts';

const KEY = 'hamroh.session';
function read(): Session | null {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? 'null') as Session | null;
  } catch {
    return null;
  }
}

export const session = signal<Session | null>(read());
/** Why the sign-in screen is shown again: the session ended elsewhere. */
export const endedBecause = signal('');
export const me = computed(() => session.value?.person ?? null);
export const roles = computed(() => new Set(session.value?.roles ?? []));
export const isStaff = computed(() => ['coordinator', 'administrator'].some((role) => roles.value.has(role)));
export const seesPeople = computed(() => isStaff.value || roles.value.has('psychologist') || roles.value.has('coach'));
export const owner = computed(() => (session.value ? `${session.value.institution}/${session.value.login ?? session.value.person}` : ''));

/** What the sign-in form offers next time. */
export const remembered = {
  get institution(): string {
    return localStorage.getItem('hamroh.institution') ?? '';
  },
  get login(): string {
    return localStorage.getItem('hamroh.login') ?? '';
  },
};

function keep(next: Session | null): void {
  session.value = next;
  if (next) localStorage.setItem(KEY, JSON.stringify(next));
  else localStorage.removeItem(KEY);
}

function forget(): void {
  forgetPlace();
  void idb.clear('cache');
  for (const key of Object.keys(localStorage)) if (key.startsWith('hamroh.own.')) localStorage.removeItem(key);
  keep(null);
  on.fresh.ring();
}

greeting.resume = async () => {
  const before = session.value;
  if (!before) return false;
  try {
    const got = (await link.direct('session.resume', { token: before.token })) as Partial<Session>;
    if (session.value?.token === before.token) keep({ ...before, ...got, token: got.token ?? before.token });
    return true;
  } catch (error) {
    if (!(error instanceof RpcError) || error.code === 0) throw error;
    if (error.code !== -32001 && error.code !== -32003 && error.code !== -32002) throw error;
    endedBecause.value = 'expired';
    forget();
    return false;
  }
};
on.ended.add((reason) => {
  if (!session.value) return;
  endedBecause.value = reason || 'ended';
  forget();
});

async function begin(got: Session, login: string): Promise<void> {
  localStorage.setItem('hamroh.institution', got.institution);
  localStorage.setItem('hamroh.login', login);
  endedBecause.value = '';
  await openFeed();
  keep({ ...got, login });
  on.ready.ring();
}

export async function signIn(institution: string, login: string, password: string): Promise<void> {
  const got = await call('session.login', { institution, login, password });
  await begin({ ...got, institution }, login);
}
export async function accept(institution: string, code: string, login: string, password: string): Promise<void> {
  const got = await call('session.accept', { institution, code, login, password });
  await begin({ ...got, institution }, login);
}
export async function signOut(): Promise<void> {
  try {
    await call('session.logout', {});
  } catch {
    /* the token goes from this device all the same */
  }
  endedBecause.value = '';
  forget();
  location.hash = '#/today';
}
