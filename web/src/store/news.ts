// News of the person: how many are not read, marking them. The feed keeps them current.
import { computed } from '@preact/signals';
import type { Envelope, Notification } from '../client/api';
import { call, list, me, records } from './app';

const SHOWN = 100;

export const news = computed<Envelope<Notification>[]>(() =>
  [...records<Notification>('notification').values()].filter((n) => n.data.person === me.value).sort((a, b) => b.data.created - a.data.created),
);
/** Up to a hundred: more than that nobody counts. */
export const unread = computed(() => news.value.filter((n) => n.data.unread).length);

export async function load_unread(): Promise<void> {
  await list<Notification>('notification', { index: 'unread', equals: [me.peek(), true], order: 'desc', limit: SHOWN });
}
export function load_news(): Promise<unknown> {
  return list<Notification>('notification', { index: 'person', equals: [me.peek()], order: 'desc', limit: SHOWN });
}
export async function read(ids: string[]): Promise<void> {
  await call('notification.read', { ids });
}
export async function read_all(): Promise<void> {
  for (let more = true; more; ) more = (await call<{ more: boolean }>('notification.read', { all: true })).more;
}
