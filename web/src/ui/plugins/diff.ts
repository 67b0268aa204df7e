// A difference as rows to be drawn: every line with its number in the one and in the other, and what stands between the hunks.
import type { Hunk } from './types';

export interface Row {
  op: ' ' | '+' | '-' | '…';
  old?: number;
  new?: number;
  text: string;
}
export function rows(hunks: Hunk[]): Row[] {
  const out: Row[] = [];
  let next = 1; // line of the old text that nothing has been said about yet
  for (const hunk of hunks) {
    let a = Math.max(1, hunk.from);
    let b = Math.max(1, hunk.to);
    // A hunk of additions alone stands behind the line that it names, as in diff -u; lines left out are said once.
    if (a > next) out.push({ op: '…', text: '', old: a - next });
    for (const line of hunk.lines) {
      if (line.op === '+') out.push({ op: '+', new: b++, text: line.text });
      else if (line.op === '-') out.push({ op: '-', old: a++, text: line.text });
      else out.push({ op: ' ', old: a++, new: b++, text: line.text });
    }
    next = a;
  }
  return out;
}
export function counts(hunks: Hunk[]): { added: number; removed: number } {
  const all = hunks.flatMap((h) => h.lines);
  return { added: all.filter((l) => l.op === '+').length, removed: all.filter((l) => l.op === '-').length };
}
