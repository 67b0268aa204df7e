// Presence: who of mine is online, told to who shares a record with me, and to nobody else.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for, sleep, slow } from './harness.mjs';

// A record type whose members an administrator chooses.
const team = `
return service {
  id = "team",
  records = { team = { key = "natural", fields = { word = text {} } } },
  methods = {
    ["team.set"] = { summary = "makes or changes a team", access = { "administrator" }, writes = true,
      params = { id = text { required = true }, members = list { of = text {}, max = 1000 }, word = text {} },
      run = function(ctx, p)
        local members = {}
        for i, person in ipairs(p.members or {}) do members[i] = "person:" .. person end
        local found = store.get("team", p.id)
        if found then
          return store.patch("team", p.id, { word = p.word }, p.members and { members = store.array(members) } or nil)
        end
        return store.put("team", { id = p.id, data = { word = p.word }, members = members, audience = { "team:" .. p.id } })
      end },
    ["team.drop"] = { summary = "deletes a team", access = { "administrator" }, writes = true,
      params = { id = text { required = true } },
      run = function(ctx, p) store.delete("team", p.id) return {} end },
  },
}
`;
const people = ['a', 'b', 'c', 'd'];
const prepare = async (server) => {
  const place = await server.institution('here');
  await place.deploy('service', 'team', team);
  for (const login of people) await place.account(login, ['student'], `p-${login}`);
  await place.call('team.set', { id: 'ab', members: ['p-a', 'p-b'] });
  return { place };
};
const world = serve_for(test, { settings: 'return { presence_grace_ms = 50 }\n' }, prepare);
const patient = serve_for(test, { settings: 'return { presence_grace_ms = 600000 }\n' }, prepare);

const come = async (where, login) => {
  const client = await where.place.client(login);
  await client.open_feed();
  return client;
};
const said = (client) => client.notices.filter((m) => m.method === 'presence.changed').map((m) => [m.params.person, m.params.online]);
const hears = (client, person, online, times = 1) =>
  client.wait_for(`${person} ${online}`, () => said(client).filter(([p, o]) => p === person && o === online).length >= times);
const online = async (client) => (await client.call('presence.list')).online.sort();
// What is told is told in order, so when a later change has come, whatever was to be told before it has come too.
let words = 0;
const settled = async (where, id, ...clients) => {
  const word = `word ${++words}`;
  await where.place.call('team.set', { id, word });
  for (const client of clients) await client.event(word, (e) => e.record?.data.word === word);
};
const leave = async (...clients) => {
  for (const client of clients) {
    client.close();
    await client.closed;
  }
};
// So many are shown as online; 0: nobody is left over from the test before.
const online_count = async (where, count) => {
  for (let i = 0; i < 500 * slow; i++) {
    const text = await (await fetch(`${where.server.http}/metrics`)).text();
    if (new RegExp(`^hamroh_presence_online ${count}$`, 'm').test(text)) return;
    await sleep(20);
  }
  throw new Error(`waited for ${count} to be online`);
};
const alone = (where) => online_count(where, 0);

world.test('who shares a record is told when somebody comes and goes', async () => {
  const a = await come(world, 'a');
  assert.deepEqual(await online(a), []);
  const b = await come(world, 'b');
  await hears(a, 'p-b', true);
  assert.deepEqual(await online(a), ['p-b']);
  assert.deepEqual(await online(b), ['p-a'], 'and not oneself');
  await leave(b);
  await hears(a, 'p-b', false);
  assert.deepEqual(await online(a), []);
  await leave(a);
  await alone(world);
});

world.test('a stranger is not told, and not seen', async () => {
  const [a, c] = [await come(world, 'a'), await come(world, 'c')];
  const b = await come(world, 'b');
  await hears(a, 'p-b', true);
  assert.deepEqual(await online(c), []);
  await leave(b);
  await hears(a, 'p-b', false);
  await world.place.call('team.set', { id: 'c', members: ['p-c'] });
  await settled(world, 'c', c);
  assert.deepEqual(said(c), []);
  assert.deepEqual(said(a), [['p-b', true], ['p-b', false]]);
  await leave(a, c);
  await alone(world);
});

world.test('a connection without an open feed is nobody, but may ask', async () => {
  const a = await come(world, 'a');
  const b = await world.place.client('b');
  assert.deepEqual(await online(b), ['p-a']);
  assert.deepEqual(await online(a), []);
  await b.open_feed();
  await hears(a, 'p-b', true);
  await b.call('feed.close');
  await hears(a, 'p-b', false);
  await leave(a, b);
  await alone(world);
});

world.test('several connections of a person count as one', async () => {
  await world.place.call('team.set', { id: 'abd', members: ['p-a', 'p-b', 'p-d'] });
  const [a, d] = [await come(world, 'a'), await come(world, 'd')];
  const many = [await come(world, 'b'), await come(world, 'b'), await come(world, 'b')];
  await hears(a, 'p-b', true);
  assert.deepEqual(await online(many[1]), ['p-a', 'p-d']);
  await leave(many[0], many[1]);
  await leave(d);
  await hears(a, 'p-d', false); // whoever left before has been told as gone, too
  assert.deepEqual(await online(a), ['p-b']);
  await leave(many[2]);
  await hears(a, 'p-b', false);
  assert.deepEqual(said(a).filter(([p]) => p === 'p-b'), [['p-b', true], ['p-b', false]]);
  await world.place.call('team.drop', { id: 'abd' });
  await leave(a);
  await alone(world);
});

world.test('who hides is gone at once, sees the others still, and comes out again', async () => {
  const [a, b] = [await come(world, 'a'), await come(world, 'b')];
  await hears(a, 'p-b', true);
  assert.deepEqual(await b.call('presence.set', { visible: false }), { visible: false });
  await hears(a, 'p-b', false);
  assert.deepEqual(await online(a), []);
  assert.deepEqual(await b.call('presence.list'), { online: ['p-a'], visible: false });
  await b.call('presence.set', { visible: true });
  await hears(a, 'p-b', true, 2);
  assert.deepEqual(await b.call('presence.list'), { online: ['p-a'], visible: true });
  await leave(a, b);
  await alone(world);
});

world.test('to hide lasts over connections, and shows nothing that being away would not', async () => {
  const quiet = await come(world, 'b');
  await quiet.call('presence.set', { visible: false });
  await leave(quiet);
  await alone(world);
  const a = await come(world, 'a');
  const nobody = JSON.stringify(await a.call('presence.list'));
  const [b, phone] = [await come(world, 'b'), await come(world, 'b')];
  assert.equal((await b.call('presence.list')).visible, false);
  await settled(world, 'ab', a, b);
  assert.equal(JSON.stringify(await a.call('presence.list')), nobody);
  await leave(b, phone);
  await settled(world, 'ab', a);
  assert.deepEqual(said(a), []);
  const again = await come(world, 'b');
  await again.call('presence.set', { visible: true });
  await hears(a, 'p-b', true);
  await leave(a, again);
  await alone(world);
});

world.test('whom one sees follows the records one shares', async () => {
  const [a, b, c] = [await come(world, 'a'), await come(world, 'b'), await come(world, 'c')];
  await hears(a, 'p-b', true);
  await world.place.call('team.set', { id: 'ab', members: ['p-a', 'p-b', 'p-c'] });
  for (const other of ['p-a', 'p-b']) await hears(c, other, true);
  for (const client of [a, b]) await hears(client, 'p-c', true);
  await world.place.call('team.set', { id: 'bc', members: ['p-b', 'p-c'] });
  await world.place.call('team.set', { id: 'ab', members: ['p-a', 'p-b'] });
  await hears(c, 'p-a', false);
  await hears(a, 'p-c', false);
  assert.deepEqual(await online(c), ['p-b'], 'they still share a record');
  assert.deepEqual(await online(a), ['p-b']);
  await world.place.call('team.drop', { id: 'bc' });
  await hears(c, 'p-b', false);
  await hears(b, 'p-c', false);
  assert.deepEqual(await online(c), []);
  await settled(world, 'ab', a, b);
  assert.deepEqual(said(c).filter(([p]) => p === 'p-b'), [['p-b', true], ['p-b', false]]);
  await leave(a, b, c);
  await alone(world);
});

world.test('a record with a crowd of members connects nobody', async () => {
  const crowd = Array.from({ length: 200 }, (_, i) => `x${i}`);
  await world.place.call('team.set', { id: 'crowd', members: ['p-c', 'p-d', ...crowd.slice(2)] });
  const [c, d] = [await come(world, 'c'), await come(world, 'd')];
  await hears(c, 'p-d', true); // 200 are not too many
  await world.place.call('team.set', { id: 'crowd', members: ['p-c', 'p-d', ...crowd] });
  await hears(c, 'p-d', false);
  await hears(d, 'p-c', false);
  assert.deepEqual(await online(c), []);
  await leave(d);
  await online_count(world, 1);
  const again = await come(world, 'd');
  assert.deepEqual(await online(again), []);
  await settled(world, 'crowd', c, again);
  assert.equal(said(c).filter(([p]) => p === 'p-d').length, 2);
  await world.place.call('team.set', { id: 'crowd', members: ['p-c', 'p-d'] });
  await hears(c, 'p-d', true, 2);
  await leave(c, again);
  await alone(world);
});
world.test('presence is asked for with no params, set with one, and only after signing in', async () => {
  const [a, stranger] = [await world.place.client('a'), await world.server.connect()];
  const wrong = await refused(a.call('presence.list', { person: 'p-b' }), -32602);
  assert.deepEqual(wrong.data.errors.map((e) => e.path), ['person']);
  await refused(a.call('presence.set', {}), -32602);
  await refused(a.call('presence.set', { visible: 'no' }), -32602);
  await refused(stranger.call('presence.list'), -32001);
  await refused(stranger.call('presence.set', { visible: false }), -32001);
  await leave(a, stranger);
});

patient.test('a connection that breaks and comes back within the grace time is not noticed', async () => {
  const a = await come(patient, 'a');
  const b = await come(patient, 'b');
  await hears(a, 'p-b', true);
  for (let i = 0; i < 3; i++) {
    await leave(b);
    assert.deepEqual(await online(a), ['p-b']);
    await b.resume();
  }
  await settled(patient, 'ab', a, b);
  assert.deepEqual(said(a), [['p-b', true]]);
  await leave(b);
  const other = await patient.place.client('b');
  await other.call('presence.set', { visible: false }); // hiding counts for who has just left, too
  await hears(a, 'p-b', false);
  await leave(a, other);
});

patient.test('who may be seen is remembered over a restart, who was online is not', async () => {
  await patient.server.kill();
  await patient.server.serve();
  const a = await come(patient, 'a');
  assert.deepEqual(await online(a), []);
  const b = await come(patient, 'b');
  assert.equal((await b.call('presence.list')).visible, false);
  await settled(patient, 'ab', a, b);
  assert.deepEqual(said(a), []);
  await b.call('presence.set', { visible: true });
  await hears(a, 'p-b', true);
  await leave(a, b);
});
