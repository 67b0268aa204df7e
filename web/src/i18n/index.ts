// The languages: one Fluent file each, loaded apart. `t` reads a signal, so that every text on the screen changes with the language.
import { FluentBundle, FluentResource, type FluentVariable } from '@fluent/bundle';
import { signal } from '@preact/signals';
import type { Translated } from '../client/api.ts';

export const locales = ['uz', 'uz-Cyrl', 'ru', 'en'] as const;
export type Locale = (typeof locales)[number];
/** Each in its own words. */
export const localeNames: Record<Locale, string> = { uz: 'Oʻzbekcha', 'uz-Cyrl': 'Ўзбекча', ru: 'Русский', en: 'English' };

const load: Record<Locale, () => Promise<{ default: string }>> = {
  uz: () => import('./uz.ftl'),
  'uz-Cyrl': () => import('./uz-Cyrl.ftl'),
  ru: () => import('./ru.ftl'),
  en: () => import('./en.ftl'),
};
export const locale = signal<Locale>('uz');
const bundle = signal<FluentBundle | null>(null);

export function guess(): Locale {
  const kept = localStorage.getItem('hamroh.locale') as Locale | null;
  if (kept && locales.includes(kept)) return kept;
  for (const wish of navigator.languages) {
    if (/^uz-cyrl/i.test(wish)) return 'uz-Cyrl';
    const short = wish.slice(0, 2).toLowerCase() as Locale;
    if (locales.includes(short)) return short;
  }
  return 'uz';
}

export async function use(next: Locale, remember = false): Promise<void> {
  const text = (await load[next]()).default;
  // No isolation marks: all four languages are written from left to right.
  const made = new FluentBundle(next === 'uz' ? 'uz-Latn' : next, { useIsolating: false });
  made.addResource(new FluentResource(text));
  bundle.value = made;
  locale.value = next;
  document.documentElement.lang = next === 'uz' ? 'uz-Latn' : next;
  if (remember) localStorage.setItem('hamroh.locale', next);
}

export function has(key: string): boolean {
  return bundle.value?.hasMessage(key) ?? false;
}
export function t(key: string, args?: Record<string, FluentVariable>): string {
  const message = bundle.value?.getMessage(key);
  return message?.value ? (bundle.value as FluentBundle).formatPattern(message.value, args) : key;
}

/** A text that came from the server in several languages. */
export function pick(text: Translated | undefined | null): string {
  if (text === undefined || text === null) return '';
  if (typeof text === 'string') return text;
  return text[locale.value] ?? text.en ?? text.uz ?? Object.values(text).find((one) => typeof one === 'string') ?? '';
}

/** For search: small letters, and every apostrophe that people type for oʻ and gʻ left out. */
export function fold(text: string): string {
  return text.toLowerCase().replace(/[ʻʼ‘’'`´ʹ′]/g, '').normalize('NFC').trim();
}
