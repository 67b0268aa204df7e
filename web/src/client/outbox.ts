// Writes that must not be lost: kept in IndexedDB under their `idem` until the server has answered. What always holds: one is
// sent after the other in the order in which they were made, and the same idem is used for every attempt, so that a write whose
// answer was lost is done once. A refusal by the server stays here as `failed` until the person has seen it.
import * as idb from './idb.ts';
import { OFFLINE, RpcError } from './rpc.ts';

export interface Waiting {
  idem: string;
  owner: string; // who wrote it: institution/person
  method: string;
  params: Record<string, unknown>;
  made: number;
  state: 'pending' | 'failed';
  error?: { code: number; message: string; data?: Record<string, unknown> };
}
export interface OutboxHooks {
  call(method: string, params: unknown): Promise<unknown>;
  changed(list: Waiting[]): void;
  sent(entry: Waiting, result: unknown): void;
}
interface Shelf {
  put(key: string, value: Waiting): Promise<void>;
  drop(key: string): Promise<void>;
  all(): Promise<Waiting[]>;
}
const kept: Shelf = {
  put: (key, value) => idb.put('outbox', key, value),
  drop: (key) => idb.drop('outbox', key),
  all: () => idb.all<Waiting>('outbox'),
};

/** Errors after which the same write may succeed later without anybody changing it. */
export function passing(error: unknown): boolean {
  return !(error instanceof RpcError) || [OFFLINE, -32001, -32005, -32007, -32009].includes(error.code);
}

/** 128 random bits in hex. Not crypto.randomUUID, which browsers only offer on https and localhost. */
function fresh_key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export class Outbox {
  private list: Waiting[] = [];
  private owner = '';
  private busy = false;
  private later: ReturnType<typeof setTimeout> | undefined;
  private promises = new Map<string, { resolve(value: unknown): void; reject(error: Error): void }>();
  private hooks: OutboxHooks;
  private shelf: Shelf;

  constructor(hooks: OutboxHooks, shelf: Shelf = kept) {
    this.hooks = hooks;
    this.shelf = shelf;
  }

  /** Take up what this person left on the device. */
  async open(owner: string): Promise<void> {
    this.owner = owner;
    const here = this.list.filter((entry) => entry.owner === owner);
    const known = new Set(here.map((entry) => entry.idem));
    const before = (await this.shelf.all()).filter((entry) => entry.owner === owner && !known.has(entry.idem));
    this.list = [...before, ...here].sort((a, b) => a.made - b.made);
    this.tell();
  }

  /** The promise settles when the server has answered, however long that takes. */
  async add(method: string, params: Record<string, unknown>): Promise<unknown> {
    const entry: Waiting = { idem: fresh_key(), owner: this.owner, method, params, made: Date.now(), state: 'pending' };
    this.list = [...this.list, entry];
    this.tell();
    await this.shelf.put(entry.idem, entry);
    const done = new Promise((resolve, reject) => this.promises.set(entry.idem, { resolve, reject }));
    void this.flush();
    return done;
  }

  async flush(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    clearTimeout(this.later);
    try {
      for (;;) {
        const entry = this.list.find((one) => one.state === 'pending');
        if (!entry || !(await this.send(entry))) break;
      }
    } finally {
      this.busy = false;
    }
  }

  /** False: try later. */
  private async send(entry: Waiting): Promise<boolean> {
    try {
      const result = await this.hooks.call(entry.method, { ...entry.params, idem: entry.idem });
      this.hooks.sent(entry, result);
      await this.remove(entry.idem);
      this.promises.get(entry.idem)?.resolve(result);
    } catch (error) {
      if (passing(error)) {
        const wait = Number((error as RpcError).data?.['retry_after'] ?? 5);
        this.later = setTimeout(() => void this.flush(), wait * 1000);
        return false;
      }
      const { code, message, data } = error as RpcError;
      const failed: Waiting = { ...entry, state: 'failed', error: { code, message, ...(data ? { data } : {}) } };
      this.replace(failed);
      await this.shelf.put(entry.idem, failed);
      this.promises.get(entry.idem)?.reject(error as Error);
    }
    this.promises.delete(entry.idem);
    return true;
  }

  async retry(idem: string): Promise<void> {
    const entry = this.list.find((one) => one.idem === idem);
    if (!entry) return;
    // Another attempt, another key: what was sent may have been changed meanwhile, and a key belongs to one call.
    const fresh: Waiting = { ...entry, idem: fresh_key(), state: 'pending' };
    delete fresh.error;
    await this.shelf.put(fresh.idem, fresh);
    await this.shelf.drop(idem);
    this.list = this.list.map((one) => (one.idem === idem ? fresh : one));
    this.tell();
    await this.flush();
  }

  async remove(idem: string): Promise<void> {
    this.list = this.list.filter((one) => one.idem !== idem);
    this.tell();
    await this.shelf.drop(idem);
  }

  private replace(entry: Waiting): void {
    this.list = this.list.map((one) => (one.idem === entry.idem ? entry : one));
    this.tell();
  }
  private tell(): void {
    this.hooks.changed(this.list.filter((entry) => entry.owner === this.owner));
  }
}
