// The author's commands, from a new file to a recording that is run again, and a watched folder.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { bin, refused, Server, sleep, slow } from './harness.mjs';
import { mentee, mentor, person, programme } from './people.mjs';

const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-author-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

const hamroh = (...args) => new Promise((resolve) => {
  execFile(bin, args.map(String), { maxBuffer: 16 << 20 }, (error, out, err) => resolve({ code: error ? error.code : 0, out, err }));
});
async function works(...args) {
  const done = await hamroh(...args);
  assert.equal(done.code, 0, `hamroh ${args.join(' ')}:\n${done.out}${done.err}`);
  return done.out;
}
function file(name, text) {
  const at = path.join(dir, name);
  mkdirSync(path.dirname(at), { recursive: true });
  writeFileSync(at, text);
  return at;
}
async function until(what, found) {
  for (const end = Date.now() + 20000 * slow; ; await sleep(30)) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
  }
}
const kinds = ['service', 'matcher', 'activity', 'questionnaire', 'report'];
const four = '{ en = "a", uz = "a", ["uz-Cyrl"] = "a", ru = "a" }';
const wrong = `local helper = 1
return service {
  id = "wrong", title = { en = "Wrong", uz = "Xato", ru = "x" },
  methods = { ["wrong.go"] = { summary = "x", access = "signed_in", run = function(ctx, p)
    if p.a then return strng.format("%d", p.a) end
    counter = helper
    return (function() return ctx.now + unknwn end)()
  end } },
  tests = { ["one and two"] = function(t) t:equal(1, 2) end, ["holds"] = function(t) t:ok(true) end },
}
`;

test('a new file of every kind is checked, tested and tells its story in four languages', async () => {
  for (const kind of kinds) {
    const at = (await works('plugin', 'new', kind, `new-${kind}`, '--to', path.join(dir, 'new'))).split('\n')[0];
    assert.equal(await works('plugin', 'check', at), '', 'nothing to say, also of translations');
    assert.match(await works('plugin', 'test', at), new RegExp(`^ok .*new-${kind}.lua: 1 test$`, 'm'));
    const source = readFileSync(at, 'utf8');
    assert.ok(source.match(/^\s*--/gm).length >= 4, `${kind}: comments that teach`);
    for (const language of ['en =', 'uz =', '["uz-Cyrl"] =', 'ru =']) assert.ok(source.includes(language), `${kind}: ${language}`);
  }
});

test('a check names unknown names, globals and missing translations with file, line and column, of all files at once', async () => {
  const files = [file('services/wrong.lua', wrong), file('matchers/broken.lua', 'return matcher {\n  id = "broken",,\n}\n')];
  const said = await hamroh('plugin', 'check', ...files);
  assert.equal(said.code, 1);
  const lines = said.out.trim().split('\n');
  for (const line of [
    `${files[0]}:5:24: the name 'strng' is not known here`,
    `${files[0]}:6:5: 'counter' would be a global; make it local`,
    `${files[0]}:7:41: the name 'unknwn' is not known here`,
  ]) assert.ok(lines.includes(line), said.out);
  assert.match(said.out, new RegExp(`^${files[1]}:2: `, 'm'));
  const json = JSON.parse((await hamroh('plugin', 'check', files[0], '--json')).out);
  assert.equal(json.ok, false);
  assert.deepEqual(json.errors.map((e) => [e.line, e.column]).sort(), [[5, 24], [6, 5], [7, 41]]);
  assert.deepEqual(json.warnings.map((e) => [e.line, e.message]), [[3, 'title: the text in uz-Cyrl is missing']]);
  const clean = file('services/clean.lua', 'local known = math.floor\nreturn service { id = "clean", methods = { ["clean.go"] = { summary = "x", access = "public", run = function() return { n = known(1.5), s = string.rep("a", 2), r = require "lib.clocks" ~= nil } end } } }\n');
  assert.deepEqual(JSON.parse(await works('plugin', 'check', clean, '--json')), { ok: true, errors: [], warnings: [] });
});

test('the shipped plugins use no name that nothing has', async () => {
  await works('worker', '--check', '--lint');
});

test('a test run tells each test with its time, as plain lines, as TAP and as JSON', async () => {
  const at = file('services/wrong.lua', wrong.replace('strng', 'string').replace('counter = helper', '').replace('unknwn', 'helper'));
  const plain = await hamroh('plugin', 'test', at);
  assert.equal(plain.code, 1);
  assert.match(plain.out, /^ {2}FAILED +[\d.]+ ms {2}one and two$/m);
  assert.match(plain.out, /^ +[\d.]+ ms {2}holds$/m);
  assert.match(plain.out, /^not ok services\/wrong\.lua: 1 of 2 tests failed$/m);
  const tap = (await hamroh('plugin', 'test', at, '--tap')).out;
  assert.match(tap, /^TAP version 13$/m);
  assert.match(tap, /^ok 1 - services\/wrong\.lua: holds # [\d.]+ ms$/m);
  assert.match(tap, /^not ok 2 - services\/wrong\.lua: one and two # [\d.]+ ms$/m);
  assert.match(tap, /^1\.\.2$/m);
  const { tests, ok } = JSON.parse((await hamroh('plugin', 'test', at, '--json')).out);
  assert.equal(ok, false);
  assert.deepEqual(tests.map((t) => [t.name, t.ok]), [['holds', true], ['one and two', false]]);
});

const craft = (text) => `return service { id = "craft", title = ${four}, records = { craft_note = { key = "natural", fields = { text = text {} } } },
  methods = {
    ["craft.write"] = { summary = "x", access = "signed_in", writes = true, params = { text = text {} }, run = function(ctx, p)
      log.info("craft says ${text}")
      store.put("craft_note", { id = ctx:uuid(), data = { text = "${text} " .. (p.text or "") }, audience = { "role:administrator" } })
      return { said = "${text}", dice = ctx:random(1000) }
    end },
    ["craft.fail"] = { summary = "x", access = "signed_in", run = function() error("it went wrong") end },
  } }
`;

test('try, log, record and replay say in words what the methods of these names answer', { timeout: 120000 * slow }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const place = await server.institution('school');
  await place.account('boss', ['administrator']);
  const boss = await place.client('boss');
  const call = boss.call.bind(boss);
  const at = ['--data', server.data, '--institution', 'school'];
  const source = file('services/craft.lua', craft('one'));
  await works('plugin', 'push', source, ...at);

  const tried = await works('plugin', 'try', file('services/craft.lua', craft('two')), '--method', 'craft.write', '--params', '{"text":"x"}', ...at);
  assert.match(tried, /nothing was changed$/m);
  assert.match(tried, /"said": "two"/);
  assert.match(tried, /1 record would change:\n {2}created craft_note \S+\n {4}text: - -> "two x"/);
  assert.match(tried, /info .*services\/craft\.lua:4: craft says two/);
  assert.equal((await call('record.count', { type: 'craft_note' })).count, 0);
  assert.match(await works('plugin', 'try', 'service/craft', '--method', 'craft.write', ...at), /"said": "one"/);
  const failed = await hamroh('plugin', 'try', 'service/craft', '--method', 'craft.fail', ...at);
  assert.equal(failed.code, 1);
  assert.match(failed.out, /It fails: it went wrong .*\n {2}services\/craft\.lua:8/);
  assert.equal((await hamroh('plugin', 'try', 'service/craft', '--method', 'craft.write', '--params', '{', ...at)).code, 2);
  assert.equal((await hamroh('plugin', 'try', 'service/craft', ...at)).code, 1, 'which method?');
  const json = JSON.parse(await works('plugin', 'try', 'service/craft', '--method', 'craft.write', '--json', ...at));
  assert.equal(json.result.said, 'one');

  const ali = await person(place, { name: 'Ali' }, 'ali');
  assert.match((await hamroh('plugin', 'try', 'service/match', '--method', 'match.rules', '--as', ali, ...at)).out, /-32002/);
  const [questionnaire, rule, report] = ['questionnaire', 'matcher', 'report'].map((kind) => path.join(dir, 'new', `${kind}s`, `new-${kind}.lua`));
  assert.match(await works('plugin', 'try', questionnaire, '--answers', '{"q1":5,"q2":1}', ...at), /"help": 5/);
  await programme(call);
  await mentor(place, 'Malika', 1, { year: 3 });
  await mentee(place, 'Aziz');
  const preview = await works('plugin', 'try', rule, ...at);
  assert.match(preview, /compared with nothing/);
  assert.match(preview, /Gain a mentor:\n {2}Aziz: -> Malika \(\d+\)/);
  assert.match(await works('plugin', 'try', report, ...at), /"pairs": 0/);

  const follower = spawn(bin, ['plugin', 'log', 'service/craft', '--follow', '--level', 'info', ...at], { stdio: ['ignore', 'pipe', 'inherit'] });
  let followed = '';
  follower.stdout.setEncoding('utf8').on('data', (part) => (followed += part));
  t.after(() => follower.kill('SIGKILL'));
  await call('craft.write', { text: 'a' });
  await refused(call('craft.fail'));
  await until('the followed lines', () => /craft says one/.test(followed) && /it went wrong/.test(followed));
  follower.kill('SIGINT');
  const log = await works('plugin', 'log', ...at);
  assert.match(log, /^\d\d:\d\d:\d\d info {2}service\/craft [0-9a-f]{12} craft\.write services\/craft\.lua:4: craft says one$/m);
  assert.match(log, /^\d\d:\d\d:\d\d error service\/craft [0-9a-f]{12} craft\.fail services\/craft\.lua:8: it went wrong$/m);
  assert.doesNotMatch(await works('plugin', 'log', '--level', 'error', ...at), /craft says/);

  assert.match(await works('plugin', 'record', 'service/craft', '--calls', 1, ...at), /The next 1 calls of service\/craft will be recorded, for 60 minutes/);
  await call('craft.write', { text: 'kept' });
  const recording = await until('the recording', async () => /^\S{36}(?=.* craft\.write)/m.exec(await works('plugin', 'recordings', ...at))?.[0]);
  assert.match(await works('plugin', 'replay', recording, ...at), /It comes to the same\./);
  const other = await hamroh('plugin', 'replay', recording, source, ...at);
  assert.equal(other.code, 1);
  assert.match(other.out, /result differs in 1 place:\n {2}said: was "one", is "two"/);
  assert.match(other.out, /What it writes differs in 1 place:\n {2}1\.data\.text: was "one kept", is "two kept"/);
  assert.match(await works('plugin', 'record', 'service/craft', '--calls', 0, ...at), /recorded no more/);
});

test('a fault in a watched folder is told in the terminal and in the log, with file and line, and what served goes on', { timeout: 60000 * slow }, async (t) => {
  const watched = path.join(dir, 'watched');
  file('watched/services/craft.lua', craft('one'));
  const server = await Server.start({ args: ['--watch', watched] });
  t.after(() => server.stop());
  const place = await server.institution('school');
  await place.account('boss', ['administrator']);
  const boss = await place.client('boss');
  const call = boss.call.bind(boss);
  await until('the folder to serve', () => call('craft.write').then(() => true, () => false));
  await until('word of it', () => server.log.includes(`${watched}: 1 plugin in force (school)`));
  await call('plugin.log_open', { level: 'error' });
  file('watched/services/craft.lua', craft('two').replace('methods = {', 'methods = {{'));
  const notice = await boss.wait_for('the notice', (n) => n.method === 'plugin.log');
  assert.deepEqual([notice.params.kind, notice.params.id, notice.params.file, notice.params.level], ['service', 'craft', 'services/craft.lua', 'error']);
  assert.ok(notice.params.line >= 2);
  await until('the line in the terminal', () => new RegExp(`^${watched}/services/craft\\.lua:${notice.params.line}: .* \\(school\\)$`, 'm').test(server.log));
  assert.match(server.log, /what was accepted last goes on serving/);
  assert.equal((await call('craft.write')).said, 'one');
  assert.equal((await call('plugin.log', { level: 'error' })).items.at(-1).text, notice.params.text);
  file('watched/services/craft.lua', craft('three').replace('error("it went wrong")', 'return unknwn'));
  await until('the repaired one to serve', async () => (await call('craft.write')).said === 'three');
  await until('a warning of a name that nothing has', () => server.log.includes(`services/craft.lua:8: warning: the name 'unknwn' is not known here (school)`));
});
