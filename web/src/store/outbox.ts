// What waits to be sent, as a signal, and the door for writes that may wait.
import { effect, signal } from '@preact/signals';
import type { Message, Method, Params, Rec, Result } from '../client/api.ts';
import { Outbox, type Waiting } from '../client/outbox.ts';
import { link, linkState, on } from './core.ts';
import { say } from './notes.ts';
import { merge } from './records.ts';
import { me, owner } from './session.ts';

export const waiting = signal<Waiting[]>([]);

const outbox = new Outbox({
  call: (method, params) => link.call(method, params),
  changed: (list) => (waiting.value = list),
  sent(entry, result) {
    if (entry.method !== 'message.send') return;
    // Shown as sent at once: its event follows and is newer.
    const { id, sent } = result as { id: string; sent: number };
    const { to, text } = entry.params as { to: string; text: string };
    const record: Rec<Message> = {
      type: 'message', id, version: 0, created: sent, updated: sent, by: me.value,
      data: { to, text, sent, from: me.value ?? '' },
    };
    merge([record as unknown as Rec]);
  },
  refused: (_entry, error, heard) => {
    if (!heard) say('refused', error);
  },
});

effect(() => {
  const who = owner.value;
  if (who) void outbox.open(who).then(() => outbox.flush());
});
on.ready.add(() => void outbox.flush());

/** Kept on the device until the server has answered. */
export function send<K extends Method>(method: K, params: Params<K>): Promise<Result<K>> {
  return outbox.add(method, params as Record<string, unknown>) as Promise<Result<K>>;
}
export const resend = (idem: string): Promise<void> => outbox.retry(idem);
export const discard = (idem: string): Promise<void> => outbox.remove(idem);
export const offline = (): boolean => linkState.value === 'offline';
