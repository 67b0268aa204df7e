// Two small shelves in IndexedDB: `outbox` (writes that wait, by idem) and `cache` (last answers, to show something before the
// network does). Where IndexedDB is closed to us (private windows), a map in memory does the same until the page goes.

type Shelf = 'outbox' | 'cache';
const memory: Record<Shelf, Map<string, unknown>> = { outbox: new Map(), cache: new Map() };
let opening: Promise<IDBDatabase | null> | undefined;

function database(): Promise<IDBDatabase | null> {
  opening ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open('hamroh', 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore('outbox');
        request.result.createObjectStore('cache');
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

async function run<T>(shelf: Shelf, mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  const db = await database();
  if (!db) return null;
  return new Promise((resolve) => {
    const transaction = db.transaction(shelf, mode);
    const request = work(transaction.objectStore(shelf));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => resolve(null);
  });
}

export async function put(shelf: Shelf, key: string, value: unknown): Promise<void> {
  memory[shelf].set(key, value);
  await run(shelf, 'readwrite', (store) => store.put(value, key));
}
export async function take<T>(shelf: Shelf, key: string): Promise<T | undefined> {
  const here = memory[shelf].get(key);
  return (here ?? (await run(shelf, 'readonly', (store) => store.get(key))) ?? undefined) as T | undefined;
}
export async function all<T>(shelf: Shelf): Promise<T[]> {
  const kept = (await run(shelf, 'readonly', (store) => store.getAll())) as T[] | null;
  return kept ?? ([...memory[shelf].values()] as T[]);
}
export async function drop(shelf: Shelf, key: string): Promise<void> {
  memory[shelf].delete(key);
  await run(shelf, 'readwrite', (store) => store.delete(key));
}
export async function clear(shelf: Shelf): Promise<void> {
  memory[shelf].clear();
  await run(shelf, 'readwrite', (store) => store.clear());
}
