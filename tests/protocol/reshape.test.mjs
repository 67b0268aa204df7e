// Record types that change: fields renamed, gained, dropped, narrowed, sealed; indexes built; under writers and readers, cut
// short by kill -9, taken back. Nothing is lost unless somebody has said so, and nobody sees a mixture.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { bin, refused, serve_for, slow, sleep } from './harness.mjs';

const world = serve_for(test, {}, async (server) => ({ server }));
let made = 0;
const place = () => world.server.institution(`place${++made}`);

const run = (args) => new Promise((resolve) => {
  execFile(bin, args, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
});

// A service with one record type `pact`, of which `record` is the declaration, and whose fields are reached by `value`, `count`.
const pacts = (record, { count = 'n', more = '', records = '' } = {}) => `
return service {
  id = "pacts",
  records = { pact = { key = "natural", ${record} }, ${records} },
  methods = {
    ["pacts.put"] = { access = { "administrator" }, writes = true, params = { id = text { required = true }, data = any { required = true } },
      run = function(ctx, p)
        store.put("pact", { id = p.id, data = p.data, audience = { "role:administrator" } })
        return {}
      end },
    ["pacts.fill"] = { access = { "administrator" }, writes = true, params = { from = integer {}, count = integer {}, data = any {} },
      run = function(ctx, p)
        for i = p.from, p.from + p.count - 1 do
          local data = {}
          for k, v in pairs(p.data) do data[k] = v end
          store.put("pact", { id = ("p%05d"):format(i), data = data, audience = { "role:administrator" } })
        end
        return {}
      end },
    ["pacts.bump"] = { access = { "administrator" }, writes = true, params = { id = text { required = true } },
      run = function(ctx, p)
        local record = store.get("pact", p.id)
        store.patch("pact", p.id, { ${count} = record.data.${count} + 1 })
        return { was = record.data.${count} }
      end },
    ["pacts.forms"] = { access = { "administrator" },
      run = function(ctx)
        local forms = {}
        for record in store.each("pact") do
          local names = {}
          for name in pairs(record.data) do names[#names + 1] = name end
          table.sort(names)
          local form = table.concat(names, " ")
          forms[form] = (forms[form] or 0) + 1
        end
        return forms
      end },
    ${more}
  },
}
`;
const OLD = pacts('fields = { old = text {}, x = integer {}, n = integer { default = 0 } }, indexes = { by_old = { fields = { "old" } } }');
const NEW = pacts(`version = 2, upgrade = { [2] = { rename = { old = "new", n = "times" }, set = { y = 1 }, drop = { "x" } } },
  fields = { new = text {}, y = integer { required = true }, times = integer { default = 0 } },
  indexes = { by_new = { fields = { "new" } }, by_times = { fields = { "times" } } }`, { count: 'times' });
const OLD_FORM = 'n old x';
const NEW_FORM = 'new times y';

const deploy = (p, source, more = {}) => p.call('plugin.deploy', { kind: 'service', id: 'pacts', source, ...more });
const changes_of = (error) => error.data.changes.map((c) => [c.type, c.what, c.field, c.records]);

world.test('a field is renamed, one gained, one dropped while others write and read: nothing is lost, and nobody sees a mixture', { timeout: 240000 * slow }, async () => {
  const p = await place();
  const COUNT = 3000;
  await deploy(p, OLD);
  for (let i = 0; i < COUNT; i += 500) await p.call('pacts.fill', { from: i, count: 500, data: { old: 'word', x: 7, n: 0 } });
  // Without a yes nothing happens: what would be lost is said, in four languages.
  const error = await refused(deploy(p, NEW), -32004);
  assert.equal(error.data.reason, 'lossy');
  assert.deepEqual(changes_of(error), [['pact', 'dropped_field', 'x', COUNT]]);
  assert.deepEqual(Object.keys(error.data.changes[0].text), ['uz', 'uz-Cyrl', 'ru', 'en']);
  for (const text of Object.values(error.data.changes[0].text)) assert.match(text, /pact.*x|x.*pact|3000/);
  assert.deepEqual(await p.call('pacts.forms'), { [OLD_FORM]: COUNT });
  const checked = await p.call('plugin.check', { kind: 'service', id: 'pacts', source: NEW });
  assert.deepEqual([checked.ok, checked.changes.length, checked.changes[0].what], [true, 1, 'dropped_field']);

  let going = true;
  const seen = { bumps: 0, forms: new Set(), lists: new Set(), readers: 0 };
  const writer = async (k) => {
    for (let i = k; going; i += 7) {
      await p.call('pacts.bump', { id: `p${String(i % COUNT).padStart(5, '0')}` });
      seen.bumps++;
    }
  };
  const reader = async () => {
    while (going) {
      const forms = await p.call('pacts.forms');
      assert.equal(Object.values(forms).reduce((a, b) => a + b, 0), COUNT);
      seen.forms.add(Object.keys(forms).sort().join(' | '));
      seen.readers++;
    }
  };
  const lister = async () => {
    while (going) {
      const { items } = await p.call('record.list', { type: 'pact', limit: 300, order: 'desc' });
      seen.lists.add([...new Set(items.map((r) => Object.keys(r.data).sort().join(' ')))].join(' | '));
    }
  };
  const load = [0, 1, 2, 3, 4].map(writer).concat([reader(), lister()]);
  while (seen.bumps < 50) await sleep(5);
  const before = seen.bumps;
  await deploy(p, NEW, { confirm: true });
  const during = seen.bumps - before;
  const until = seen.bumps + 100;
  while (seen.bumps < until) await sleep(5);
  going = false;
  await Promise.all(load);
  assert.ok(during > 5, `writes went on meanwhile (${during})`);
  assert.deepEqual([...seen.forms].sort(), [OLD_FORM, NEW_FORM].sort());
  assert.deepEqual([...seen.lists].sort(), [OLD_FORM, NEW_FORM].sort());
  let sum = 0;
  for (let cursor; cursor !== null;) {
    const page = await p.call('record.list', { type: 'pact', index: 'by_times', limit: 500, ...(cursor && { cursor }) });
    for (const r of page.items) {
      assert.deepEqual([r.data.new, r.data.y], ['word', 1]);
      sum += r.data.times;
    }
    cursor = page.cursor;
  }
  assert.equal(sum, seen.bumps, 'each bump once');
  assert.equal((await p.call('record.count', { type: 'pact', index: 'by_new', equals: 'word' })).count, COUNT);
});

world.test('a client that follows the feed is told of every record in its new form', { timeout: 60000 * slow }, async () => {
  const p = await place();
  await deploy(p, OLD);
  await p.call('pacts.fill', { from: 0, count: 30, data: { old: 'word', n: 4 } });
  await p.account('root', ['administrator']);
  const root = await p.client('root');
  const { items: before } = await root.call('record.list', { type: 'pact' });
  await root.call('feed.open');
  await deploy(p, NEW);
  const { items } = await p.call('record.list', { type: 'pact' });
  assert.ok(items.every((r) => r.data.new === 'word' && r.data.times === 4 && r.data.old === undefined));
  // Written by and by, by those who wrote them, at the time at which they did.
  for (let i = 0; i < 400; i++) {
    const now = (await p.call('record.list', { type: 'pact' })).items;
    if (now.every((r, k) => r.version > before[k].version)) break;
    await sleep(10);
    assert.ok(i < 399, 'settled');
  }
  const after = (await p.call('record.list', { type: 'pact' })).items;
  assert.deepEqual(after.map((r) => [r.by, r.updated, r.created]), before.map((r) => [r.by, r.updated, r.created]));
  await root.wait_for('the last of them', () => root.feed.filter((e) => e.type === 'pact').length >= 30);
  const told = root.feed.filter((e) => e.type === 'pact');
  assert.deepEqual([...new Set(told.map((e) => `${e.action} ${Object.keys(e.record.data).sort().join(' ')}`))], ['updated new times y']);
  assert.equal(new Set(told.map((e) => e.id)).size, 30);
  root.close();
});

world.test('a function upgrades what no table can say, sees nothing but the record, and an error in it names its place', { timeout: 60000 * slow }, async () => {
  const p = await place();
  await deploy(p, OLD);
  await p.call('pacts.fill', { from: 0, count: 40, data: { old: 'first last', n: 2 } });
  const by = (body) => pacts(`version = 3, upgrade = {
    [2] = { rename = { old = "name" } },
    [3] = function(data)
      ${body}
      return data
    end },
    fields = { name = any {}, first = text {}, last = text {}, x = integer {}, n = integer {} }`);
  const broken = await refused(deploy(p, by('data.first = data.nothing.at_all')), -32006);
  assert.match(broken.data.errors[0].message, /services\/pacts\.lua:7: .*nothing/);
  const curious = await refused(deploy(p, by('data.first = store.get("pact", "p00001").id')), -32006);
  assert.match(curious.data.errors[0].message, /sees the data of that record only/);
  const endless = await refused(deploy(p, by('while true do end')), -32006);
  assert.match(endless.data.errors[0].message, /could not be/);
  assert.deepEqual(await p.call('pacts.forms'), { 'n old': 40 });
  await deploy(p, by('data.first, data.last = data.name:match("(%S+) (%S+)"); data.name = nil'));
  assert.deepEqual(await p.call('pacts.forms'), { 'first last n': 40 });
  assert.equal((await p.call('record.get', { type: 'pact', id: 'p00011' })).data.last, 'last');
});

world.test('what a declaration of an upgrade gets wrong is told where it stands', async () => {
  const p = await place();
  const wrong = async (record, message) => {
    const error = await refused(deploy(p, pacts(`fields = { a = text {} }, ${record}`)), -32006);
    assert.match(error.data.errors[0].message, message);
  };
  await wrong('version = 0', /version.*from 1/);
  await wrong('version = 2, upgrade = { [3] = { drop = { "b" } } }', /upgrade\.3.*from 2 to 2/);
  await wrong('version = 2, upgrade = { [2] = { remove = { "b" } } }', /upgrade\.2\.remove/);
  await wrong('version = 2, upgrade = { [2] = 7 }', /upgrade\.2.*function/);
});

world.test('narrowed values, missing fields and a type that goes are refused, and kept apart from what is asked for', { timeout: 60000 * slow }, async () => {
  const p = await place();
  const wide = pacts('fields = { level = choice { "low", "high" }, size = integer {}, tags = list { of = text {} } }', { records: 'extra = { fields = { a = text {} } }',
    more: `["pacts.extra"] = { access = { "administrator" }, writes = true, run = function() store.put("extra", { data = { a = "b" }, audience = { "role:administrator" } }) return {} end },` });
  await deploy(p, wide);
  await p.call('pacts.put', { id: 'a', data: { level: 'low', size: 3, tags: ['long', 'x'] } });
  await p.call('pacts.put', { id: 'b', data: { level: 'high', size: 30 } });
  await p.call('pacts.put', { id: 'c', data: {} });
  await p.call('pacts.extra');
  await p.call('pacts.extra');
  const narrow = pacts('fields = { level = choice { "low", "middle", default = "middle" }, size = integer { max = 10 }, tags = list { of = text { max = 2 } }, who = text { required = true } }');
  const error = await refused(deploy(p, narrow), -32004);
  assert.deepEqual(changes_of(error).sort(), [
    ['extra', 'dropped_type', undefined, 2],
    ['pact', 'missing', 'who', 3],
    ['pact', 'narrowed', 'level', 1],
    ['pact', 'narrowed', 'size', 1],
    ['pact', 'narrowed', 'tags[]', 1]]);
  assert.equal(error.data.changes.find((c) => c.field === 'size').example, 'b');
  assert.equal((await p.call('record.get', { type: 'pact', id: 'b' })).data.size, 30);
  const done = await deploy(p, narrow, { confirm: true });
  assert.equal(done.changes.length, 5);
  assert.deepEqual((await p.call('record.get', { type: 'pact', id: 'a' })).data, { level: 'low', size: 3, tags: ['x'] });
  assert.deepEqual((await p.call('record.get', { type: 'pact', id: 'b' })).data, { level: 'middle' });
  // What nobody declares is kept and seen by nobody, until it is declared again.
  assert.deepEqual((await p.call('plugin.list')).kept, [{ type: 'extra', records: 2 }]);
  await refused(p.call('record.list', { type: 'extra' }), -32602);
  await deploy(p, wide, { confirm: true });
  assert.deepEqual((await p.call('plugin.list')).kept, []);
  assert.equal((await p.call('record.list', { type: 'extra' })).items.length, 2);
});

world.test('a field becomes sealed in what is stored, never ceases to be, and is dropped only with a yes', { timeout: 60000 * slow }, async () => {
  const p = await place();
  const clear = 'fields = { who = ref "person", secret = text {} }, about = "who"';
  await deploy(p, pacts(clear));
  await p.call('pacts.put', { id: 'a', data: { who: 'p1', secret: 'nobody knows' } });
  await deploy(p, pacts(`${clear}, sealed = { "secret" }`));
  const { items } = await p.call('record.list', { type: 'pact' });
  assert.deepEqual(items[0].data, { who: 'p1', secret: { sealed: true } });
  assert.equal((await p.call('record.get', { type: 'pact', id: 'a', why: 'test' })).data.secret, 'nobody knows');
  const open = await refused(deploy(p, pacts(clear), { confirm: true }), -32006);
  assert.match(open.data.errors[0].message, /'secret' is sealed/);
  const renamed = await refused(deploy(p, pacts(`version = 2, upgrade = { [2] = { rename = { secret = "hidden" } } },
    fields = { who = ref "person", hidden = text {} }, about = "who", sealed = { "hidden" }`)), -32006);
  assert.match(renamed.data.errors[0].message, /sealed/);
  const without = pacts('fields = { who = ref "person" }');
  const error = await refused(deploy(p, without), -32004);
  assert.deepEqual(changes_of(error), [['pact', 'dropped_sealed', 'secret', 1]]);
  await deploy(p, without, { confirm: true });
  assert.deepEqual((await p.call('record.get', { type: 'pact', id: 'a' })).data, { who: 'p1' });
});

world.test('a unique index that stored records break is refused, with two of them named, and nothing has changed', { timeout: 60000 * slow }, async () => {
  const p = await place();
  await deploy(p, OLD);
  await p.call('pacts.put', { id: 'anna', data: { old: 'same' } });
  await p.call('pacts.put', { id: 'olim', data: { old: 'same' } });
  const unique = OLD.replace('fields = { "old" } }', 'fields = { "old" }, unique = true }');
  const error = await refused(deploy(p, unique), -32006);
  assert.match(error.data.errors[0].message, /by_old.*anna and olim|by_old.*olim and anna/);
  assert.equal((await p.call('record.list', { type: 'pact', index: 'by_old', equals: 'same' })).items.length, 2);
  assert.equal((await p.call('plugin.history', { kind: 'service', id: 'pacts' })).items.length, 1);
  await p.call('pacts.bump', { id: 'anna' });
  // And the other way round there is nothing to lose.
  await p.call('pacts.put', { id: 'wali', data: { old: 'other' } });
  await deploy(p, OLD.replace('{ "old" }', '{ "n" }'));
  assert.equal((await p.call('record.list', { type: 'pact', index: 'by_old', equals: 1 })).items.length, 1);
});

world.test('going back behind an upgrade asks first, then fits records to the older version, and forward again upgrades them once more', { timeout: 60000 * slow }, async () => {
  const p = await place();
  await deploy(p, OLD);
  await p.call('pacts.fill', { from: 0, count: 10, data: { old: 'word', n: 5 } });
  await deploy(p, NEW);
  const back = { kind: 'service', id: 'pacts' };
  const error = await refused(p.call('plugin.rollback', back), -32004);
  assert.deepEqual(changes_of(error).sort(), [
    ['pact', 'dropped_field', 'new', 10], ['pact', 'dropped_field', 'times', 10], ['pact', 'dropped_field', 'y', 10]]);
  assert.deepEqual(await p.call('pacts.forms'), { [NEW_FORM]: 10 });
  await p.call('plugin.rollback', { ...back, confirm: true });
  assert.deepEqual(await p.call('pacts.forms'), { n: 10 });
  await p.call('pacts.put', { id: 'later', data: { old: 'again', n: 1 } });
  await deploy(p, NEW);
  assert.deepEqual((await p.call('record.get', { type: 'pact', id: 'later' })).data, { new: 'again', times: 1, y: 1 });
  // An older version that can read what is stored comes back without a question.
  await deploy(p, NEW.replace('fields = { new = text {}', 'fields = { more = text {}, new = text {}'));
  await p.call('plugin.rollback', back);
  assert.equal((await p.call('record.get', { type: 'pact', id: 'later' })).data.new, 'again');
});

world.test('the command asks in words, and goes on with --confirm', { timeout: 60000 * slow }, async () => {
  const p = await place();
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-reshape-'));
  const file = path.join(dir, 'services', 'pacts.lua');
  mkdirSync(path.dirname(file));
  await deploy(p, OLD);
  await p.call('pacts.fill', { from: 0, count: 5, data: { old: 'word', x: 1, n: 0 } });
  writeFileSync(file, NEW);
  const where = ['--data', world.server.data, '--institution', p.id];
  const asked = await run(['plugin', 'push', file, ...where]);
  assert.equal(asked.code, 1);
  assert.match(asked.stderr, /5 records of type “pact” have a value in the field “x”, which is taken away/);
  assert.match(asked.stderr, /--confirm/);
  assert.deepEqual(await p.call('pacts.forms'), { [OLD_FORM]: 5 });
  const done = await run(['plugin', 'push', '--confirm', file, ...where]);
  assert.equal(done.code, 0, done.stderr);
  assert.match(done.stderr + done.stdout, /have a value in the field “x”/);
  assert.deepEqual(await p.call('pacts.forms'), { [NEW_FORM]: 5 });
  rmSync(dir, { recursive: true });
});

world.test('a server killed in the middle of a change has one form or the other, with the version that goes with it, and loses nothing', { timeout: 400000 * slow }, async () => {
  const p = await place();
  const { server } = world;
  const COUNT = 1200;
  await deploy(p, OLD);
  for (let i = 0; i < COUNT; i += 400) await p.call('pacts.fill', { from: i, count: 400, data: { old: 'word', n: 0 } });
  const forms = [OLD_FORM.replace(' x', ''), NEW_FORM];
  const outcomes = new Set();
  let acknowledged = 0;
  let form = 0;
  for (let round = 0; round < 8; round++) {
    let going = true;
    const writer = async () => {
      for (let i = 0; going; i++) {
        try {
          await p.call('pacts.bump', { id: `p${String(i % COUNT).padStart(5, '0')}` });
          acknowledged++;
        } catch {
          return;
        }
      }
    };
    const load = [writer(), writer()];
    // From the new form back there is a declared way, too, so that each round has work to do.
    const back = OLD.replace('fields = { old', `version = ${round + 3}, upgrade = { [${round + 3}] = { rename = { new = "old", times = "n" }, drop = { "y" } } }, fields = { old`);
    const forth = NEW.replace('version = 2, upgrade = { [2]', `version = ${round + 3}, upgrade = { [${round + 3}]`);
    const deployed = deploy(p, form ? back : forth, { confirm: true });
    deployed.catch(() => {});
    await sleep((20 + round * 45) * slow);
    await server.kill();
    going = false;
    await Promise.all(load);
    await server.serve();
    const found = await p.call('pacts.forms');
    assert.equal(Object.keys(found).length, 1, JSON.stringify(found));
    const now = forms.indexOf(Object.keys(found)[0]);
    assert.equal(found[forms[now]], COUNT);
    outcomes.add(now === form ? 'before' : 'after');
    form = now;
    // The version in force is the one that reads it: its own field is there.
    await p.call('pacts.bump', { id: 'p00000' });
    acknowledged++;
    const { items } = await p.call('record.list', { type: 'pact', index: form ? 'by_new' : 'by_old', equals: 'word', limit: 500 });
    assert.equal(items.length, 500);
  }
  let sum = 0;
  for (let cursor; cursor !== null;) {
    const page = await p.call('record.list', { type: 'pact', limit: 500, ...(cursor && { cursor }) });
    for (const r of page.items) sum += form ? r.data.times : r.data.n;
    cursor = page.cursor;
  }
  assert.ok(sum >= acknowledged, `${sum} of ${acknowledged} bumps that were acknowledged`);
  console.log(`# killed ${[...outcomes].join(' and ')} the change; ${acknowledged} writes acknowledged, ${sum} there`);
  await server.kill();
  const verified = await run(['verify', '--data', server.data]);
  assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  await server.serve();
});

world.test('what plugins/guide/records.md says of changing a record type is so', { timeout: 60000 * slow }, async () => {
  const p = await place();
  const text = readFileSync(new URL('../../plugins/guide/records.md', import.meta.url), 'utf8');
  const section = text;
  const [before, after] = [...section.matchAll(/```lua[^\n]*\n(.*?)```/gs)].map((m) => m[1]);
  const put = `methods = { ["club.put"] = { access = { "administrator" }, writes = true, params = { data = any {} },
    run = function(ctx, p) store.put("club", { id = "chess", data = p.data, audience = { "role:administrator" } }) return {} end } }, records`;
  const club = (source) => p.call('plugin.deploy', { kind: 'service', id: 'club', source });
  await club(before.replace('records', put));
  await p.call('club.put', { data: { title: 'Chess', room: 'B12', seats: 8 } });
  const error = await refused(club(after), -32004);
  assert.deepEqual(changes_of(error), [['club', 'dropped_field', 'seats', 1]]);
  await p.call('plugin.deploy', { kind: 'service', id: 'club', source: after, confirm: true });
  assert.deepEqual((await p.call('record.get', { type: 'club', id: 'chess' })).data, { name: 'Chess', kind: 'sport', building: 'B', number: '12' });
  for (const what of ['dropped_field', 'dropped_sealed', 'narrowed', 'missing', 'dropped_type']) assert.match(section, new RegExp(`\`${what}\``));
});

// One worker: what stands behind a slow call there begins after the change, and would read the new form by the old rules.
const narrow = serve_for(test, { settings: 'return { workers_max = 1 }\n' }, async (server) => ({ server }));
narrow.test('no call that was sent to an old worker answers from records of the new form, and none is lost', { timeout: 120000 * slow }, async () => {
  const p = await narrow.server.institution('narrow');
  const more = (field) => `
    ["pacts.word"] = { access = { "administrator" }, run = function() return { word = store.get("pact", "p00001").data.${field} } end },
    ["pacts.slow"] = { access = { "administrator" }, run = function() for i = 1, 2000000 do local _ = i * i end return {} end },`;
  await deploy(p, OLD.replace('methods = {', `methods = {${more('old')}`));
  await p.call('pacts.fill', { from: 0, count: 300, data: { old: 'word', n: 0 } });
  let going = true;
  let asked = 0;
  const slows = async () => {
    while (going) await p.call('pacts.slow');
  };
  const words = async () => {
    while (going) {
      const all = await Promise.all(Array.from({ length: 10 }, () => p.call('pacts.word')));
      assert.deepEqual([...new Set(all.map((a) => a.word))], ['word']);
      asked += all.length;
    }
  };
  const load = [slows(), slows(), words(), words(), words()];
  while (asked < 30) await sleep(5);
  for (let version = 2; version < 8; version++) {
    const [from, to] = version % 2 ? ['new', 'old'] : ['old', 'new'];
    await deploy(p, pacts(`version = ${version}, upgrade = { [${version}] = { rename = { ${from} = "${to}" } } },
      fields = { ${to} = text {}, x = integer {}, n = integer { default = 0 } }`, { more: more(to) }));
    const until = asked + 30;
    while (asked < until) await sleep(5);
  }
  going = false;
  await Promise.all(load);
});
