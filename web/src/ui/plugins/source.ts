// What can be read from a source without running it: names of its tests, items and methods, and what an answer of the server says
// about its lines and tests. A guess for convenience; what counts is what the server says.
import type { Problem, TestRow } from './types';

function behind(source: string, word: RegExp): string {
  const at = source.search(word);
  return at < 0 ? '' : source.slice(at);
}
export function test_names(source: string): string[] {
  return [...behind(source, /^\s*tests\s*=\s*\{/m).matchAll(/^\s*\[\s*(["'])(.+?)\1\s*\]\s*=/gm)].map((m) => m[2]!);
}
export function item_ids(source: string): string[] {
  const ids = [...source.matchAll(/\b(?:likert|choice_item|yes_no|number_item|text_item)\s*\(?\s*\{?\s*(["'])([\w.-]+)\1/g)].map((m) => m[2]!);
  return [...new Set(ids)];
}
export function method_names(source: string): string[] {
  const found = [...behind(source, /^\s*methods\s*=\s*\{/m).matchAll(/^\s*\[\s*(["'])([a-z_]+\.[a-z_.]+)\1\s*\]\s*=\s*\{/gm)];
  return [...new Set(found.map((m) => m[2]!))];
}

const of_test = /^test ["“](.+?)["”]: (.*)$/s;

/** Problems of this plugin stand at its lines; those of others (which this one would break) have none here. */
export function own(problem: Problem, id: string): boolean {
  return !problem.plugin || problem.plugin === id || problem.plugin.endsWith(`/${id}`);
}
/** What came of the tests. given: the server's list, when it has one. */
export function tests_of(source: string, problems: Problem[] | null, given?: TestRow[]): TestRow[] {
  if (given) return given;
  const failed = new Map<string, Problem>();
  for (const p of problems ?? []) {
    const found = of_test.exec(p.message);
    if (found) failed.set(found[1]!, { ...p, message: found[2]! });
  }
  const names = [...new Set([...test_names(source), ...failed.keys()])];
  return names.map((name) => {
    const f = failed.get(name);
    if (f) return { name, ok: false, message: f.message, ...(f.line ? { line: f.line } : {}) };
    // With an error before the tests, nobody knows.
    return problems?.length === 0 ? { name, ok: true } : { name };
  });
}

/** "3" is a number, "true" a truth, the rest text, nothing is no answer: what is typed for a trial. */
export function value_of(text: string): unknown {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true';
  return trimmed;
}

const NAME = /^[a-z][a-z0-9_.-]{0,63}$/;
export function is_id(text: string): boolean {
  return NAME.test(text);
}
/** A name with an apostrophe or a space as an id: "Oʻqishda yordam" is oqishda-yordam. */
export function id_of(text: string): string {
  return text
    .toLowerCase()
    .replace(/['‘’ʻʼ`]/g, '')
    .replace(/[^a-z0-9_.]+/g, '-')
    .replace(/^[^a-z]+|-+$/g, '')
    .slice(0, 64);
}
