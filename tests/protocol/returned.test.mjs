// Plugins that fail on live calls are taken back while they are fresh, and marked when they are not; plugins that no longer load
// are left out. Time is moved by hand, so that a window passes when a test says so.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for, sleep, slow } from './harness.mjs';
import { exposition, value } from './exposition.mjs';
import { says, says_more, shipped_copy, workers } from './layers.mjs';

const shipped = shipped_copy();
shipped.write('services/ground.lua', says('ground', 'ground'));
test.after(() => shipped.drop());

const settings = 'return { clock = "manual", plugin_return_window_ms = 60000, plugin_return_failures = 4, plugin_return_ratio = 50, cpu_ms = 200, deadline_ms = 1500, memory_bytes = 16777216 }\n';
const world = serve_for(test, { settings, args: ['--plugins', shipped.dir] }, async (server) => {
  const [here, there] = [await server.institution('here'), await server.institution('there')];
  await here.account('root', ['administrator']);
  await here.account('someone', ['student'], 'someone');
  const root = await here.client('root');
  const cluster = {
    call: (method, params) => server.call(method, params, { institution: 'cluster' }),
    deploy: (kind, id, source) => server.call('plugin.deploy', { kind, id, source }, { institution: 'cluster' }),
  };
  return { here, there, root, cluster };
});
async function eventually(check, what) {
  for (let i = 0; i < 400; i++) {
    if (await check()) return;
    await sleep(25);
  }
  assert.fail(`never: ${what}`);
}
async function restart(server) {
  server.control.close();
  server.child.kill('SIGTERM');
  await server.exited;
  await server.serve();
}
const advance = (ms) => world.server.call('clock.advance', { ms });
const counter = async (name) => value(exposition(await world.server.metrics()), name, {}) ?? 0;
const at = (id) => ({ kind: 'service', id });
const state = async (id, place = world.here) => (await place.call('plugin.list')).items.find((p) => p.id === id)?.state;
const history = async (id, place = world.here) => (await place.call('plugin.history', at(id))).items;

// A service that works when it is asked for ok, and otherwise goes wrong in the way that is asked for.
const risky = (id, word) => `
return service {
  id = "${id}",
  methods = {
    ["${id}.say"] = { access = "signed_in", params = { how = text {} }, run = function(ctx, p)
      if p.how == "error" then error("it went wrong") end
      if p.how == "nil" then local t = nil return t.x end
      if p.how == "loop" then while true do end end
      if p.how == "memory" then local t = {} while true do t[#t + 1] = ("x"):rep(2000000) .. #t end end
      if p.how == "conflict" then ctx:refuse("no") end
      if p.how == "forbidden" then ctx:require("administrator", "coach") end
      return "${word}"
    end },
    ["${id}.other"] = { access = "signed_in", run = function(ctx) return "${word}" end },
  },
}
`;
async function calls(method, params, count, place = world.here) {
  const outcomes = [];
  for (let i = 0; i < count; i++) outcomes.push(await place.call(method, params).then((r) => r, (error) => error.code));
  return outcomes;
}

world.test('a fresh version that fails on live calls is taken back, and everybody who should know is told', async () => {
  const { here, root, server } = world;
  const good = (await here.deploy('service', 'plain', risky('plain', 'good'))).version;
  await advance(61000);
  const bad = (await here.deploy('service', 'plain', risky('plain', 'bad').replace('if p.how == "error" then', 'if p.how ~= "ok" then'))).version;
  assert.equal(await state('plain'), 'fresh');
  const returned_before = await counter('hamroh_plugins_returned_total');
  assert.deepEqual(await calls('plain.say', {}, 3), [-32006, -32006, -32006]);
  assert.equal(await here.call('plain.say', { how: 'ok' }), 'bad');
  await refused(here.call('plain.say', {}), -32006);
  const notice = await root.wait_for('word of it', (m) => m.method === 'plugin.returned');
  assert.deepEqual([notice.params.kind, notice.params.id, notice.params.from, notice.params.to], ['service', 'plain', bad, good]);
  assert.match(notice.params.reason, /^4 of 5 calls failed, the last in services\/plain\.lua:\d+$/);
  await eventually(async () => (await here.call('plain.say', {})) === 'good', 'the version before serves');
  const versions = await history('plain');
  assert.deepEqual(versions.map((v) => [v.version, v.state, v.active]), [[bad, 'returned', false], [good, 'good', true]]);
  assert.equal(await state('plain'), 'good');
  assert.ok((await here.call('audit.list')).items.some((a) => a.data.id === 'service/plain' && a.data.why.includes(bad) && a.data.who === 'system'));
  assert.equal(await counter('hamroh_plugins_returned_total'), returned_before + 1);
  assert.match(server.log, /"event":"plugin.returned","institution":"here","plugin":"service\/plain"/);
});

world.test('an administrator may deploy it again, and it is taken back again; going back passes over it', async () => {
  const { here } = world;
  const [bad, good] = (await history('plain')).map((v) => v.version);
  const again = (await here.call('plugin.rollback', { ...at('plain'), version: bad })).version;
  assert.equal(again, bad);
  await calls('plain.say', {}, 6);
  assert.equal((await history('plain')).find((v) => v.active).version, bad, 'what an administrator chose by name is not taken back');
  await here.call('plugin.rollback', { ...at('plain'), version: good });
  const { source } = await here.call('plugin.get', { ...at('plain'), version: bad });
  await here.deploy('service', 'plain', source);
  await calls('plain.say', {}, 4);
  await eventually(async () => (await history('plain'))[0].state === 'returned', 'it is taken back again');
  assert.equal((await history('plain')).find((v) => v.active).version, good);
  await here.deploy('service', 'plain', risky('plain', 'newest'));
  await here.call('plugin.rollback', at('plain'));
  assert.equal((await history('plain')).find((v) => v.active).version, good, 'not to one that was taken back');
});

world.test('limits and the hard deadline count, and name plugin and version', async () => {
  const { here, server } = world;
  const last = risky('limits', 'b');
  for (const [how, code] of [['loop', -32007], ['memory', -32008]]) {
    await here.deploy('service', 'limits', risky('limits', 'a'));
    await advance(61000);
    const version = (await here.deploy('service', 'limits', last)).hash.slice(0, 12);
    const error = await refused(here.call('limits.say', { how }), code);
    assert.deepEqual([error.data.plugin, error.data.version], ['limits', version]);
    await calls('limits.say', { how }, 3);
    await eventually(async () => (await history('limits'))[0].state === 'returned', `${how} counts`);
  }
  const version = (await here.deploy('service', 'limits', last)).hash.slice(0, 12);
  await here.call('limits.say', {});
  for (const pid of workers(server.pid, 'here')) process.kill(pid, 'SIGSTOP');
  const late = await refused(here.call('limits.say', {}), -32007);
  assert.deepEqual([late.data.plugin, late.data.version], ['limits', version]);
});

world.test('what is refused is not a failure, nor is what goes wrong in another plugin', async () => {
  const { here } = world;
  await here.deploy('service', 'calm', risky('calm', 'a'));
  await here.deploy('service', 'wild', `return service { id = "wild", methods = { ["wild.say"] = { access = "signed_in", run = function(ctx) error("x") end } } }`);
  await advance(61000);
  const caller = `return service { id = "caller", methods = { ["caller.say"] = { access = "signed_in", run = function(ctx) return ctx:call("wild.say", {}) end } } }`;
  await here.deploy('service', 'caller', caller);
  await here.deploy('service', 'calm', risky('calm', 'b'));
  const someone = await here.client('someone');
  for (let i = 0; i < 6; i++) {
    await refused(here.call('calm.say', { how: 'conflict' }), -32004);
    await refused(someone.call('calm.say', { how: 'forbidden' }), -32002);
    await refused(here.call('calm.say', { none: 1 }), -32602);
    await refused(here.call('caller.say'), -32006);
  }
  someone.close();
  assert.deepEqual([await state('calm'), await state('caller')], ['fresh', 'fresh']);
  assert.equal(await state('wild'), 'failing');
});

world.test('a few failures among many calls take nothing back', async () => {
  const { here } = world;
  await here.deploy('service', 'mostly', risky('mostly', 'a'));
  await calls('mostly.say', {}, 12);
  assert.deepEqual((await calls('mostly.say', { how: 'nil' }, 6)), [-32006, -32006, -32006, -32006, -32006, -32006]);
  assert.equal(await state('mostly'), 'fresh');
  // Calls of methods that do not fail are no excuse.
  await calls('mostly.other', {}, 20);
  await calls('mostly.say', { how: 'error' }, 6);
  await eventually(async () => !(await history('mostly')).some((v) => v.active), 'half of the calls have failed');
  await refused(here.call('mostly.say', {}), -32601); // there was none before
});

world.test('one that is no longer fresh is marked, and the administrators are told once', async () => {
  const { here, root } = world;
  await here.deploy('service', 'old', risky('old', 'a'));
  await advance(61000);
  await calls('old.say', { how: 'error' }, 12);
  assert.equal(await state('old'), 'failing');
  assert.ok((await history('old'))[0].active);
  await root.call('server.info');
  const told = root.notices.filter((m) => m.method === 'plugin.failing' && m.params.id === 'old');
  assert.equal(told.length, 1);
  assert.equal(told[0].params.version, (await history('old'))[0].hash.slice(0, 12));
  await here.deploy('service', 'old', risky('old', 'b'));
  assert.equal(await state('old'), 'fresh');
});

world.test('a server that was started anew goes on watching', async () => {
  const { here, root, server } = world;
  await here.deploy('service', 'watched', risky('watched', 'a'));
  root.close();
  await server.kill();
  await server.serve();
  await here.call('watched.say', {});
  assert.equal(await state('watched'), 'fresh');
  await calls('watched.say', { how: 'error' }, 5);
  await eventually(async () => (await history('watched'))[0].state === 'returned', 'it is taken back');
});

world.test('what the cluster put in force and fails in an institution is taken back in the cluster, for all', async () => {
  const { here, there, cluster } = world;
  await cluster.deploy('service', 'ground', says_more('ground', 'cluster'));
  assert.equal(await there.call('ground.say'), 'ground, cluster');
  await advance(61000);
  await cluster.deploy('service', 'ground', `local base = inherit()\nbase.methods["ground.say"].run = function() error("x") end\nreturn base\n`);
  await refused(here.call('ground.say'), -32006);
  await calls('ground.say', {}, 4, there);
  await eventually(async () => (await history('ground', cluster))[0].state === 'returned', 'the cluster has taken it back');
  for (const place of [here, there])
    await eventually(async () => (await place.call('ground.say').catch(() => '')) === 'ground, cluster', `${place.id} has the one before`);
});

// ---- what no longer loads -----------------------------------------------------------------------------

world.test('an override that no longer loads after an upgrade is left out, and the rest of the institution serves', { timeout: 120000 * slow }, async () => {
  const { here, there, server } = world;
  shipped.write('services/first.lua', says('first', 'first'));
  await restart(server);
  await here.deploy('service', 'first', `local base = inherit()\nbase.methods["first.say"].summary = base.methods["first.say"].summary .. "!"\nreturn base\n`);
  await here.deploy('service', 'second', says('second', 'second'));
  shipped.write('services/first.lua', says('first', 'upgraded').replace('summary = "says a word", ', ''));
  await restart(server);
  await eventually(async () => (await here.call('first.say').catch(() => '')) === 'upgraded', 'the shipped one serves');
  assert.equal(await here.call('second.say'), 'second');
  assert.equal(await there.call('first.say'), 'upgraded');
  const listed = (await here.call('plugin.list')).items.find((p) => p.id === 'first');
  assert.deepEqual([listed.state, listed.layer], ['broken', 'shipped']);
  assert.match(listed.errors[0].message, /summary/);
  assert.equal(listed.errors[0].line, 2);
  assert.match(server.log, /"event":"plugin.broken","institution":"here","plugin":"service\/first","layer":"institution"/);
  await eventually(async () => (await history('first'))[0].state === 'broken', 'its version says so');
  assert.equal((await here.call('audit.list')).items.filter((a) => /no longer loads/.test(a.data.why)).length, 1);
  // Deploys of others go on, and a version that loads mends it.
  await here.deploy('service', 'third', says('third', 'third'));
  assert.equal(await state('first'), 'broken');
  await here.deploy('service', 'first', says_more('first', 'mended'));
  assert.equal(await here.call('first.say'), 'upgraded, mended');
  assert.equal(await state('first'), 'fresh');
});

world.test('a plugin of its own that can no longer stand beside what is shipped is left out, too', { timeout: 120000 * slow }, async () => {
  const { here, server } = world;
  await here.deploy('service', 'mine', says('mine', 'mine').replace('["mine.say"]', '["taken.say"]'));
  shipped.write('services/taken.lua', says('taken', 'shipped'));
  await restart(server);
  await eventually(async () => (await here.call('taken.say').catch(() => '')) === 'shipped', 'the institution serves');
  assert.equal(await state('mine'), 'broken');
  shipped.write('services/taken.lua', null);
  await restart(server);
  await eventually(async () => (await here.call('taken.say').catch(() => '')) === 'mine', 'it is tried anew at the next start');
  assert.equal(await state('mine'), 'fresh');
  assert.ok((await history('mine'))[0].active);
});
