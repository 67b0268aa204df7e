// What the client knows: who is signed in, the connection, records kept current by the feed, what waits to be sent. Screens read
// signals from here and call actions; only this folder talks to the client folder.
import { computed, signal } from '@preact/signals';
import type { Envelope, FeedEvent, Job, Page, Presence, SignedIn } from '../client/api';
import { Outbox, type Waiting } from '../client/outbox';
import { Link, OFFLINE, RpcError, type LinkState } from '../client/rpc';
import { say, t, zone } from './texts';

const KEY = 'hamroh-session';
function kept(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
function keep(token: string | null): void {
  try {
    if (token) localStorage.setItem(KEY, token);
    else localStorage.removeItem(KEY);
  } catch {
    /* without storage one signs in again next time */
  }
}

export const connection = signal<LinkState>('connecting');
/** undefined while it is not known yet. */
export const session = signal<SignedIn | null | undefined>(undefined);
export const waiting = signal<Waiting[]>([]);
export const toast = signal<{ text: string; urgent?: boolean; undo?: () => void } | null>(null);
/** Counts reconnections after which the feed could not be resumed: lists are read again. */
export const reloads = signal(0);

/** Persons who share a record with me and are online, as far as they let it be seen. */
export const online = signal<ReadonlySet<string>>(new Set());
/** Whether they see me. */
export const visible = signal(true);

export const roles = computed(() => session.value?.roles ?? []);
export const is_staff = computed(() => roles.value.some((r) => r === 'coordinator' || r === 'administrator'));
export const is_admin = computed(() => roles.value.includes('administrator'));
export const me = computed(() => session.value?.person ?? null);

// ---- records -------------------------------------------------------------------------------------------------------------

type Any = Envelope<unknown>;
/** Records by type and id, as far as some screen asked for them. */
const kinds = new Map<string, ReturnType<typeof signal<ReadonlyMap<string, Any>>>>();
function kind(type: string) {
  let found = kinds.get(type);
  if (!found) kinds.set(type, (found = signal<ReadonlyMap<string, Any>>(new Map())));
  return found;
}
export function records<T>(type: string): ReadonlyMap<string, Envelope<T>> {
  return kind(type).value as ReadonlyMap<string, Envelope<T>>;
}
export function keep_records(items: Any[]): void {
  const by_type = new Map<string, Any[]>();
  for (const item of items) by_type.set(item.type, [...(by_type.get(item.type) ?? []), item]);
  for (const [type, list] of by_type) {
    const next = new Map(kind(type).peek() as ReadonlyMap<string, Any>);
    for (const item of list) if ((next.get(item.id)?.version ?? -1) <= item.version) next.set(item.id, item);
    kind(type).value = next;
  }
}
type Listener = (event: FeedEvent) => void;
const listeners = new Set<Listener>();
export function on_event(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
function take_event(event: FeedEvent): void {
  position = { epoch: position?.epoch ?? '', seq: event.seq };
  if (event.action === 'deleted') {
    const now = kind(event.type).peek() as ReadonlyMap<string, Any>;
    if (now.has(event.id)) {
      const next = new Map(now);
      next.delete(event.id);
      kind(event.type).value = next;
    }
  } else if (event.record) {
    keep_records([event.record as Any]);
  }
  for (const listener of listeners) listener(event);
}

// ---- connection ----------------------------------------------------------------------------------------------------------

let position: { epoch: string; seq: number } | null = null;
const progress = new Map<string, (job: Job) => void>();

const outbox = new Outbox({
  call: (method, params) => call(method, params as object),
  changed: (entries) => (waiting.value = entries),
  sent: (_entry, result) => {
    // What was written is shown at once; the feed brings the same record again.
    if (result && typeof result === 'object' && 'data' in result) keep_records([result as Any]);
  },
});

async function open_feed(): Promise<void> {
  const opened = (await link.direct('feed.open', position ? { after: position } : {})) as { epoch: string; seq: number; recovered: boolean };
  if (position && !opened.recovered) {
    for (const held of kinds.values()) held.value = new Map();
    reloads.value++;
  }
  // `seq` is where the feed starts; what is replayed follows as events, each with its own.
  if (!position || !opened.recovered) position = { epoch: opened.epoch, seq: opened.seq };
  // Changes are told from the opening on; who is there already must be asked.
  const there = (await link.direct('presence.list')) as Presence;
  online.value = new Set(there.online);
  visible.value = there.visible;
}

async function opened(): Promise<void> {
  const token = kept();
  if (!token) {
    session.value = null;
    return;
  }
  try {
    session.value = { ...((await link.direct('session.resume', { token })) as SignedIn), token };
  } catch (error) {
    if (!(error instanceof RpcError) || error.code === OFFLINE) throw error;
    keep(null);
    session.value = null;
    return;
  }
  await settle();
}

async function settle(): Promise<void> {
  const who = session.peek()!;
  if (who.need) return; // nothing else is answered before
  await open_feed();
  zone.value = ((await link.direct('server.info')) as { zone_minutes?: number }).zone_minutes ?? zone.value;
  await outbox.open(`${who.institution}/${who.person ?? who.login ?? ''}`);
  // Not awaited: it waits for the greeting, of which this is a part, to be over.
  void outbox.flush();
}

type Heard = (method: string, params: Record<string, unknown>) => void;
const hearers = new Set<Heard>();
/** Notices that only some part of the client is concerned with. */
export function on_notice(heard: Heard): () => void {
  hearers.add(heard);
  return () => hearers.delete(heard);
}

function notice(method: string, params: unknown): void {
  for (const heard of hearers) heard(method, params as Record<string, unknown>);
  if (method === 'feed.event') take_event(params as FeedEvent);
  else if (method === 'feed.resync') void open_feed();
  else if (method === 'presence.changed') {
    const change = params as { person: string; online: boolean };
    const next = new Set(online.peek());
    if (change.online) next.add(change.person);
    else next.delete(change.person);
    online.value = next;
  }
  else if (method === 'job.progress') {
    const job = params as Job;
    progress.get(job.id ?? '')?.(job);
  } else if (method === 'session.ended') forget();
}

function forget(): void {
  keep(null);
  session.value = null;
  waiting.value = [];
  position = null;
  online.value = new Set();
  for (const held of kinds.values()) held.value = new Map();
}

export const link = new Link(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/rpc`, {
  greet: opened,
  state: (state) => {
    connection.value = state;
    if (state !== 'open') online.value = new Set(); // who is there is not known any more
  },
  notice: (method, params) => notice(method, params),
});

// ---- actions -------------------------------------------------------------------------------------------------------------

/** What an error means, in the reader's words, with a way out. */
export function words(error: unknown): string {
  if (!(error instanceof RpcError)) return t('error-unknown');
  if (error.code === OFFLINE) return t('error-offline');
  const code = error.code;
  const data = error.data ?? {};
  if (data.text) return say(data.text as never);
  if (code === -32005) return t('error-too-many', { seconds: Number(data.retry_after ?? 5) });
  if (code === -32602) {
    const first = (data.errors as { path: string; message: string }[] | undefined)?.[0];
    return first ? t('error-params', { path: first.path, message: first.message }) : t('error-unknown');
  }
  if (code === -32002) return t('error-forbidden');
  if (code === -32003) return t('error-not-found');
  if (code === -32004) return t('error-conflict');
  if (code === -32006 || code === -32603) return t('error-plugin');
  if (code === -32007) return t('error-deadline');
  if (code === -32008) return t('error-too-large');
  if (code === -32009) return t('error-unavailable');
  return t('error-unknown');
}

/** Why a write that waits was refused. */
export function words_of(entry: Waiting): string {
  return words(new RpcError(entry.error?.code ?? 0, entry.error?.message ?? '', entry.error?.data));
}

/** patience: milliseconds until the server is taken to be away, for what may take long. */
export async function call<T>(method: string, params: object = {}, patience?: number): Promise<T> {
  try {
    return (await link.call(method, params, patience)) as T;
  } catch (error) {
    // It became necessary while one was signed in.
    if (error instanceof RpcError && error.data?.need === 'totp' && session.peek()) session.value = { ...session.peek()!, need: 'totp' };
    throw error;
  }
}
/** A write that survives being offline: done now, or when the network is back. A refusal is shown beside it. */
export function send(method: string, params: Record<string, unknown>): void {
  outbox.add(method, params).catch(() => undefined);
}
export const send_again = (idem: string): void => void outbox.retry(idem);
export const send_not = (idem: string): void => void outbox.remove(idem);

export async function be_visible(yes: boolean): Promise<void> {
  const answer = await attempt<{ visible: boolean }>('presence.set', { visible: yes });
  if (answer) visible.value = answer.visible;
}

/** A call whose failure is told in words at the bottom of the screen. undefined when it failed. */
export async function attempt<T>(method: string, params: object = {}): Promise<T | undefined> {
  try {
    return await call<T>(method, params);
  } catch (error) {
    toast.value = { text: words(error), urgent: true };
    return undefined;
  }
}

async function signed_in(result: SignedIn): Promise<void> {
  keep(result.token);
  session.value = result;
  position = null;
  await settle();
}
/** What is kept of the device, so that one knows one's own sign-ins again: "Firefox, Android" and no more. */
export function agent(text = navigator.userAgent): string {
  const browsers: [RegExp, string][] = [[/Edg/, 'Edge'], [/OPR|Opera/, 'Opera'], [/YaBrowser/, 'Yandex'], [/SamsungBrowser/, 'Samsung'], [/Firefox|FxiOS/, 'Firefox'], [/Chrome|CriOS/, 'Chrome'], [/Safari/, 'Safari']];
  const systems: [RegExp, string][] = [[/Android/, 'Android'], [/iPhone|iPad/, 'iOS'], [/Windows/, 'Windows'], [/Mac OS/, 'macOS'], [/CrOS/, 'ChromeOS'], [/Linux/, 'Linux']];
  const first = (list: [RegExp, string][]): string | undefined => list.find(([pattern]) => pattern.test(text))?.[1];
  return [first(browsers), first(systems)].filter(Boolean).join(', ');
}
/** code: of the second factor, when there is one (RpcError with need: "code" asks for it). */
export async function sign_in(institution: string, login: string, password: string, code?: string): Promise<void> {
  const result = await call<SignedIn>('session.login', { institution, login, password, agent: agent(), ...(code ? { code } : {}) });
  await signed_in(result);
  if (result.recovery_left !== undefined) toast.value = { text: t('recovery-used', { count: result.recovery_left }) };
}
export async function accept(institution: string, code: string, login: string, password: string): Promise<void> {
  await signed_in(await call<SignedIn>('session.accept', { institution, code, login, password, agent: agent() }));
}
/** After a second factor was set up: what one may do is another. */
export async function look_again(): Promise<void> {
  const token = session.peek()!.token;
  session.value = { ...(await call<SignedIn>('session.resume', { token })), token };
  position = null;
  await settle();
}
export async function sign_out(): Promise<void> {
  await call('session.logout').catch(() => undefined);
  forget();
  location.hash = '';
}

/** One page of a list, kept current by the feed from then on. */
export async function list<T>(type: string, params: object = {}): Promise<Page<T>> {
  const page = await call<Page<T>>('record.list', { type, ...params });
  keep_records(page.items);
  return page;
}
/** The whole list, page by page. */
export async function list_all<T>(type: string, params: object = {}, most = 5000): Promise<Envelope<T>[]> {
  const out: Envelope<T>[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await list<T>(type, { ...params, limit: 500, ...(cursor ? { cursor } : {}) });
    out.push(...page.items);
    cursor = page.cursor;
  } while (cursor && out.length < most);
  return out;
}

/** Starts a job and waits for its result; `seen` hears of its progress. Leaving and coming back: watch(id). */
export async function run_job<T>(method: string, params: object, seen: (job: Job) => void, started?: (id: string) => void): Promise<T> {
  const { job } = await call<{ job: string }>(method, params);
  started?.(job);
  return watch<T>(job, seen);
}
export function watch<T>(id: string, seen: (job: Job) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let over = false;
    const look = async (): Promise<void> => {
      if (over) return;
      try {
        const got = await call<Job & { data?: Job }>('job.get', { id });
        if (over) return;
        const job = got.data ?? got;
        seen(job);
        if (job.state === 'queued' || job.state === 'running') return;
        over = true;
        progress.delete(id);
        clearInterval(timer);
        if (job.state === 'done') resolve(job.result as T);
        else reject(new RpcError(-32603, job.error?.message ?? job.state, job.error as never));
      } catch (error) {
        if (error instanceof RpcError && error.code === OFFLINE) return; // asked again when the connection is back
        over = true;
        clearInterval(timer);
        reject(error as Error);
      }
    };
    // Progress comes as notices; asking now and then covers what a broken connection swallowed.
    const timer = setInterval(() => void look(), 2000);
    progress.set(id, (job) => {
      seen(job);
      if (job.state && job.state !== 'queued' && job.state !== 'running') void look();
    });
    void look();
  });
}

