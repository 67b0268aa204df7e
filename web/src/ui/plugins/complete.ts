// What the editor offers while one types: from the description of the API that the server makes of its own tables (plugin.api), the
// words of Lua, and the names in the file. Logic only, without an editor, so that it can be tried alone.
import type { Kind } from './types';

export interface ApiFunction {
  name: string;
  signature?: string;
  doc?: string;
  need?: string | null;
  errors?: string;
}
interface ApiField {
  name: string;
  type?: string;
  doc?: string;
}
export interface Api {
  /** The one without a name has what stands by itself. */
  modules: { name: string; doc?: string; functions?: ApiFunction[]; fields?: ApiField[] }[];
  constructors: ((ApiFunction & { kind?: string; kinds?: string[] }) | { kind: string; functions: ApiFunction[] })[];
  types?: { name: string; doc?: string; fields?: ApiField[]; functions?: ApiFunction[] }[];
}
export interface Offer {
  label: string;
  kind: 'function' | 'module' | 'constructor' | 'keyword' | 'name' | 'property';
  detail?: string;
  info?: string;
}
export interface Offers {
  /** Where in the line the word begins that would be replaced. */
  from: number;
  items: Offer[];
}

const keywords = 'and break do else elseif end false for function goto if in local nil not or repeat return then true until while'.split(' ');
const base = 'assert error getmetatable inherit ipairs next pairs pcall rawequal rawget rawlen require select setmetatable tonumber tostring type'.split(' ');
const lua: Record<string, string[]> = {
  string: 'byte char find format gmatch gsub len lower match rep reverse sub upper'.split(' '),
  table: 'concat insert move pack remove sort unpack'.split(' '),
  math: 'abs ceil exp floor fmod huge log max maxinteger min mininteger modf pi sqrt tointeger type ult'.split(' '),
  utf8: 'char charpattern codepoint codes len offset'.split(' '),
};

/** "store.get" of the module store is `get`; "Ctx:refuse" is `refuse`. */
function short(name: string): string {
  return name.replace(/^.*[.:]/, '');
}
function offer(f: ApiFunction, kind: Offer['kind'], need: (right: string) => string): Offer {
  const info = [f.doc, f.need ? need(f.need) : '', f.errors].filter(Boolean).join('\n');
  return { label: short(f.name), kind, ...(f.signature ? { detail: shape(f.signature) } : {}), ...(info ? { info } : {}) };
}
/** "type: string, id: string -> Record" as "(type, id) → Record": types of parameters only make the line long. */
export function shape(signature: string): string {
  const [params = '', result] = split_result(signature);
  const names = split_top(params.trim().replace(/^\((.*)\)$/s, '$1')).map((p) => (p.split(':')[0] ?? '').trim()).filter(Boolean);
  return `(${names.join(', ')})${result ? ` → ${result.trim()}` : ''}`;
}
function split_result(signature: string): [string, string?] {
  let depth = 0;
  for (let i = 0; i < signature.length - 1; i++) {
    if ('{(['.includes(signature[i]!)) depth++;
    if ('})]'.includes(signature[i]!)) depth--;
    if (depth === 0 && signature.slice(i, i + 2) === '->') return [signature.slice(0, i), signature.slice(i + 2)];
  }
  return [signature];
}
function split_top(text: string): string[] {
  const out: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i] ?? ',';
    if ('{(['.includes(c)) depth++;
    if ('})]'.includes(c)) depth--;
    if (c === ',' && depth === 0) {
      out.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return out;
}

function members(api: Api | null, name: string, need: (right: string) => string): Offer[] {
  const out: Offer[] = [];
  // `ctx` is a module or the type Ctx, `t` likewise; a record's members are those of the type Record.
  const is = (n: string): boolean => n.toLowerCase() === name.toLowerCase();
  for (const type of [...(api?.modules ?? []), ...(api?.types ?? [])]) {
    if (!is(type.name)) continue;
    for (const f of type.functions ?? []) out.push(offer(f, 'function', need));
    for (const f of type.fields ?? []) out.push({ label: short(f.name), kind: 'property', ...(f.type ? { detail: f.type } : {}), ...(f.doc ? { info: f.doc } : {}) });
  }
  for (const label of lua[name] ?? []) out.push({ label, kind: 'function' });
  return out;
}

function constructors(api: Api | null, kind: Kind): ApiFunction[] {
  const out: ApiFunction[] = [];
  for (const c of api?.constructors ?? []) {
    const kinds = 'kinds' in c && c.kinds ? c.kinds : [c.kind];
    // "schema" (text, integer, …) is for all of them.
    if (!kinds.some((k) => !k || k === kind || k === 'schema' || k === 'all')) continue;
    if ('functions' in c) out.push(...c.functions);
    else if ('name' in c) out.push(c);
  }
  return out;
}

/** before: the line up to the cursor. text: the whole file, for the names in it. asked: with Ctrl-Space, so nothing typed is fine. */
export function offers(api: Api | null, kind: Kind, before: string, text: string, asked: boolean, need: (right: string) => string = (r) => r): Offers | null {
  const member = /([A-Za-z_]\w*)\s*[.:]\s*(\w*)$/.exec(before);
  if (member) {
    // A number (1.5) and the dots of a concatenation are no members.
    if (/\.\.\s*\w*$/.test(before)) return word(api, kind, before, text, asked, need);
    const items = members(api, member[1]!, need);
    return items.length ? { from: before.length - member[2]!.length, items: unique(items) } : null;
  }
  return word(api, kind, before, text, asked, need);
}
function word(api: Api | null, kind: Kind, before: string, text: string, asked: boolean, need: (right: string) => string): Offers | null {
  const typed = /[A-Za-z_]\w*$/.exec(before)?.[0] ?? '';
  if (!typed && !asked) return null;
  if (/\d$/.test(before.slice(0, before.length - typed.length))) return null;
  const items: Offer[] = [
    ...constructors(api, kind).map((f) => offer(f, 'constructor', need)),
    ...(api?.modules ?? []).filter((m) => !m.name).flatMap((m) => m.functions ?? []).map((f) => offer(f, 'function', need)),
    ...(api?.modules ?? []).filter((m) => m.name).map((m): Offer => ({ label: m.name, kind: 'module', ...(m.doc ? { info: m.doc } : {}) })),
    ...Object.keys(lua).map((label): Offer => ({ label, kind: 'module' })),
    ...base.map((label): Offer => ({ label, kind: 'function' })),
    ...keywords.map((label): Offer => ({ label, kind: 'keyword' })),
    ...names(text, typed).map((label): Offer => ({ label, kind: 'name' })),
  ];
  return { from: before.length - typed.length, items: unique(items) };
}
/** Words of the file, without its strings and comments, but the one that is being typed. */
export function names(text: string, typed = ''): string[] {
  const bare = text
    .replace(/--\[\[[\s\S]*?\]\]/g, ' ')
    .replace(/--.*$/gm, ' ')
    .replace(/"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g, ' ');
  const found = new Map<string, number>();
  for (const [w] of bare.matchAll(/[A-Za-z_]\w{2,}/g)) found.set(w, (found.get(w) ?? 0) + 1);
  if ((found.get(typed) ?? 0) < 2) found.delete(typed);
  return [...found.keys()].filter((w) => !keywords.includes(w)).slice(0, 400);
}
function unique(items: Offer[]): Offer[] {
  const seen = new Set<string>();
  return items.filter((i) => !seen.has(i.label) && seen.add(i.label));
}
