// Every block of the pages for a first plugin is typed, as it stands there, into a fresh demo: files are saved where the page says,
// commands run in a shell in their order, and what the page shows must come.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync, readdirSync, accessSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { bin, Server, slow } from './harness.mjs';
import { blocks, entrance, folder, links, not_shown, page_of, pages, root, screens, steps, whole, with_fields } from './guide.mjs';

const run = promisify(execFile);
const home = mkdtempSync(path.join(tmpdir(), 'hamroh-guide-'));
const at = path.join(home, 'hamroh'); // the folder of Hamroh, as the reader has it
let server;

test.before(async () => {
  server = await Server.start();
  await run(bin, ['run', '--data', server.data, path.join(root, 'scripts/demo.lua')], { maxBuffer: 1 << 24 });
  mkdirSync(path.join(home, '.local/share'), { recursive: true });
  symlinkSync(server.data, path.join(home, '.local/share/hamroh-demo'));
  mkdirSync(path.join(at, 'build/release'), { recursive: true });
  symlinkSync(bin, path.join(at, 'build/release/hamroh'));
  cpSync(path.join(root, 'plugins'), path.join(at, 'plugins'), { recursive: true });
}, { timeout: 60000 * slow });
test.after(async () => {
  await server?.stop();
  rmSync(home, { recursive: true, force: true });
});

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const { HAMROH_DATA: _, ...environment } = process.env;
const shell = (script) => run('bash', ['-c', script], { cwd: at, env: { ...environment, HOME: home }, maxBuffer: 1 << 24, timeout: 120000 * slow });

// What the entrance says to type first.
const prepare = blocks(entrance).filter((b) => b.language === 'sh' && b.mark !== 'start').map((b) => b.text);

/** One shell for the page: [{block, code, out}] of its blocks of commands. */
async function type_in(file) {
  const results = mkdtempSync(path.join(home, 'typed-'));
  const typed = [];
  let script = file === entrance ? '' : prepare.map((b) => `${b} >/dev/null || exit 90\n`.replace(/\n >/, ' >')).join('');
  for (const [i, block] of blocks(file).entries()) {
    const save = (from) => {
      const source = path.join(results, `${i}.lua`);
      writeFileSync(source, from.text);
      script += `mkdir -p "$(dirname ${quoted(from.path)})" && cp ${quoted(source)} ${quoted(from.path)} || exit 91\n`;
    };
    // A page that makes the file by a command saves its own text there later, where it says so.
    const put_later = blocks(file).some((b) => b.mark === 'put' && b.path === block.path);
    if (block.language === 'lua' && !['in', 'try'].includes(block.mark) && !put_later) save(block);
    if (block.language !== 'sh' || block.mark === 'start') continue;
    if (block.mark === 'put') save({ path: block.path, text: whole(file, block.path) });
    // Each line must work, not only the last one; what is exported stays.
    script += `{ ${block.text.trim().split('\n').join(' && ')}\n} >${results}/${i}.out 2>&1 </dev/null\n`;
    script += `echo $? >${results}/${i}.code\n`;
    typed.push({ i, block });
  }
  const end = await shell(script).catch((error) => error);
  for (const one of typed) {
    const read = (what) => (existsSync(`${results}/${one.i}.${what}`) ? readFileSync(`${results}/${one.i}.${what}`, 'utf8') : '');
    one.out = read('out') || `${end.stdout}${end.stderr}`;
    one.code = read('code').trim();
  }
  return typed;
}
async function works(...args) {
  const done = await run(bin, args, { cwd: at, env: { ...environment, HOME: home, HAMROH_DATA: server.data } }).catch((error) => error);
  assert.ok(!done.code, `hamroh ${args.join(' ')}:\n${done.stdout}${done.stderr}`);
  return done.stdout + done.stderr;
}

for (const file of pages()) {
  const name = path.relative(path.join(root, 'plugins'), file);
  const all = blocks(file);
  if (all.some((b) => b.language === 'sh'))
    test(`${name}: what it says to type works, and shows what it says`, { timeout: 300000 * slow }, async () => {
      const typed = await type_in(file);
      for (const { i, block, out, code } of typed) {
        if (block.mark === 'fails') assert.notEqual(code, '0', `${block.where} does not fail:\n${out}`);
        else assert.equal(code, '0', `${block.where}:\n${block.text}\n${out}`);
        const shown = all[i + 1]?.language === 'text' ? all[i + 1] : null;
        if (shown) assert.equal(not_shown(out, shown.text), null, `${shown.where}: this line did not come, of\n${block.text}\n${out}`);
      }
      for (const [i, block] of all.entries()) if (block.language === 'text') assert.equal(all[i - 1]?.language, 'sh', `${block.where}: of which command?`);
    });

  const files = [...new Set(all.filter((b) => b.language === 'lua' && !b.mark).map((b) => b.path))];
  if (files.length)
    test(`${name}: its plugins are checked, tested and put in force in the demo, and so is each part that may be added`, { timeout: 300000 * slow }, async () => {
      const tried = mkdtempSync(path.join(home, 'tried-'));
      const put = async (source, saved, what) => {
        const to = path.join(tried, saved);
        mkdirSync(path.dirname(to), { recursive: true });
        writeFileSync(to, source);
        // An override stands on the server's rule: only there it can be checked.
        const said = await works('plugin', 'check', to, ...(/\binherit\(\)/.test(source) ? ['--institution', 'demo'] : []));
        if (!/\binherit\(\)/.test(source)) {
          assert.equal(said.replace(/^.*title: the text.*\n/gm, ''), '', what);
          await works('plugin', 'test', to);
        }
        assert.match(await works('plugin', 'push', to, '--institution', 'demo', '--note', what), /in force/);
        const [kind, id] = [{ questionnaires: 'questionnaire', matchers: 'matcher', activities: 'activity', services: 'service' }[saved.split('/')[1]], path.basename(saved, '.lua')];
        assert.equal((await server.call('plugin.get', { kind, id }, { institution: 'demo' })).source, source, what);
      };
      for (const saved of files) {
        const source = whole(file, saved);
        await put(source, saved, saved);
        for (const part of all.filter((b) => b.mark === 'in' && b.path === saved)) await put(with_fields(source, part.text), saved, part.where);
      }
      for (const part of all.filter((b) => b.mark === 'in')) assert.ok(files.includes(part.path), `${part.where}: there is no whole ${part.path} on this page`);
    });
}

test('each piece of Lua holds in the test of the file that the page begins with', { timeout: 120000 * slow }, async () => {
  const file = page_of('lua');
  const source = whole(file, 'my-plugins/services/learning.lua');
  const place = /      local name = "Aziza"\n      t:equal\(name, "Aziza"\)\n/;
  assert.match(source, place, 'the two lines in whose place they stand');
  const pieces = blocks(file).filter((b) => b.mark === 'try');
  assert.ok(pieces.length >= 8);
  const to = path.join(home, 'pieces/services');
  mkdirSync(to, { recursive: true });
  for (const [i, piece] of pieces.entries()) {
    assert.match(piece.text, /t:(equal|ok)\(/, `${piece.where} tells nothing that could be wrong`);
    writeFileSync(path.join(to, `learning${i}.lua`), source.replace('"learning"', `"learning${i}"`).replace(place, () => piece.text));
  }
  await works('plugin', 'test', ...pieces.map((_, i) => path.join(to, `learning${i}.lua`)));
  // And it would not hold if a piece were wrong.
  writeFileSync(path.join(to, 'learning0.lua'), source.replace('"learning"', '"learning0"').replace('t:equal(name, "Aziza")', 't:equal(name, "Bobur")'));
  await assert.rejects(works('plugin', 'test', path.join(to, 'learning0.lua')), /what I try/);
});

test('what the pages say of the demo is what scripts/start does', () => {
  const start = blocks(entrance).find((b) => b.mark === 'start').text.trim();
  const script = path.join(root, start);
  accessSync(script, constants.X_OK);
  const text = readFileSync(script, 'utf8');
  assert.match(text, /\$\{HAMROH_DATA:-\$HOME\/\.local\/share\/hamroh-demo\}/);
  assert.match(text, /listen=127\.0\.0\.1:8080/);
  assert.match(text, /hamroh=\$root\/build\/release\/hamroh/);
  assert.match(text, /--fresh\)/);
});

test('links lead to something, screens are there and small, and every step in the browser is one that the browser test does', () => {
  const shown = new Set();
  for (const file of pages()) {
    for (const { link, there } of links(file)) assert.ok(there, `${file} links to ${link}`);
    for (const screen of screens(file)) shown.add(screen);
  }
  for (const name of ['questionnaire', 'matcher', 'activity']) assert.ok(steps(page_of(name)).length >= 12, name);
  assert.ok(screens(page_of('questionnaire')).length >= 4);
  for (const screen of shown) {
    assert.equal(readFileSync(screen).subarray(1, 4).toString(), 'PNG', screen);
    assert.ok(statSync(screen).size < 60 * 1024, `${screen}: ${statSync(screen).size} bytes; node tests/browser/guide_shots.mjs makes them`);
  }
  for (const name of readdirSync(folder).filter((n) => n.endsWith('.png'))) assert.ok(shown.has(path.join(folder, name)), `${name} is on no page`);
  const linked = new Set(pages().flatMap((f) => links(f).map((l) => path.basename(l.link))));
  for (const file of pages()) assert.ok(file === entrance || linked.has(path.basename(file)), `nothing leads to ${file}`);
});
