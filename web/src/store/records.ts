// Records by type, as signals: filled by record.list, kept true by the feed. What always holds: a record is replaced only by a
// newer version of itself, so it does not matter in which order a list and an event arrive.
import { signal, type Signal } from '@preact/signals';
import type { FeedEvent, ListParams, Rec } from '../client/api.ts';
import * as idb from '../client/idb.ts';
import { call, on } from './core.ts';
import { owner } from './session.ts';

type Shelf = ReadonlyMap<string, Rec>;
export type Loading = 'loading' | 'done' | Error;
const shelves = new Map<string, Signal<Shelf>>();
const lists = new Map<string, { params: ListParams; state: Signal<Loading>; cursor: Signal<string | null> }>();
const gone = new Set<string>(); // "type/id" deleted since the page was opened: ids are never used again

export function shelf<D>(type: string): Signal<ReadonlyMap<string, Rec<D>>> {
  let found = shelves.get(type);
  if (!found) shelves.set(type, (found = signal<Shelf>(new Map())));
  return found as unknown as Signal<ReadonlyMap<string, Rec<D>>>;
}

export function merge(records: Rec[]): void {
  const byType = new Map<string, Map<string, Rec>>();
  for (const record of records) {
    const now = byType.get(record.type) ?? shelf(record.type).value;
    const have = now.get(record.id);
    if ((have && have.version >= record.version) || gone.has(`${record.type}/${record.id}`)) continue;
    const next = byType.get(record.type) ?? new Map(now);
    next.set(record.id, record);
    byType.set(record.type, next);
  }
  for (const [type, next] of byType) shelf(type).value = next;
}

function drop(type: string, id: string): void {
  gone.add(`${type}/${id}`);
  const now = shelf(type).value;
  if (!now.has(id)) return;
  const next = new Map(now);
  next.delete(id);
  shelf(type).value = next;
}

on.event.add((event: FeedEvent) => {
  if (event.action === 'deleted') drop(event.type, event.id);
  else if (event.record) merge([event.record]);
});

/** Loads a list once and keeps it loaded; `more` reads its next page. */
export function list(params: ListParams): { state: Signal<Loading>; cursor: Signal<string | null>; more(): Promise<void>; again(): void } {
  const key = JSON.stringify(params);
  let entry = lists.get(key);
  if (!entry) {
    entry = { params, state: signal<Loading>('loading'), cursor: signal<string | null>(null) };
    lists.set(key, entry);
    void read(key);
  }
  return {
    state: entry.state,
    cursor: entry.cursor,
    more: () => read(key, entry.cursor.value ?? undefined),
    again: () => void read(key),
  };
}

async function read(key: string, cursor?: string): Promise<void> {
  const entry = lists.get(key);
  if (!entry) return;
  const kept = `${owner.value}:${key}`;
  if (entry.state.value instanceof Error) entry.state.value = 'loading';
  if (!cursor && entry.state.value === 'loading')
    void idb.take<Rec[]>('cache', kept).then((before) => {
      if (!before || entry.state.value !== 'loading') return;
      merge(before);
      entry.state.value = 'done';
    });
  try {
    const got = await call('record.list', cursor ? { ...entry.params, cursor } : entry.params);
    merge(got.items);
    entry.cursor.value = got.cursor ?? null;
    entry.state.value = 'done';
    if (!cursor) void idb.put('cache', kept, got.items);
  } catch (error) {
    if (entry.state.value !== 'done') entry.state.value = error as Error;
  }
}

/** One record, by id. */
export async function fetchRecord(type: string, id: string): Promise<void> {
  merge([await call('record.get', { type, id })]);
}

// After a gap in the feed: what is shown stays until it has been read again.
on.fresh.add(() => {
  gone.clear();
  if (!owner.value) {
    for (const one of shelves.values()) one.value = new Map();
    lists.clear();
    return;
  }
  for (const key of lists.keys()) void read(key);
});
