// The command line as people use it: on a folder that is served, and on one that is not.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bin, slow } from './harness.mjs';

const root = path.resolve(path.dirname(new URL(import.meta.url).pathname), '../..');
const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-commands-'));
const data = path.join(dir, 'data');
test.after(() => rmSync(dir, { recursive: true, force: true }));

// {code, out, err} of `hamroh …`; never rejects.
function hamroh(...args) {
  return new Promise((resolve) => {
    execFile(bin, args, { cwd: dir, timeout: 60000 * slow }, (error, out, err) => resolve({ code: error ? (error.code ?? error.signal) : 0, out, err }));
  });
}
async function works(...args) {
  const done = await hamroh(...args);
  assert.equal(done.code, 0, `hamroh ${args.join(' ')}\n${done.out}${done.err}`);
  return done;
}
function script(name, text) {
  writeFileSync(path.join(dir, name), text);
  return name;
}
// A server on a free port; resolves when it has said its address.
function serve(...args) {
  const child = spawn(bin, ['serve', '--data', data, '--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => (log += text));
  child.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal, log })));
  return new Promise((resolve, reject) => {
    let out = '';
    child.stdout.on('data', (text) => {
      out += text;
      const found = /^hamroh is serving (http:\/\/127\.0\.0\.1:\d+\/)\n/.exec(out);
      if (found) resolve(Object.assign(child, { url: found[1] }));
    });
    child.exited.then(({ code }) => reject(new Error(`exit ${code}: ${log}`)));
  });
}

test('wrong words exit with 2 and name what was perhaps meant', async () => {
  assert.equal((await hamroh()).code, 2);
  const typo = await hamroh('sevre');
  assert.equal(typo.code, 2);
  assert.match(typo.err, /did you mean serve\?/);
  assert.equal((await hamroh('verify')).code, 2);
  assert.equal((await hamroh('serve', '--data', data, '--lisen', 'x')).code, 2);
  for (const name of ['init', 'serve', 'run', 'import', 'plugin', 'backup', 'restore', 'person', 'verify', 'check-config', 'version']) {
    assert.match((await works(name, '--help')).out, new RegExp(`^hamroh ${name}`));
  }
});

test('init makes a folder once, whose key only its owner reads', async () => {
  const { out } = await works('init', '--data', data);
  assert.match(out, /Invitation of the first administrator: [0-9A-Z]{4}(-[0-9A-Z]{4}){3}\n/);
  assert.equal(statSync(path.join(data, 'server.key')).mode & 0o777, 0o600);
  const key = readFileSync(path.join(data, 'server.key'));
  assert.equal((await hamroh('init', '--data', data)).code, 1);
  assert.deepEqual(readFileSync(path.join(data, 'server.key')), key);
});

test('a command on a folder that is none of ours says how to make one', async () => {
  const { code, err } = await hamroh('run', '--data', path.join(dir, 'none'), script('empty.lua', ''));
  assert.equal(code, 1);
  assert.match(err, /hamroh init/);
});

const first = script('first.lua', `
must("institution.create", { id = "trial", title = { en = "Trial" } })
must("account.create", { login = "boss", password_hash = hash_password("hamroh-test"), roles = json.array { "administrator" } },
  { institution = "trial" })
local session = must("session.login", { institution = "trial", login = "boss", password = "hamroh-test" })
assert(#must("session.list", {}, { as = session.token }).items == 1)
local result, err = call("institution.create", { id = "trial", title = "again" })
print(result, err.code, err.data.reason, json.encode(args), random(1000), random(1000), read_file("empty.lua") == "")
`);

test('a script runs while nobody serves, gets its words, and leaves no server behind', async () => {
  const { out, err } = await works('run', '--data', data, first, 'one', '--two');
  assert.match(out, /^nil\t-32004\texists\t\["one","--two"\]\t\d+\t\d+\ttrue\n$/);
  assert.equal(err, '');
  assert.ok(!existsSync(path.join(data, 'control.sock')));
  const again = script('again.lua', 'print(random(1000), random(1000), random() < 1)');
  const runs = await Promise.all([works('run', '--data', data, again), works('run', '--data', data, again)]);
  assert.equal(runs[0].out, runs[1].out);
  assert.notEqual(runs[0].out, (await works('run', '--data', data, '--seed', '2', again)).out);
});

test('an error of a script has its line and exits with 1', async () => {
  const { code, err } = await hamroh('run', '--data', data, script('bad.lua', '\nmust("no.such.method")'));
  assert.equal(code, 1);
  assert.match(err, /bad\.lua:2: no\.such\.method: Method not found \(-32601\)/);
  const never = await hamroh('run', '--data', data, script('files.lua', 'print(io, os, require, dofile, debug)'));
  assert.equal(never.out, 'nil\tnil\tnil\tnil\tnil\n');
});

test('a server that is asked to end lets go of the folder, and a second one is told who has it', async () => {
  const server = await serve();
  try {
    assert.equal((await fetch(server.url + 'healthz')).status, 200);
    const second = await hamroh('serve', '--data', data, '--listen', '127.0.0.1:0');
    assert.equal(second.code, 1);
    assert.match(second.err, new RegExp(`by process ${server.pid} `));
    const { out } = await works('run', '--data', data, script('info.lua', 'print(must("server.info").version)'));
    assert.match(out, /^\d+\.\d+\.\d+\n$/);
    assert.equal((await hamroh('verify', '--data', data)).code, 1);
  } finally {
    server.kill('SIGTERM');
  }
  assert.deepEqual({ ...(await server.exited), log: '' }, { code: 0, signal: null, log: '' });
  assert.match((await works('verify', '--data', data)).out, /^cluster: ok, \d+ changes\ntrial: ok, \d+ changes\n$/m);
});

test('when the command is killed, the server that ran for it ends too', async () => {
  const loop = script('loop.lua', 'print("begun") while true do must("server.info") end');
  const child = spawn(bin, ['run', '--data', data, loop], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGKILL');
  for (let i = 0; i < 100 && existsSync(path.join(data, 'control.sock')); i++) await new Promise((go) => setTimeout(go, 100));
  assert.ok(!existsSync(path.join(data, 'control.sock')));
  await works('verify', '--data', data);
});

test('plugin new makes a file of each kind that passes its tests, and push, history, diff and rollback go together', async () => {
  const to = path.join(dir, 'plugins');
  mkdirSync(to);
  const at = ['--data', data, '--institution', 'trial'];
  const files = [];
  for (const kind of ['service', 'matcher', 'activity', 'questionnaire', 'report']) {
    files.push((await works('plugin', 'new', kind, `my-${kind}`, '--to', to)).out.split('\n')[0]);
  }
  assert.equal((await works('plugin', 'test', ...files)).out.match(/^ok .*1 test$/gm).length, 5);
  assert.equal((await hamroh('plugin', 'new', 'matcher', 'my-matcher', '--to', to)).code, 1);

  const file = files[1];
  await works('plugin', 'check', file, ...at);
  await works('plugin', 'push', file, '--note', 'first', ...at);
  const source = readFileSync(file, 'utf8');
  writeFileSync(file, source.replace('6000', '5500').replace('2500', '3000'));
  await works('plugin', 'push', file, '--note', 'second', ...at);
  assert.match((await works('plugin', 'history', 'matcher', 'my-matcher', ...at)).out, /^\* \S+ .* second\n {2}\S+ .* first\n$/);
  assert.match((await works('plugin', 'diff', 'matcher', 'my-matcher', ...at)).out, /^-.*6000[^]*^\+.*5500/m);
  await works('plugin', 'rollback', 'matcher/my-matcher', ...at);
  assert.equal((await works('plugin', 'get', 'matcher', 'my-matcher', ...at)).out, source);

  writeFileSync(file, source.replace('6000', '1'));
  for (const refused of [await hamroh('plugin', 'push', file, ...at), await hamroh('plugin', 'test', file)]) {
    assert.equal(refused.code, 1);
    assert.match(refused.out + refused.err, /matchers\/my-matcher\.lua:\d+: prefer: the points are 4001 in all/);
  }
  assert.equal((await hamroh('plugin', 'try', file)).code, 2, 'without a data folder');
});

test('the shipped plugins pass their own tests', async () => {
  const { out } = await works('plugin', 'test', path.join(root, 'plugins'));
  assert.doesNotMatch(out, /^not ok/m);
  assert.match(out, /^ok services\/pair\.lua/m);
});

test('an import shows what it would do, does it once, and says what it took for what', async () => {
  const at = ['--data', data, '--institution', 'trial'];
  const csv = script('people.csv', '\ufeffF.I.Sh.;Guruh;Kurs\r\n"Karimova ""G"" O‘ktam qizi";PED-24-01;1\r\nTo`rayev Sardor;PED-23-02;x\r\n');
  const seen = await works('import', ...at, csv);
  assert.match(seen.err, /name +from the column "F\.I\.Sh\."/);
  assert.match(seen.out, /^ +1 {2}new people$/m);
  assert.match(seen.out, /line 3 passed over: Not a number: .*x$/m);
  assert.match(seen.out, /Nothing was written/);
  assert.match((await works('import', ...at, '--apply', csv)).out, /^ +1 {2}new people$/m);
  assert.match((await works('import', ...at, '--apply', csv)).out, /^ +1 {2}as they were$/m);
  const map = script('map.json', '{\n  "key": { "column": "Guruh" },\n  "person": { "name": { "column": "nothing" } }\n}\n');
  const wrong = await hamroh('import', ...at, '--map', map, csv);
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /map\.person\.name/);
});

test('a copy of every institution can be laid as a new folder with the key, and holds the same', async () => {
  const copy = path.join(dir, 'copy'), other = path.join(dir, 'other');
  await works('backup', '--data', data, '--to', copy, '--name', 'monday');
  assert.ok(!existsSync(path.join(copy, 'server.key')));
  assert.equal((await hamroh('backup', '--data', data, '--to', copy, '--name', 'monday')).code, 1);
  await works('restore', '--from', copy, '--key', path.join(data, 'server.key'), '--data', other);
  await works('verify', '--data', other);
  const count = script('count.lua', 'print(must("record.count", { type = "person" }, { institution = "trial" }).count)');
  assert.equal((await works('run', '--data', other, count)).out, (await works('run', '--data', data, count)).out);
  assert.equal((await hamroh('restore', '--from', copy, '--key', path.join(data, 'server.key'), '--data', other)).code, 1);
});

test('check-config takes its own defaults and names every problem of a bad file', async () => {
  const defaults = script('defaults.lua', (await works('check-config', '--defaults')).out);
  await works('check-config', defaults);
  const bad = await hamroh('check-config', script('bad-settings.lua', 'return { cpu_mss = 1, workers_max = 0 }'));
  assert.equal(bad.code, 1);
  assert.match(bad.err, /cpu_mss: .*did you mean cpu_ms\?/);
  assert.match(bad.err, /workers_max: takes a whole number from 1 to 64/);
  const refused = await hamroh('serve', '--data', data, '--config', path.join(dir, 'bad-settings.lua'));
  assert.equal(refused.code, 2);
});
