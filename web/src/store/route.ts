// Where one is: the part of the address behind the #, as words. Screens are links, so that back, bookmarks and new tabs work.
import { signal } from '@preact/signals';

function parse(): string[] {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
}
export const route = signal<string[]>(parse());
addEventListener('hashchange', () => (route.value = parse()));

export function to(...words: string[]): string {
  return '#/' + words.map(encodeURIComponent).join('/');
}
export function go(...words: string[]): void {
  location.hash = to(...words);
}
