// A person's data as one file: for the person themselves, and for administrators.
import { call } from '../store/app';

const PATIENCE = 120_000; // a page looks at up to 50 000 records

/** All pages of the export as one: lists are put together, what is no list is the first page's. Without a person: one's own. */
export async function export_person(person?: string): Promise<Record<string, unknown>> {
  const all: Record<string, unknown> = {};
  let cursor: string | null = null;
  do {
    const page: Record<string, unknown> = await call<Record<string, unknown>>('person.export', { ...(person ? { person } : {}), ...(cursor ? { cursor } : {}) }, PATIENCE);
    for (const [name, value] of Object.entries(page)) {
      const had = all[name];
      if (name === 'cursor') continue;
      if (Array.isArray(had) && Array.isArray(value)) had.push(...(value as unknown[]));
      else if (had === undefined) all[name] = value;
    }
    cursor = typeof page.cursor === 'string' ? page.cursor : null;
  } while (cursor);
  return all;
}

export function save(name: string, value: unknown): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: 'application/json' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
