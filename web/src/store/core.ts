// The one link to the server, and what the rest of the store hangs on it. The other files of the store import this one, never the
// other way round: they register themselves in `on`.
import { signal } from '@preact/signals';
import type { FeedEvent, Method, Params, Result } from '../client/api.ts';
import { Link, type LinkState } from '../client/rpc.ts';

type Listener<T> = (value: T) => void;
class Bell<T> {
  private listeners = new Set<Listener<T>>();
  add(listener: Listener<T>): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  ring(value: T): void {
    for (const listener of [...this.listeners]) listener(value);
  }
}

export const linkState = signal<LinkState>('connecting');
/** Things other stores wait for. `fresh`: everything read before may have a gap, read it again. */
export const on = {
  event: new Bell<FeedEvent>(),
  progress: new Bell<Record<string, unknown>>(),
  presence: new Bell<{ person: string; online: boolean }>(),
  ended: new Bell<string>(),
  fresh: new Bell<void>(),
  ready: new Bell<void>(),
};
/** Set by the session store: says who we are on a new socket. True when somebody is signed in. */
export const greeting: { resume: () => Promise<boolean> } = { resume: async () => false };

let place: { epoch: string; seq: number } | undefined;

export function forgetPlace(): void {
  place = undefined;
}

/** Opens the feed where it broke off; anything that cannot be replayed is read again. */
export async function openFeed(): Promise<void> {
  const before = place;
  const got = (await link.direct('feed.open', before ? { after: before } : {})) as Result<'feed.open'>;
  // With a replay the events between come by themselves; `place` moves on with each of them.
  if (!before || !got.recovered || got.epoch !== before.epoch) place = { epoch: got.epoch, seq: got.seq };
  if (before && !got.recovered) on.fresh.ring();
}

const wsUrl = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/rpc`;
export const link = new Link(wsUrl, {
  async greet() {
    if (await greeting.resume()) await openFeed();
  },
  notice(method, params) {
    if (method === 'feed.event') {
      const event = params as unknown as FeedEvent;
      if (place && event.seq > place.seq) place = { epoch: place.epoch, seq: event.seq };
      on.event.ring(event);
    } else if (method === 'feed.resync') void openFeed().catch(() => undefined);
    else if (method === 'job.progress') on.progress.ring(params);
    else if (method === 'presence.changed') on.presence.ring(params as { person: string; online: boolean });
    else if (method === 'session.ended') on.ended.ring(String(params['reason'] ?? ''));
  },
  state(state) {
    linkState.value = state;
    if (state === 'open') on.ready.ring();
  },
});

/** A read, or a write whose caller waits for the answer. */
export function call<K extends Method>(method: K, params: Params<K>): Promise<Result<K>> {
  return link.call(method, params) as Promise<Result<K>>;
}
/** A write by staff, who are at the screen: not kept while offline, but never done twice. */
export function write<K extends Method>(method: K, params: Params<K>): Promise<Result<K>> {
  return link.call(method, { ...params, idem: crypto.randomUUID() }) as Promise<Result<K>>;
}
