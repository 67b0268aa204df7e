// The language in force, the texts in it, and dates and numbers as that language writes them. One language is loaded at a time.
import { FluentBundle, FluentResource, type FluentVariable } from '@fluent/bundle';
import { signal } from '@preact/signals';
import type { Language, Translated } from '../client/api';

export const languages: { code: Language; name: string; tag: string }[] = [
  { code: 'uz', name: 'Oʻzbekcha', tag: 'uz-Latn-UZ' },
  { code: 'uz-Cyrl', name: 'Ўзбекча', tag: 'uz-Cyrl-UZ' },
  { code: 'ru', name: 'Русский', tag: 'ru-RU' },
  { code: 'en', name: 'English', tag: 'en-GB' },
];
export type Sources = Record<Language, () => Promise<{ default: string }>>;
const sources: Sources = {
  uz: () => import('../i18n/uz.ftl'),
  'uz-Cyrl': () => import('../i18n/uz-Cyrl.ftl'),
  ru: () => import('../i18n/ru.ftl'),
  en: () => import('../i18n/en.ftl'),
};

/** Those of parts that are loaded when they are first shown: see ui/later.ts. */
const more = new Set<Sources>();

export const language = signal<Language>('uz');
const bundle = signal<FluentBundle | null>(null);

export function tag(): string {
  return languages.find((l) => l.code === language.value)?.tag ?? 'uz-Latn-UZ';
}

export function make_bundle(code: Language, source: string): FluentBundle {
  const made = new FluentBundle(languages.find((l) => l.code === code)!.tag, { useIsolating: false });
  const errors = made.addResource(new FluentResource(source));
  if (errors.length) throw errors[0];
  return made;
}

export async function use_language(code: Language): Promise<void> {
  const parts = await Promise.all([sources, ...more].map((from) => from[code]()));
  const source = parts.map((part) => part.default).join('\n');
  bundle.value = make_bundle(code, source);
  language.value = code;
  document.documentElement.lang = tag();
  try {
    localStorage.setItem('hamroh-language', code);
  } catch {
    /* without storage the choice lasts as long as the page */
  }
}

/** Before a part is shown whose texts are loaded with it; from then on they are there in every language. */
export async function add_texts(from: Sources): Promise<void> {
  if (more.has(from)) return;
  more.add(from);
  try {
    await use_language(language.value);
  } catch (error) {
    more.delete(from); // without a network: tried again with the part itself
    throw error;
  }
}

export function first_language(): Language {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem('hamroh-language');
  } catch {
    /* as above */
  }
  const wanted = [kept, ...navigator.languages].filter((l): l is string => !!l);
  for (const w of wanted) {
    if (/^uz-cyrl/i.test(w)) return 'uz-Cyrl';
    const found = languages.find((l) => l.code === w || l.code === w.slice(0, 2));
    if (found) return found.code;
  }
  return 'uz';
}

/** A text of the client. */
export function t(id: string, args?: Record<string, FluentVariable>): string {
  const message = bundle.value?.getMessage(id);
  return message?.value ? bundle.value!.formatPattern(message.value, args) : id;
}

/** A text that came from the server, in the reader's language or the nearest one there is. */
export function say(text: Translated | undefined): string {
  if (text === undefined || text === null) return '';
  if (typeof text === 'string') return text;
  const order: Language[] = [language.value, 'uz', 'en', 'ru', 'uz-Cyrl'];
  for (const code of order) if (text[code]) return text[code];
  return '';
}

const day_ms = 86400000;
// Uzbek month and day names are missing from many phones' Intl data, so they are ours.
const uz_days = ['yakshanba', 'dushanba', 'seshanba', 'chorshanba', 'payshanba', 'juma', 'shanba'];
const uz_months = ['yanvar', 'fevral', 'mart', 'aprel', 'may', 'iyun', 'iyul', 'avgust', 'sentabr', 'oktabr', 'noyabr', 'dekabr'];
const cyrl_days = ['якшанба', 'душанба', 'сешанба', 'чоршанба', 'пайшанба', 'жума', 'шанба'];
const cyrl_months = ['январь', 'февраль', 'март', 'апрель', 'май', 'июнь', 'июль', 'август', 'сентябрь', 'октябрь', 'ноябрь', 'декабрь'];

/** Minutes ahead of UTC where the institution is: times are shown as its clocks show them, wherever the phone thinks it is. */
export const zone = signal(300);
function there(ms: number): Date {
  return new Date(ms + zone.value * 60000); // read with the UTC functions
}

export function time(ms: number): string {
  return there(ms).toISOString().slice(11, 16);
}
export function date(ms: number): string {
  const d = there(ms);
  if (language.value === 'uz') return `${d.getUTCDate()}-${uz_months[d.getUTCMonth()]}`;
  if (language.value === 'uz-Cyrl') return `${d.getUTCDate()}-${cyrl_months[d.getUTCMonth()]}`;
  return d.toLocaleDateString(tag(), { day: 'numeric', month: 'long', timeZone: 'UTC' });
}
export function weekday(ms: number): string {
  const d = there(ms);
  if (language.value === 'uz') return uz_days[d.getUTCDay()]!;
  if (language.value === 'uz-Cyrl') return cyrl_days[d.getUTCDay()]!;
  return d.toLocaleDateString(tag(), { weekday: 'long', timeZone: 'UTC' });
}
/** "shanba, 28-noyabr, 10:00" */
export function moment(ms: number): string {
  return `${weekday(ms)}, ${date(ms)}, ${time(ms)}`;
}
/** For a message in a chat: the time today, else date and time. */
export function stamp(ms: number): string {
  return there(ms).toISOString().slice(0, 10) === there(Date.now()).toISOString().slice(0, 10) ? time(ms) : `${date(ms)}, ${time(ms)}`;
}
/** "2 days left", "3 hours left", "late". */
export function left(due: number, now = Date.now()): string {
  const ms = due - now;
  if (ms <= 0) return t('clock-late');
  if (ms >= day_ms) return t('clock-days', { count: Math.floor(ms / day_ms) });
  return t('clock-hours', { count: Math.max(1, Math.floor(ms / 3600000)) });
}
export function number(value: number, digits = 1): string {
  return value.toLocaleString(tag(), { maximumFractionDigits: digits, minimumFractionDigits: 0 });
}
const folded: Record<string, string> = { '‘': "'", '’': "'", 'ʻ': "'", 'ʼ': "'", '`': "'", 'ё': 'е' };
/** For comparing names: case and the apostrophes ' ‘ ’ ʻ ʼ ` do not count. */
export function fold(text: string): string {
  return text.toLowerCase().replace(/[‘’ʻʼ`ё]/g, (c) => folded[c]!).replace(/\s+/g, ' ').trim();
}
/** How to address somebody: the given name, which official lists put behind the family name ("Karimova Dilnoza"). */
export function given_name(name: string): string {
  const [first = '', second] = name.trim().split(/\s+/);
  return second && /(ov|ev|ova|eva|iy|iyeva|ов|ев|ова|ева|ий)$/i.test(first) ? second : first;
}
