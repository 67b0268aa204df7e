// Sources that are being written, kept on this device per person and plugin, so that a closed lid or a lost network takes nothing.
import * as idb from '../../client/idb';
import { session } from '../../store/app';
import type { Kind } from './types';

export interface Draft {
  owner: string;
  kind: Kind;
  id: string;
  source: string;
  /** The version it began from; null: nothing was in force in this layer. */
  version: string | null;
  /** Its text, to tell whether something was changed. */
  base: string;
  time: number;
}
const owner = (): string => `${session.peek()?.institution ?? ''}/${session.peek()?.login ?? session.peek()?.person ?? ''}`;
const key = (kind: string, id: string): string => `draft/${owner()}/${kind}/${id}`;

export async function draft_of(kind: string, id: string): Promise<Draft | undefined> {
  return idb.take<Draft>('cache', key(kind, id));
}
export async function keep_draft(draft: Omit<Draft, 'owner' | 'time'>): Promise<void> {
  await idb.put('cache', key(draft.kind, draft.id), { ...draft, owner: owner(), time: Date.now() } satisfies Draft);
}
export async function drop_draft(kind: string, id: string): Promise<void> {
  await idb.drop('cache', key(kind, id));
}
export async function drafts(): Promise<Draft[]> {
  const all = await idb.all<Draft>('cache');
  return all.filter((d) => d?.owner === owner() && typeof d.source === 'string');
}
