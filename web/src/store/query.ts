// Answers of methods that put things together on the server (today.list, person.me …): shown from the cache first, read again
// when a record of a type they depend on changes. One entry per method and params, shared by all screens.
import { signal, type Signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type { Method, Params, Result } from '../client/api.ts';
import * as idb from '../client/idb.ts';
import { call, on } from './core.ts';
import { owner } from './session.ts';

interface Entry {
  method: Method;
  params: unknown;
  types: string[];
  data: Signal<unknown>;
  error: Signal<Error | null>;
  loading: Signal<boolean>;
  users: number;
  timer?: ReturnType<typeof setTimeout> | undefined;
}
const entries = new Map<string, Entry>();
const SOON = 250; // changes often come in groups

export interface Query<T> {
  data: T | undefined;
  error: Error | null;
  loading: boolean;
  again(): void;
}

async function read(key: string, entry: Entry): Promise<void> {
  const kept = `${owner.value}:${key}`;
  entry.loading.value = true;
  if (entry.data.value === undefined)
    void idb.take('cache', kept).then((before) => {
      if (before !== undefined && entry.data.value === undefined) entry.data.value = before;
    });
  try {
    const got = await call(entry.method, entry.params as Params<Method>);
    entry.data.value = got;
    entry.error.value = null;
    void idb.put('cache', kept, got);
  } catch (error) {
    entry.error.value = error as Error;
  } finally {
    entry.loading.value = false;
  }
}

function soon(key: string, entry: Entry): void {
  clearTimeout(entry.timer);
  entry.timer = setTimeout(() => void read(key, entry), SOON);
}

export function useQuery<K extends Method>(method: K, params: Params<K>, types: string[] = []): Query<Result<K>> {
  const key = `${method}:${JSON.stringify(params)}`;
  let entry = entries.get(key);
  if (!entry) {
    entry = { method, params, types, data: signal(undefined), error: signal(null), loading: signal(true), users: 0 };
    entries.set(key, entry);
  }
  const mine = entry;
  useEffect(() => {
    mine.users++;
    void read(key, mine);
    return () => void mine.users--;
  }, [key]);
  return {
    data: mine.data.value as Result<K> | undefined,
    error: mine.error.value,
    loading: mine.loading.value,
    again: () => void read(key, mine),
  };
}

on.event.add((event) => {
  for (const [key, entry] of entries) if (entry.users > 0 && entry.types.includes(event.type)) soon(key, entry);
});
on.fresh.add(() => {
  if (!owner.value) entries.clear();
  else for (const [key, entry] of entries) if (entry.users > 0) soon(key, entry);
});
on.ready.add(() => {
  for (const [key, entry] of entries) if (entry.users > 0 && entry.error.value) soon(key, entry);
});
