// What the server can do, as its catalogue says: parts of the page whose methods it lacks are not shown.
import { signal } from '@preact/signals';
import { call } from '../../store/app';

const known = signal<ReadonlyMap<string, ReadonlySet<string>> | null>(null);

interface Catalogue {
  methods: { name: string; params?: { name: string }[] }[];
}

export async function look_up_methods(): Promise<void> {
  if (known.value) return;
  const { methods } = await call<Catalogue>('rpc.discover');
  known.value = new Map(methods.map((m) => [m.name, new Set((m.params ?? []).map((p) => p.name))]));
}
export function can(method: string): boolean {
  return known.value?.has(method) ?? false;
}
export function takes(method: string, param: string): boolean {
  return known.value?.get(method)?.has(param) ?? false;
}
