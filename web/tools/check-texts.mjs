// Fails when a language lacks a text that another has, when a text is empty or a placeable differs, when the code asks for a text
// that does not exist, or when one exists that nobody asks for, or when a text that is loaded later is asked for by what is not.
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { FluentResource } from '@fluent/bundle';

const src = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../src');
const languages = ['uz', 'uz-Cyrl', 'ru', 'en'];
const problems = [];

// Names of the placeables in a pattern of @fluent/bundle.
function variables(pattern, found = new Set()) {
  for (const part of Array.isArray(pattern) ? pattern : [pattern]) {
    if (part?.type === 'var') found.add(part.name);
    if (part?.type === 'select') {
      variables(part.selector, found);
      for (const variant of part.variants) variables(variant.value, found);
    }
  }
  return found;
}

const texts = new Map();
for (const language of languages) {
  const source = readFileSync(path.join(src, 'i18n', language + '.ftl'), 'utf8');
  const messages = new Map(new FluentResource(source).body.map((m) => [m.id, m.value]));
  const written = source.split('\n').filter((line) => /^[a-z]/.test(line)).length;
  if (written !== messages.size) problems.push(`${language}.ftl: ${written} texts are written, ${messages.size} could be read`);
  texts.set(language, messages);
}
const all = new Set([...texts.values()].flatMap((m) => [...m.keys()]));
for (const id of all) {
  const wants = [...variables(texts.get('en').get(id))].sort().join();
  for (const language of languages) {
    const value = texts.get(language).get(id);
    if (value === undefined || value === null || value === '') problems.push(`${language}.ftl: ${id} is missing`);
    else if ([...variables(value)].sort().join() !== wants) problems.push(`${language}.ftl: ${id} has other placeables than in en.ftl`);
  }
}
// The apostrophe of oʻ and gʻ is U+02BB, that of tutuq belgisi U+02BC; others look the same and are not found in a search.
for (const line of readFileSync(path.join(src, 'i18n/uz.ftl'), 'utf8').split('\n'))
  if (/[ogOG]['‘’`]/.test(line)) problems.push(`uz.ftl: write oʻ and gʻ with U+02BB: ${line}`);

// What is loaded later, and so may use the texts behind `## later`; and those behind `## plugins`.
const parts = /\/ui\/(admin\/|plugins\/|account\.tsx|audit_rows\.tsx|contacts\.tsx)/;
const of_plugins = /\/ui\/plugins\//;
let code = '';
let first = '';
let others = '';
const read = (folder) => {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) read(file);
    else if (/\.tsx?$/.test(entry.name)) {
      const text = readFileSync(file, 'utf8');
      code += text;
      if (!parts.test(file)) first += text;
      if (!of_plugins.test(file)) others += text;
    }
  }
};
read(src);
// Families of texts that the code puts together: t(`state-${x}`).
const families_in = (text) => [...text.matchAll(/`([a-z-]+-)\$\{/g)].map((m) => m[1]);
const families = families_in(code);
for (const language of languages) {
  const source = readFileSync(path.join(src, 'i18n', language + '.ftl'), 'utf8');
  for (const [line, user] of [['## later', first], ['## plugins', others]]) {
    const behind = source.split(new RegExp(`^${line}.*$`, 'm'))[1] ?? '';
    if (!behind) problems.push(`${language}.ftl: the line ${line} is missing`);
    const early = families_in(user);
    for (const [, id] of behind.matchAll(/^([a-z][\w-]*) =/gm))
      if (user.includes(`'${id}'`) || early.some((f) => id.startsWith(f))) problems.push(`${language}.ftl: ${id} is needed before; write it above the line \`${line}\``);
  }
}
for (const [, id] of code.matchAll(/\bt\('([a-z0-9-]+)'/g)) if (!all.has(id)) problems.push(`the code asks for ${id}, which no language has`);
for (const id of all)
  if (!code.includes(`'${id}'`) && !families.some((f) => id.startsWith(f))) problems.push(`nobody asks for ${id}`);

if (problems.length) {
  console.error(problems.join('\n'));
  process.exit(1);
}
console.log(`${all.size} texts in ${languages.length} languages`);
