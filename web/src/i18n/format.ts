// Dates, times and numbers. The names of days and months are ours: browsers often have no Uzbek ones and then write "M11". Times
// are those of the institution, wherever the device thinks it is.
import { signal } from '@preact/signals';
import { locale, t } from './index.ts';

/** Minutes east of Greenwich; null: as the device has it. */
export const zone = signal<number | null>(null);
const DAY = 86_400_000;

function parts(ms: number): { year: number; month: number; day: number; weekday: number; hour: number; minute: number } {
  const offset = zone.value ?? -new Date(ms).getTimezoneOffset();
  const at = new Date(ms + offset * 60_000);
  return {
    year: at.getUTCFullYear(), month: at.getUTCMonth(), day: at.getUTCDate(),
    weekday: (at.getUTCDay() + 6) % 7, hour: at.getUTCHours(), minute: at.getUTCMinutes(),
  };
}
const names = (key: string): string[] => t(key).split(' ');
export const weekday = (n: number, form: 'long' | 'short' = 'long'): string => names(`weekdays-${form}`)[n] ?? '';
const two = (n: number): string => String(n).padStart(2, '0');

export function time(ms: number): string {
  const { hour, minute } = parts(ms);
  return `${two(hour)}:${two(minute)}`;
}
export function day(ms: number, withWeekday = true): string {
  const at = parts(ms);
  const thisYear = parts(Date.now()).year;
  const month = names('months')[at.month] ?? '';
  const key = at.year === thisYear ? 'date-day' : 'date-day-year';
  const date = t(key, { day: String(at.day), month, year: String(at.year) });
  return withWeekday ? t('date-weekday', { weekday: weekday(at.weekday, 'short'), date }) : date;
}
/** Whole days between the dates of two moments. */
export function dayNumber(ms: number): number {
  const offset = zone.value ?? -new Date(ms).getTimezoneOffset();
  return Math.floor((ms + offset * 60_000) / DAY);
}
export function nearDay(ms: number): string {
  const distance = dayNumber(ms) - dayNumber(Date.now());
  if (distance === 0) return t('date-today');
  if (distance === 1) return t('date-tomorrow');
  if (distance === -1) return t('date-yesterday');
  return day(ms);
}
export const when = (ms: number): string => t('date-at', { date: nearDay(ms), time: time(ms) });
export const span = (starts: number, minutes = 60): string => `${time(starts)}–${time(starts + minutes * 60_000)}`;

/** "2 days left", from a moment in the future; null when it is over. */
export function left(due: number, now = Date.now()): { text: string; over: boolean; soon: boolean } {
  const ms = due - now;
  if (ms <= 0) return { text: t('clock-over'), over: true, soon: true };
  const hours = Math.ceil(ms / 3_600_000);
  if (hours < 24) return { text: t('clock-hours', { n: hours }), over: false, soon: true };
  return { text: t('clock-days', { n: Math.ceil(ms / DAY) }), over: false, soon: ms < DAY };
}

export function number(value: number, digits = 1): string {
  const text = Number.isInteger(value) && digits <= 1 ? String(value) : value.toFixed(digits);
  const [whole = '', rest] = text.replace('-', '').split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, whole.length > 4 ? ' ' : '');
  const point = locale.value === 'en' ? '.' : ',';
  return (value < 0 ? '−' : '') + grouped + (rest ? point + rest : '');
}
export const signed = (value: number, digits = 1): string => (value > 0 ? '+' : '') + number(value, digits);
