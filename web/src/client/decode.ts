// Bytes of a table file as text: UTF-8, UTF-16 with a mark, else Windows-1251, as spreadsheet programs here write it.
export function decode(bytes: ArrayBuffer): { text: string; encoding: string } {
  const head = new Uint8Array(bytes.slice(0, 2));
  if (head[0] === 0xff && head[1] === 0xfe) return { text: new TextDecoder('utf-16le').decode(bytes), encoding: 'UTF-16' };
  if (head[0] === 0xfe && head[1] === 0xff) return { text: new TextDecoder('utf-16be').decode(bytes), encoding: 'UTF-16' };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes), encoding: 'UTF-8' };
  } catch {
    return { text: new TextDecoder('windows-1251').decode(bytes), encoding: 'Windows-1251' };
  }
}

export interface FieldMap {
  column?: string;
  number?: boolean;
  split?: string;
  template?: string;
  value?: unknown;
  [more: string]: unknown;
}
export interface RosterMap {
  separator?: string;
  key: FieldMap;
  person: Record<string, FieldMap>;
  measures?: FieldMap[];
  [more: string]: unknown;
}

/** Fields of a person that a column may hold, with the headings under which they are found (folded). */
export const fields: { name: string; more: FieldMap; words: string[] }[] = [
  { name: 'name', more: {}, words: ['name', 'full name', 'f.i.sh', 'f.i.sh.', 'fio', 'ф.и.о.', 'фио', 'ф.и.ш.', 'ism', 'имя', 'исм', 'talaba', 'student'] },
  { name: 'external_id', more: {}, words: ['id', 'external_id', 'student id', 'talaba id', 'hemis id', 'student_id', 'номер', 'raqam', '№'] },
  { name: 'group', more: {}, words: ['group', 'guruh', 'группа', 'гуруҳ'] },
  { name: 'faculty', more: {}, words: ['faculty', 'fakultet', 'факультет'] },
  { name: 'year', more: { number: true }, words: ['year', 'course', 'kurs', 'курс'] },
  { name: 'gender', more: {}, words: ['gender', 'sex', 'jins', 'jinsi', 'пол', 'жинси'] },
  { name: 'gpa', more: { number: true }, words: ['gpa', 'average', 'oʻrtacha ball', "o'rtacha ball", 'средний балл', 'ўртача балл'] },
  { name: 'languages', more: { split: ',' }, words: ['languages', 'language', 'tillar', 'til', 'языки', 'тиллар'] },
  { name: 'strengths', more: { split: ',' }, words: ['strengths', 'kuchli', 'сильные стороны'] },
  { name: 'needs', more: { split: ',' }, words: ['needs', 'ehtiyoj', 'потребности'] },
  { name: 'interests', more: { split: ',' }, words: ['interests', 'qiziqishlar', 'интересы', 'қизиқишлар'] },
  { name: 'capacity', more: { number: true }, words: ['capacity', 'places', 'oʻrinlar', 'места', 'ўринлар'] },
];

export function header(text: string): { separator: string; columns: string[] } {
  const line = text.slice(text.charCodeAt(0) === 0xfeff ? 1 : 0).split(/\r?\n/, 1)[0] ?? '';
  let separator = ',';
  for (const candidate of [';', '\t', ',']) if (line.split(candidate).length > line.split(separator).length) separator = candidate;
  const columns = line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, '$1').replace(/""/g, '"'));
  return { separator, columns };
}

/** Which column is which field, guessed from the headings. */
export function guess(columns: string[], fold: (text: string) => string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const field of fields) {
    const found = columns.find((c) => field.words.some((w) => fold(w) === fold(c)));
    if (found) out[field.name] = found;
  }
  return out;
}

export function map_of(chosen: Record<string, string>, separator: string): RosterMap {
  const person: Record<string, FieldMap> = {};
  for (const field of fields) {
    const column = chosen[field.name];
    if (!column || field.name === 'external_id') continue;
    if (field.name === 'capacity') person.mentoring = { capacity: { column, number: true } };
    else if (field.name === 'gender') person.gender = { column, values: { F: 'f', f: 'f', M: 'm', m: 'm', ayol: 'f', erkak: 'm', ж: 'f', м: 'm', Ж: 'f', М: 'm', аёл: 'f', эркак: 'm' } };
    else person[field.name] = { column, ...field.more };
  }
  return { separator, key: { column: chosen.external_id ?? chosen.name ?? '' }, person };
}
