// Plugins in three layers and as versions: what lies over what, who follows the cluster, history, differences, going back, a
// whole layer at once, and what is looked at before a version serves.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { bin, refused, RpcError, Server, serve_for, slow, sleep } from './harness.mjs';
import { says, says_more, shipped_copy, workers } from './layers.mjs';

const shipped = shipped_copy();
shipped.write('services/layered.lua', says('layered', 'shipped'));
test.after(() => shipped.drop());

const world = serve_for(test, { args: ['--plugins', shipped.dir] }, async (server) => {
  const [north, south, east] = [await server.institution('north'), await server.institution('south'), await server.institution('east')];
  const cluster = {
    call: (method, params) => server.call(method, params, { institution: 'cluster' }),
    deploy: (kind, id, source, more) => server.call('plugin.deploy', { kind, id, source, note: 'for all', ...more }, { institution: 'cluster' }),
  };
  return { north, south, east, cluster };
});
const active = async (place, id) => (await place.call('plugin.list')).items.find((p) => p.id === id);
async function eventually(check, what) {
  for (let i = 0; i < 400; i++) {
    if (await check().catch(() => false)) return;
    await sleep(25);
  }
  assert.fail(`never: ${what}`);
}

// ---- layers -----------------------------------------------------------------------------------------

world.test('inherit goes through all three layers, and each institution sees its own', async () => {
  const { north, south, cluster } = world;
  assert.equal(await north.call('layered.say'), 'shipped');
  const result = await cluster.deploy('service', 'layered', says_more('layered', 'cluster'));
  assert.deepEqual(result.institutions.followed.sort(), ['east', 'north', 'south']);
  assert.deepEqual([result.institutions.kept, result.institutions.pending], [[], []]);
  await north.deploy('service', 'layered', says_more('layered', 'north'));
  assert.equal(await north.call('layered.say'), 'shipped, cluster, north');
  assert.equal(await south.call('layered.say'), 'shipped, cluster');
  assert.equal(await cluster.call('layered.say'), 'shipped, cluster');
  assert.equal((await active(south, 'layered')).layer, 'cluster');
  assert.equal((await active(north, 'layered')).layer, 'institution');
  await north.call('plugin.rollback', { kind: 'service', id: 'layered' });
  assert.equal(await north.call('layered.say'), 'shipped, cluster');
});

world.test('an institution that is made later begins with the layer of the cluster', async () => {
  const west = await world.server.institution('west');
  assert.equal(await west.call('layered.say'), 'shipped, cluster');
});

world.test('a source that is refused in the cluster reaches nobody', async () => {
  const { south, cluster } = world;
  const error = await refused(cluster.deploy('service', 'layered', 'return service { id = "layered", methods = 1 }'), -32006);
  assert.match(error.data.errors[0].message, /methods/);
  const failing = says('layered', 'x', 'tests = { ["never"] = function(t) t:equal(1, 2) end }');
  await refused(cluster.deploy('service', 'layered', failing), -32006);
  assert.equal(await south.call('layered.say'), 'shipped, cluster');
});

world.test('who has plugins that do not load on the new layer keeps the old one, says why, and follows once it is mended', async () => {
  const { north, south, cluster, server } = world;
  const own = `local base = inherit()\nbase.methods["layered.say"].summary = base.methods["layered.say"].summary .. "!"\nreturn base\n`;
  await north.deploy('service', 'layered', own);
  await north.account('root', ['administrator']);
  const root = await north.client('root');
  const without = says('layered', 'new').replace('summary = "says a word", ', '');
  const result = await cluster.deploy('service', 'layered', without);
  assert.deepEqual(result.institutions.kept.map((k) => k.institution), ['north']);
  assert.match(result.institutions.kept[0].errors[0].message, /summary/);
  assert.equal(result.institutions.kept[0].errors[0].layer, 'institution');
  assert.equal(result.institutions.kept[0].errors[0].line, 2);
  assert.ok(result.institutions.followed.includes('south'));
  assert.deepEqual([await north.call('layered.say'), await south.call('layered.say')], ['shipped, cluster', 'new']);
  const told = await root.wait_for('word of it', (m) => m.method === 'plugin.kept');
  assert.match(told.params.errors[0].message, /summary/);
  assert.match((await north.call('plugin.list')).behind[0].message, /summary/);
  assert.ok((await north.call('audit.list')).items.some((a) => /not taken over/.test(a.data.why)), 'an entry in the audit');
  root.close();
  // Not even a start of the server takes it from what it had.
  await server.kill();
  await server.serve();
  await eventually(async () => (await north.call('plugin.list')).behind, 'the server has tried again');
  assert.equal(await north.call('layered.say'), 'shipped, cluster');
  await north.deploy('service', 'layered', says_more('layered', 'north'));
  await eventually(async () => (await north.call('layered.say')) === 'new, north', 'north follows');
  assert.equal((await north.call('plugin.list')).behind, undefined);
  await cluster.call('plugin.rollback', { kind: 'service', id: 'layered', version: 'shipped' });
  await eventually(async () => (await north.call('layered.say')) === 'shipped, north', 'the cluster has gone back');
  await north.call('plugin.rollback', { kind: 'service', id: 'layered', version: 'shipped' });
});

world.test('a server that dies between the cluster and its institutions finishes the way at its next start', async () => {
  const { south, cluster, server } = world;
  const deployed = cluster.deploy('service', 'later', says('later', 'there'));
  deployed.catch(() => {});
  await eventually(async () => (await cluster.call('plugin.history', { kind: 'service', id: 'later' })).items.length === 1, 'it is committed');
  await server.kill();
  await server.serve();
  await eventually(async () => (await south.call('later.say')) === 'there', 'south has it');
});

world.test('a deploy that comes while the institution follows the cluster waits its turn', async () => {
  const { south, cluster } = world;
  const both = await Promise.all([cluster.deploy('service', 'later', says('later', 'again')), (async () => {
    await eventually(async () => (await cluster.call('later.say')) === 'again', 'the cluster has it');
    for (let i = 0; i < 5; i++) await south.deploy('service', 'meanwhile', says('meanwhile', `${i}`));
  })()]);
  assert.deepEqual(both[0].institutions.kept, []);
  await eventually(async () => (await south.call('later.say')) === 'again', 'south follows');
  assert.equal(await south.call('meanwhile.say'), '4');
});

// ---- versions ---------------------------------------------------------------------------------------

world.test('every version is kept with source, hash, author, time and note', async () => {
  const { east, server } = world;
  await east.account('author', ['administrator'], 'person-author');
  const author = await east.client('author');
  const ids = [];
  for (const word of ['one', 'two', 'three']) {
    const at = { kind: 'service', id: 'words', source: says('words', word), note: `says ${word}` };
    ids.push((await author.call('plugin.deploy', at)).version);
  }
  const { items } = await author.call('plugin.history', { kind: 'service', id: 'words' });
  assert.deepEqual(items.map((i) => [i.version, i.note, i.active, i.state]), [
    [ids[2], 'says three', true, 'good'], [ids[1], 'says two', false, 'good'], [ids[0], 'says one', false, 'good']]);
  for (const item of items) {
    assert.match(item.by, /author/);
    assert.ok(Math.abs(item.time - Date.now()) < 600000 * slow);
  }
  const first = await author.call('plugin.get', { kind: 'service', id: 'words', version: ids[0] });
  assert.equal(first.source, says('words', 'one'));
  assert.equal(first.hash, items[2].hash);
  assert.equal(first.hash.slice(0, 12).length, 12);
  assert.equal((await active(east, 'words')).version, items[0].hash.slice(0, 12));
  await refused(author.call('plugin.get', { kind: 'service', id: 'layered', version: ids[0] }), -32003);
  const below = await author.call('plugin.get', { kind: 'service', id: 'layered', layer: 'shipped' });
  assert.deepEqual([below.layer, below.source], ['shipped', says('layered', 'shipped')]);
  await refused(author.call('plugin.get', { kind: 'service', id: 'words', layer: 'shipped' }), -32003);
  Object.assign(world, { author, ids });
  assert.ok(server);
});

world.test('a difference is told line by line: of versions, of layers, of a source', async () => {
  const { author, ids } = world;
  const at = { kind: 'service', id: 'words' };
  const last = await author.call('plugin.diff', at);
  assert.deepEqual([last.from, last.to], [ids[1], ids[2]]);
  const changed = (diff) => diff.hunks.flatMap((h) => h.lines).filter((l) => l.op !== ' ').map((l) => l.op + /return "(\w+)"/.exec(l.text)?.[1]);
  assert.deepEqual(changed(last), ['-two', '+three']);
  assert.deepEqual([last.hunks[0].from, last.hunks[0].from_count, last.hunks[0].lines.length], [1, 6, 7]);
  assert.deepEqual(changed(await author.call('plugin.diff', { ...at, from: ids[2], to: ids[0] })), ['-three', '+one']);
  assert.deepEqual(changed(await author.call('plugin.diff', { ...at, source: says('words', 'four') })), ['-three', '+four']);
  assert.deepEqual((await author.call('plugin.diff', { ...at, from: ids[0], to: ids[0] })).hunks, []);
  const fresh = await author.call('plugin.diff', { ...at, to: ids[0] });
  assert.ok(fresh.hunks[0].lines.every((l) => l.op === '+'), 'the first version is all new');
  await author.call('plugin.deploy', { kind: 'service', id: 'layered', source: says('layered', 'mine') });
  assert.deepEqual(changed(await author.call('plugin.diff', { kind: 'service', id: 'layered', from: 'shipped' })), ['-shipped', '+mine']);
  await refused(author.call('plugin.diff', { ...at, from: ids[0].replace(/./g, 'a') }), -32003);
  await author.call('plugin.rollback', { kind: 'service', id: 'layered' });
});

world.test('going back takes any version or the layer below; a deploy that expects another version is refused', async () => {
  const { author, east, ids } = world;
  const at = { kind: 'service', id: 'words' };
  await author.call('plugin.rollback', { ...at, version: ids[0] });
  assert.equal(await east.call('words.say'), 'one');
  const late = await refused(author.call('plugin.deploy', { ...at, source: says('words', 'late'), expects: ids[2] }), -32004);
  assert.deepEqual([late.data.reason, late.data.active], ['changed', ids[0]]);
  await author.call('plugin.deploy', { ...at, source: says('words', 'right'), expects: ids[0] });
  assert.equal(await east.call('words.say'), 'right');
  await author.call('plugin.rollback', { ...at, version: 'shipped' });
  await refused(east.call('words.say'), -32601);
  await author.call('plugin.rollback', { ...at, version: ids[1] });
  assert.equal(await east.call('words.say'), 'two');
  await refused(author.call('plugin.rollback', { ...at, version: 'none' }), -32003);
});

// ---- a whole layer ----------------------------------------------------------------------------------

world.test('a layer is taken in whole or not at all, by one trial and one commit', async () => {
  const { author, east } = world;
  const item = (id, source) => ({ kind: 'service', id, source });
  const before = await author.call('plugin.export');
  assert.deepEqual(before.items.map((i) => i.id), ['words']);
  const broken = await refused(author.call('plugin.import', { items: [item('a1', says('a1', 'x')), item('a2', 'return nonsense')] }), -32006);
  assert.match(broken.data.errors[0].file, /a2/);
  await refused(author.call('plugin.import', { items: [item('a1', says('a1', 'x')), item('a1', says('a1', 'y'))] }), -32602);
  assert.deepEqual((await author.call('plugin.export')).items, before.items);
  // The two need each other's names: neither could come alone with the third.
  const list = [item('a1', says('a1', 'x')), item('a2', says('a2', 'y')), item('words', before.items[0].source)];
  const done = await author.call('plugin.import', { items: list, note: 'from git' });
  assert.deepEqual(done.changed.map((c) => c.id), ['a1', 'a2']);
  assert.equal(done.unchanged, 1);
  const records = await author.call('record.list', { type: 'plugin' });
  const commits = new Set(records.items.filter((r) => /a[12]$/.test(r.id)).map((r) => r.data.time));
  assert.equal(commits.size, 1, 'both came with one commit');
  const removed = await author.call('plugin.import', { items: [item('a2', says('a2', 'z'))], remove: true });
  assert.deepEqual([removed.changed.map((c) => c.id), removed.removed.map((c) => c.id).sort()], [['a2'], ['a1', 'words']]);
  assert.equal(await east.call('a2.say'), 'z');
  await refused(east.call('a1.say'), -32601);
  assert.deepEqual(await author.call('plugin.import', { items: [item('a2', says('a2', 'z'))] }), { ok: true, changed: [], removed: [], unchanged: 1 });
});

world.test('the command line writes a layer as a folder, shows what an import would change, and asks', { timeout: 120000 * slow }, async () => {
  const { server, east } = world;
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-layer-'));
  const run = (...words) => new Promise((resolve) => {
    execFile(bin, ['plugin', ...words, '--data', server.data, '--institution', 'east'], (error, out, err) => resolve({ code: error?.code ?? 0, out, err })).stdin.end();
  });
  try {
    assert.match((await run('export', dir)).out, /1 plugin, 1 file written/);
    assert.equal(readFileSync(path.join(dir, 'services/a2.lua'), 'utf8'), says('a2', 'z'));
    assert.match((await run('import', dir)).out, /0 to change, 1 as they are/);
    writeFileSync(path.join(dir, 'services/a3.lua'), says('a3', 'third'));
    writeFileSync(path.join(dir, 'services/a2.lua'), says('a2', 'second'));
    const shown = await run('import', dir);
    assert.equal(shown.code, 1);
    assert.match(shown.out, /changed +service a2[^]*new +service a3|new +service a3[^]*changed +service a2/);
    assert.match(shown.err, /--yes/);
    assert.equal(await east.call('a2.say'), 'z');
    assert.equal((await run('import', dir, '--yes', '--note', 'by hand')).code, 0);
    assert.deepEqual([await east.call('a2.say'), await east.call('a3.say')], ['second', 'third']);
    rmSync(path.join(dir, 'services/a3.lua'));
    assert.match((await run('import', dir, '--remove', '--yes')).out, /removed +service a3/);
    await refused(east.call('a3.say'), -32601);
    writeFileSync(path.join(dir, 'services/stranger.lua'), says('stranger', 'x'));
    assert.match((await run('export', dir)).out, /not in the layer: .*stranger[^]*--remove/);
    await run('export', dir, '--remove');
    assert.ok(!existsSync(path.join(dir, 'services/stranger.lua')));
    // What was written serves as a watched folder as well.
    const watching = await Server.start({ args: ['--watch', dir] });
    try {
      const place = await watching.institution('desk');
      await eventually(async () => (await place.call('a2.say')) === 'second', 'the folder serves');
    } finally {
      await watching.stop();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

// ---- before a version serves ------------------------------------------------------------------------

world.test('all faults of a declaration are told at once, each with its path and its line', async () => {
  const source = `return service {
  id = "faulty",
  recrods = {},
  records = {
    thing = { key = "natural", fields = { name = text {} },
      indexes = { by_size = { fields = { "size" } } } },
  },
  methods = {
    ["faulty.one"] = { access = "nobody", run = function() end },
    ["faulty.two"] = { access = "signed_in" },
  },
  on = { ["thing.broken"] = function() end },
}
`;
  const error = await refused(world.east.deploy('service', 'faulty', source), -32006);
  const told = error.data.errors.map((e) => [e.path, e.line]).sort((a, b) => a[1] - b[1]);
  assert.deepEqual(told, [
    ['recrods', 3], ['records.thing.indexes.by_size.fields[1]', 6], ['methods.faulty.one.access', 9], ['methods.faulty.two.run', 10],
    ['on.thing.broken', 12]]);
  assert.ok(error.data.errors.every((e) => e.kind === 'service' && e.id === 'faulty' && e.layer === 'institution' && /faulty/.test(e.file)));
  const rule = `return matcher { id = "bad-rule", title = { en = "x" }, form = "successful-unsuccessful",
  mentor = { wher = {} },
  prefer = { equal("faculty", { points = 10 }) },
  keep = { points = "many" },
}`;
  const bad = await refused(world.east.deploy('matcher', 'bad-rule', rule), -32006);
  assert.deepEqual(bad.data.errors.map((e) => [e.path, e.line]), [['keep.points', 4], ['mentor.wher', 2], ['prefer', 3]]);
});

const things = (fields, word = 'a') => `
return service {
  id = "things",
  records = { thing = { key = "uuid", fields = { ${fields} } }, other = { key = "uuid", fields = { n = integer {} } } },
  methods = {
    ["things.fill"] = { access = { "administrator" }, writes = true, params = { data = any { required = true }, count = integer { default = 1 } },
      run = function(ctx, p)
        for i = 1, p.count do store.put("thing", { data = p.data, audience = { "role:administrator" } }) end
        return {}
      end },
    ["things.say"] = { access = "signed_in", run = function() return "${word}" end },
  },
}
`;

world.test('stored records that do not fit the new declaration keep it out, by type and number, unless that is confirmed', { timeout: 120000 * slow }, async () => {
  const { east } = world;
  await east.deploy('service', 'things', things('name = text {}, size = integer {}'));
  await east.call('things.fill', { data: { size: 3 }, count: 2 });
  for (let i = 0; i < 4; i++) await east.call('things.fill', { data: { name: 'n' }, count: 1500 });
  const narrower = things('name = text { required = true }, size = integer { max = 2 }', 'b');
  const error = await refused(east.deploy('service', 'things', narrower), -32004);
  assert.equal(error.data.reason, 'lossy');
  assert.deepEqual(error.data.changes.map((c) => [c.type, c.what, c.field, c.records]).sort(), [['thing', 'missing', 'name', 2], ['thing', 'narrowed', 'size', 2]]);
  assert.equal(await east.call('things.say'), 'a');
  assert.equal((await east.call('plugin.history', { kind: 'service', id: 'things' })).items.length, 1);
  const checked = await east.call('plugin.check', { kind: 'service', id: 'things', source: narrower });
  assert.equal(checked.changes.length, 2);
  await east.call('plugin.deploy', { kind: 'service', id: 'things', source: narrower, confirm: true });
  assert.equal(await east.call('things.say'), 'b');
  // What fits is no trouble, and nor is a deploy that changes no shape; a change of shape asks about what is still missing.
  await east.deploy('service', 'things', things('name = text { required = true }, size = integer { max = 2 }', 'c'));
  await east.deploy('service', 'things', things('name = text {}, size = integer {}, more = text {}', 'd'));
  assert.equal(await east.call('things.say'), 'd');
});

world.test('records of an institution that do not fit keep it from following the cluster', async () => {
  const { south, east, cluster } = world;
  const shared = (fields, word) => things(fields, word).replaceAll('thing', 'item').replace('other =', 'item_other =');
  await cluster.deploy('service', 'items', shared('name = text {}', 'a'));
  await south.call('items.fill', { data: {} });
  const result = await cluster.deploy('service', 'items', shared('name = text { required = true }', 'b'));
  assert.deepEqual(result.institutions.kept.map((k) => k.institution), ['south']);
  assert.deepEqual(result.institutions.kept[0].errors[0].changes.map((c) => [c.type, c.what, c.records]), [['item', 'missing', 1]]);
  assert.deepEqual([await south.call('items.say'), await east.call('items.say')], ['a', 'b']);
});

// ---- whatever goes wrong ----------------------------------------------------------------------------

world.test('a server that is killed in the middle of a deploy has the old version or the new one, in the store as in force', { timeout: 240000 * slow }, async () => {
  const { east, server } = world;
  const ask = () => Promise.all([east.call('plugin.history', { kind: 'service', id: 'steps' }), east.call('steps.say')]);
  await east.deploy('service', 'steps', says('steps', 'v0'));
  let [last, kept] = ['v0', 0];
  for (let i = 1; i <= 5; i++) {
    east.deploy('service', 'steps', says('steps', `v${i}`), `v${i}`).catch(() => {});
    await sleep(i * 40);
    await server.kill();
    await server.serve();
    const [history, word] = await ask();
    const now = history.items.find((v) => v.active);
    assert.ok(word === last || word === `v${i}`, `${word} is neither ${last} nor v${i}`);
    assert.equal(history.items.filter((v) => v.active).length, 1);
    assert.equal(now.note === 'test' ? 'v0' : now.note, word);
    assert.equal(now.hash.slice(0, 12), (await active(east, 'steps')).version);
    kept += word === last;
    last = word;
  }
  console.log(`  ${kept} of 5 kept the version before`);
});

world.test('a trial whose worker is killed changes nothing, or has been committed', { timeout: 240000 * slow }, async () => {
  const { east, server } = world;
  const known = new Set(workers(server.pid, 'east'));
  let [refusals, word] = [0, await east.call('steps.say')];
  for (let i = 1; i <= 8; i++) {
    const deployed = east.deploy('service', 'steps', says('steps', `w${i}`, 'tests = { ["a while"] = function(t) for i = 1, 300000 do end end }')).then(() => true, (error) => {
      if (!(error instanceof RpcError)) throw error;
      return false;
    });
    await sleep(i * 6 * slow);
    for (const pid of workers(server.pid, 'east')) if (!known.has(pid)) try { process.kill(pid, 'SIGKILL'); } catch {}
    const done = await deployed;
    word = done ? `w${i}` : word;
    refusals += !done;
    assert.equal(await east.call('steps.say'), word);
    for (const pid of workers(server.pid, 'east')) known.add(pid);
  }
  assert.ok(refusals > 0, 'no trial was hit');
});
