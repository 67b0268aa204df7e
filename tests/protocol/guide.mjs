// The pages for who writes a first plugin (plugins/README.md, plugins/guide), read as what they are: blocks to type and steps to do.
// What always holds: nothing that looks like a block to type or a step in the browser is passed over in silence.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const folder = path.join(root, 'plugins/guide');
export const entrance = path.join(root, 'plugins/README.md');
export const pages = () => [entrance, ...readdirSync(folder).filter((n) => n.endsWith('.md')).map((n) => path.join(folder, n))];
export const page_of = (name) => path.join(folder, `${name}.md`);

// What may stand behind the language of a block, and what it means:
//   lua PATH             a whole plugin, that the reader saves there
//   lua in PATH          fields that the reader puts before the last bracket of that file
//   lua try              stands in the place of the two lines of the test in lua.md's first file
//   lua broken PATH      a whole plugin that is refused
//   lua script PATH      for `hamroh run`
//   sh                   typed as it is; `sh put PATH`: after the file above was saved there; `sh fails`: ends with an error
//   sh start             starts the demo, which the tests do in their own way
//   text                 lines of what the block before shows, in this order; … stands for anything
const marks = { lua: ['in', 'try', 'broken', 'script'], sh: ['put', 'fails', 'start'], text: [] };

/** {language, mark, path, text, line} of every fenced block of a page. */
export function blocks(file) {
  const out = [];
  let open;
  readFileSync(file, 'utf8').split('\n').forEach((line, i) => {
    const fence = /^```(.*)$/.exec(line);
    if (fence && open) open = void out.push(open);
    else if (fence) {
      const [language, ...words] = fence[1].trim().split(/\s+/);
      const where = `${path.relative(root, file)}:${i + 1}`;
      assert.ok(language in marks, `${where}: a block of ${language || 'no language'} is not known to the test of the pages`);
      const mark = marks[language].includes(words[0]) ? words.shift() : '';
      assert.ok(words.length <= 1, `${where}: ${fence[1]} is not known to the test of the pages`);
      if (language === 'lua' && mark !== 'try') assert.ok(words[0], `${where}: a block of Lua says in which file it stands`);
      open = { language, mark, path: words[0] ?? '', text: '', line: i + 2, where };
    } else if (open) open.text += line + '\n';
    else assert.doesNotMatch(line, /^(    |\t)\S.*[({]$/, `${file}:${i + 1}: blocks are fenced, so that they are tested`);
  });
  assert.ok(!open, `${file}: a block is not closed`);
  return out;
}

/** The last whole text of a file that a page tells to save. */
export function whole(file, saved) {
  const found = blocks(file).filter((b) => b.language === 'lua' && b.path === saved && b.mark !== 'in');
  assert.ok(found.length, `${file}: no block for ${saved}`);
  return found.at(-1).text;
}
/** A whole file with a fragment before its last bracket, and without the field of this name that stood there. */
export function with_fields(source, fragment) {
  const at = source.lastIndexOf('}');
  return source.slice(0, at) + fragment + source.slice(at);
}

/** Does the text hold these lines, in this order? Returns the first that it does not. */
export function not_shown(text, wanted) {
  let from = 0;
  const lines = text.split('\n').map((l) => l.trim());
  for (const line of wanted.split('\n').map((l) => l.trim()).filter(Boolean)) {
    const pattern = new RegExp(line.split(/\s*…\s*/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+')).join('.*'));
    const at = lines.findIndex((l, i) => i >= from && pattern.test(l));
    if (at < 0) return line;
    from = at + 1;
  }
  return null;
}

const verbs = [
  ['open', /^[Oo]pen <(http\S+?)>/],
  ['window', /^[Oo]pen a private window/],
  ['paste', /^[Dd]elete everything in the editor \(Ctrl\+A, Delete\), and paste the file above/],
  ['choose', /^[Aa]t \*\*(.+?)\*\* choose \*\*(.+?)\*\*/],
  ['type', /^[Aa]t \*\*(.+?)\*\* type `(.+?)`/],
  ['answer', /^[Aa]nswer \*\*(.+?)\*\* with \*\*(.+?)\*\*/],
  ['click', /^[Cc]lick \*\*(.+?)\*\*/],
  ['see', /^[Yy]ou see \*\*(.+?)\*\*(?: and \*\*.+?\*\*)?/],
  ['shows', /^and below it \*\*(.+?)\*\*/],
  ['screen', /^!\[(.+?)\]\((\S+?)\)/],
];
/** What the numbered steps below "In the browser" tell to do: [{step, verb, words}], one by one. */
export function steps(file) {
  const text = readFileSync(file, 'utf8').replaceAll('\r', '');
  const part = /^## In the browser\n([\s\S]*?)(?=^## )/m.exec(text)?.[1];
  assert.ok(part, `${file}: no steps in the browser`);
  const out = [];
  const list = part.split(/^(?=\d+\. )/m).filter((s) => /^\d+\. /.test(s));
  list.forEach((raw, i) => {
    assert.ok(raw.startsWith(`${i + 1}. `), `${file}: step ${i + 1} is missing`);
    const last = i === list.length - 1;
    const step = (last ? raw.replace(/\n\n(?! )[\s\S]*$/, '') : raw).replace(/^\d+\. /, '').replace(/\s+/g, ' ');
    let bold = 0;
    for (let at = 0; at < step.length; at++) {
      if (at > 0 && /\w/.test(step[at - 1])) continue;
      const rest = step.slice(at);
      for (const [verb, pattern] of verbs) {
        const found = pattern.exec(rest);
        if (!found) continue;
        out.push({ step: i + 1, verb: verb === 'shows' ? 'see' : verb, words: found.slice(1) });
        bold += (found[0].match(/\*\*/g) ?? []).length;
        at += found[0].length - 1;
        break;
      }
    }
    assert.equal(bold, (step.match(/\*\*/g) ?? []).length, `${path.basename(file)}, step ${i + 1}: something in bold is not done by the test: ${step}`);
  });
  return out;
}

/** Screens that a page shows. */
export const screens = (file) => [...readFileSync(file, 'utf8').matchAll(/!\[.*?\]\((\S+?)\)/g)].map((m) => path.resolve(path.dirname(file), m[1]));
/** Pages and files that a page links to, here. */
export function links(file) {
  const text = readFileSync(file, 'utf8').replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`]*`/g, '');
  return [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((m) => m[1]).filter((l) => !/^https?:/.test(l)).map((l) => ({ link: l, there: existsSync(path.resolve(path.dirname(file), l)) }));
}
