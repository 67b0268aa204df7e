// Where one is: the part of the address behind the #, as words. Screens are links, so that back, bookmarks and new tabs work.
import { signal } from '@preact/signals';

function parse(): string[] {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
}
export const route = signal<string[]>(parse());
/** What is not done yet may keep one where one is: true to stay. It puts the address right again. */
export const guard: { stays?: (() => boolean) | undefined } = {};
addEventListener('hashchange', () => guard.stays?.() || (route.value = parse()));

export function to(...words: string[]): string {
  return '#/' + words.map(encodeURIComponent).join('/');
}
export function go(...words: string[]): void {
  location.hash = to(...words);
}
