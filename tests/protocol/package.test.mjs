// The Debian package: what is in it, that it works from wherever it was unpacked, the unit, the manual page. What a machine
// lacks to check one of them is said and skipped.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { bin, slow } from './harness.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const build = path.dirname(bin);
const has = (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-package-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));
const run = (program, args, options = {}) => execFileSync(program, args, { encoding: 'utf8', timeout: 120000 * slow, stdio: ['ignore', 'pipe', 'pipe'], ...options });

const tools = ['cpack', 'dpkg-deb', 'dpkg-shlibdeps', 'gzip'].filter((t) => !has(t));
const no_package =
  (tools.length && `no ${tools.join(', ')} here`) ||
  (!existsSync(path.join(build, 'CPackConfig.cmake')) && `${build} is no tree of cmake`) ||
  (!existsSync(path.join(root, 'web/dist/index.html')) && 'the web client has not been built');

test('the package holds the program, the plugins, the client, the unit, the settings, the manual, and says what it needs', { skip: no_package }, () => {
  run('cpack', ['-G', 'DEB', '-B', dir], { cwd: build });
  const deb = path.join(dir, readdirSync(dir).find((name) => /^hamroh_\d+\.\d+\.\d+_\w+\.deb$/.test(name)));
  const rows = run('dpkg-deb', ['-c', deb]).trim().split('\n').map((row) => row.split(/\s+/));
  const files = new Map(rows.map((row) => [row[5].replace(/^\./, ''), { mode: row[0], owner: row[1] }]));
  for (const file of ['/usr/bin/hamroh', '/usr/share/hamroh/plugins/services/pair.lua', '/usr/share/hamroh/plugins/meta/ctx.lua', '/usr/share/hamroh/web/index.html',
    '/lib/systemd/system/hamroh.service', '/lib/systemd/system/hamroh.socket', '/etc/hamroh/hamroh.lua', '/usr/share/man/man1/hamroh.1.gz',
    '/usr/share/doc/hamroh/copyright', '/usr/share/doc/hamroh/README.md', '/usr/share/doc/hamroh/changelog.Debian.gz', '/usr/share/doc/hamroh/examples/demo.lua'])
    assert.ok(files.has(file), `no ${file}`);
  for (const [file, { mode, owner }] of files) {
    assert.equal(owner, 'root/root', file);
    assert.match(mode, /^(drwxr-xr-x|-rw-r--r--|-rwxr-xr-x)$/, file);
    assert.equal(mode === '-rwxr-xr-x', file === '/usr/bin/hamroh', `${file}: ${mode}`);
  }
  const field = (name) => run('dpkg-deb', ['-f', deb, name]).trim();
  for (const library of ['libc6', 'liblmdb0', 'liblua5.4-0', 'libsodium23', 'libseccomp2', 'libwebsockets17', 'libwebsockets-evlib-ev', 'libev4', 'adduser'])
    assert.match(field('Depends'), new RegExp(`(^|, )${library.replace('.', '\\.')}( |,|$)`));
  run('dpkg-deb', ['-R', deb, path.join(dir, 'root')]);
  const control = path.join(dir, 'root/DEBIAN');
  assert.equal(readFileSync(path.join(control, 'conffiles'), 'utf8'), '/etc/hamroh/hamroh.lua\n');
  for (const script of ['postinst', 'prerm', 'postrm']) run('sh', ['-n', path.join(control, script)]);
  run(path.join(dir, 'root/usr/bin/hamroh'), ['check-config', path.join(dir, 'root/etc/hamroh/hamroh.lua')]);
});

test('what was unpacked runs from where it lies, with its own plugins and its own client', { skip: no_package }, async () => {
  const program = path.join(dir, 'root/usr/bin/hamroh'), data = path.join(dir, 'data');
  assert.match(run(program, ['version']), /^hamroh \d+\.\d+\.\d+\n/);
  const defaults = run(program, ['check-config', '--defaults']);
  for (const [setting, folder] of [['plugin_dir', 'plugins'], ['web_dir', 'web']]) {
    const found = new RegExp(`-- ${setting} = "(.*)",`).exec(defaults)[1];
    assert.equal(found, path.join(dir, 'root/usr/share/hamroh', folder));
  }
  run(program, ['init', '--data', data]);
  const child = spawn(program, ['serve', '--data', data, '--listen', '127.0.0.1:0', '--config', path.join(dir, 'root/etc/hamroh/hamroh.lua')], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (text) => (log += text));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    const url = await new Promise((resolve, reject) => {
      let out = '';
      child.stdout.on('data', (text) => {
        const found = /serving (\S+)/.exec((out += text));
        if (found) resolve(found[1]);
      });
      exited.then((code) => reject(new Error(`exit ${code}: ${log}`)));
    });
    assert.match(await (await fetch(url)).text(), /<script/);
    const script = path.join(dir, 'first.lua');
    writeFileSync(script, `must("institution.create", { id = "trial", title = { en = "Trial" } })
      must("person.create", { kind = "student", name = "A", year = 1, languages = { "uz" } }, { institution = "trial" })
      print(must("record.count", { type = "person" }, { institution = "trial" }).count)`);
    assert.equal(run(program, ['run', '--data', data, script]), '1\n');
  } finally {
    child.kill('SIGTERM');
    assert.equal(await exited, 0, log);
  }
});

const unit = readFileSync(path.join(root, 'scripts/package/hamroh.service'), 'utf8');

test('the unit is one that systemd understands, and leaves little open', { skip: !has('systemd-analyze') && 'no systemd-analyze here' }, () => {
  const here = path.join(dir, 'hamroh.service'); // the program of the unit is not installed on a machine that tests
  writeFileSync(here, unit.replaceAll('/usr/bin/hamroh', bin));
  writeFileSync(path.join(dir, 'hamroh.socket'), readFileSync(path.join(root, 'scripts/package/hamroh.socket')));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', here, path.join(dir, 'hamroh.socket')], { encoding: 'utf8' });
  const about_us = (verified.stdout + verified.stderr).split('\n').filter((line) => line.includes('hamroh'));
  assert.deepEqual(about_us, []);
  const security = spawnSync('systemd-analyze', ['security', '--offline=yes', '--threshold=14', '--no-pager', here], { encoding: 'utf8' });
  assert.equal(security.status, 0, security.stdout + security.stderr); // an exposure of at most 1.4 of 10
});

// Names of groups, expanded as systemd has them.
function calls_of(words) {
  return words.flatMap((word) => {
    if (!word.startsWith('@')) return [word];
    const lines = run('systemd-analyze', ['syscall-filter', word]).split('\n').slice(1).map((line) => line.trim());
    return calls_of(lines.filter((line) => line && !line.startsWith('#')));
  });
}

const no_filter = (!has('systemd-analyze') && 'no systemd-analyze here') || (!existsSync(path.join(build, 'as_systemd')) && `no as_systemd in ${build}`) || (/asan|tsan/.test(bin) && !process.env.HAMROH_PLAIN_BIN && 'the run-time of a sanitizer needs calls that the unit refuses; it needs HAMROH_PLAIN_BIN');

test('under the calls and addresses that the unit allows, the server serves and its workers start', { skip: no_filter }, async () => {
  const program = process.env.HAMROH_PLAIN_BIN ?? bin;
  const filters = [...unit.matchAll(/^SystemCallFilter=(.+)$/gm)].map((m) => m[1]);
  const allowed = new Set(calls_of(filters.filter((f) => !f.startsWith('~')).join(' ').split(' ')));
  for (const refused of calls_of(filters.filter((f) => f.startsWith('~')).flatMap((f) => f.slice(1).split(' ')))) allowed.delete(refused);
  const families = /^RestrictAddressFamilies=(.+)$/m.exec(unit)[1].split(' ');
  const list = path.join(dir, 'allowed');
  writeFileSync(list, [...allowed, ...families].join('\n') + '\n');
  const data = path.join(dir, 'filtered');
  run(program, ['init', '--data', data]);
  const child = spawn(path.join(build, 'as_systemd'), ['--allow', list, program, 'serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '', log = '';
  child.stderr.on('data', (text) => (log += text));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    await new Promise((resolve, reject) => {
      child.stdout.on('data', (text) => (out += text).includes('READY=1') && resolve());
      exited.then((code) => reject(new Error(`exit ${code}: ${out}${log}`)));
    });
    const script = path.join(dir, 'filtered.lua');
    writeFileSync(script, `must("institution.create", { id = "trial", title = { en = "Trial" } })
      must("person.create", { kind = "student", name = "A", year = 1, languages = { "uz" } }, { institution = "trial" })
      print(must("record.count", { type = "person" }, { institution = "trial" }).count)`);
    assert.equal(run(program, ['run', '--data', data, script], { env: { ...process.env, HAMROH_DATA: data } }), '1\n', log);
    assert.equal((await fetch(/http:\/\/\S+/.exec(out)[0] + 'healthz')).status, 200);
  } finally {
    child.kill('SIGTERM');
    assert.equal(await exited, 0, log);
  }
});

test('the manual page has every command, option and setting, and its roff is clean', async () => {
  const page = run(bin, ['help', '--man']);
  const plain = page.replaceAll('\\-', '-').replaceAll('\\e', '\\').replaceAll('\\(aq', "'");
  const commands = [...run(bin, ['help']).matchAll(/^ {2}([a-z-]+) /gm)].map((m) => m[1]);
  assert.ok(commands.length >= 10);
  for (const command of commands) {
    assert.match(plain, new RegExp(`^\\.SS ${command}$`, 'm'));
    // The options as the command itself knows them, not as its help says.
    const { stderr } = spawnSync(bin, [command, '--zzzzzzzzzz'], { encoding: 'utf8' });
    const options = /there is (--.*) \(see/.exec(stderr)?.[1].match(/--[a-z-]+/g) ?? [];
    const section = plain.split(`\n.SS ${command}\n`)[1].split('\n.S')[0];
    for (const option of options) assert.ok(section.includes(option), `${option} of ${command} is not in the manual`);
    if (['serve', 'run', 'import', 'backup', 'restore'].includes(command)) assert.ok(options.length >= 2, `${command}: ${stderr}`);
  }
  for (const [, setting] of run(bin, ['check-config', '--defaults']).matchAll(/^ {2}-- ([a-z_]+) = /gm))
    assert.match(plain, new RegExp(`^\\.B ${setting} = `, 'm'));
  for (const line of page.split('\n')) assert.match(line, /^(?!\.(?!(TH|SH|SS|PP|TP|B|I|RI|nf|fi|\\")))/, `no request of ours: ${line}`);
  assert.ok(!page.includes(root), 'a path of the machine it was built on');
  const file = path.join(dir, 'hamroh.1');
  writeFileSync(file, page);
  if (has('man')) {
    const checked = spawnSync('man', ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', file], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', MANROFFSEQ: '', MANWIDTH: '80' } });
    assert.equal(checked.stderr, '');
  }
  if (has('mandoc')) assert.equal(spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', file], { encoding: 'utf8' }).stdout, '');
});
