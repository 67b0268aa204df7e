// Hot reload under load: a matching rule is changed while two hundred clients send. No connection drops, no message is
// lost, the next match uses the new rule; a broken one is refused with its place and changes nothing.
import assert from 'node:assert/strict';
import test from 'node:test';
import { job_result, refused, serve_for, sleep, slow } from './harness.mjs';
import { mentee, mentor, programme } from './people.mjs';
import { probe, rule } from './probe.mjs';

const CLIENTS = 200;

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('school');
  await place.deploy('service', 'probe', probe);
  await place.deploy('matcher', 'test-rule', rule(6000));
  await place.account('lead', ['coordinator'], 'staff-lead');
  for (let i = 0; i < 4; i++) await mentor(place, `Mentor ${i}`, 2, { faculty: 'maths' });
  for (let i = 0; i < 6; i++) await mentee(place, `Mentee ${i}`, { faculty: 'law' });
  await place.account('sender', ['student']);
  const lead = await place.client('lead');
  return { place, lead, programme: await programme(lead.call.bind(lead)) };
});

// The points that the rule gives for a shared language, as a match shows them in its reasons.
async function points() {
  const call = world.lead.call.bind(world.lead);
  const result = await job_result(call, await call('match.run', { programme: world.programme, rule: 'test-rule' }));
  const { items } = await call('record.list', { type: 'proposal_pair', index: 'by_proposal', equals: [result.proposal] });
  assert.ok(items.length >= 6, `${items.length} pairs were proposed`);
  return items[0].data.points;
}

world.test('a changed rule is in force at the next match, and two hundred sending clients notice nothing', { timeout: 180000 * slow }, async () => {
  const first = await world.place.client('sender');
  const clients = [first];
  while (clients.length < CLIENTS) {
    const client = await world.server.connect();
    await client.call('session.resume', { token: first.token });
    clients.push(client);
  }
  let sending = true;
  const answered = [];
  const failed = [];
  const sender = async (client, number) => {
    for (let i = 0; sending; i++) {
      const text = `message ${number}/${i}`;
      await client.call('probe.put', { text, n: number }).then((r) => answered.push([r.id, text]), (error) => failed.push(error));
      await sleep(20);
    }
  };
  const before = await points();
  const all = Promise.all(clients.map(sender));
  await sleep(500);
  await world.place.deploy('matcher', 'test-rule', rule(3000));
  const after = await points();
  await sleep(500);
  sending = false;
  await all;
  assert.equal(before - after, 3000, `points went from ${before} to ${after}`);
  assert.deepEqual(failed.slice(0, 3), []);
  assert.ok(answered.length > CLIENTS, `only ${answered.length} messages in all`);
  assert.equal(clients.filter((c) => c.socket.readyState === 1).length, CLIENTS, 'connections dropped');
  assert.equal((await world.lead.call('record.count', { type: 'probe' })).count, answered.length);
  clients.forEach((c) => c.close());
});

world.test('a rule with a syntax error is refused with file and line, and the one before stays', async () => {
  const before = await points();
  const broken = rule(1000).replace('must = {},', 'must = {,');
  const error = await refused(world.place.deploy('matcher', 'test-rule', broken));
  const fault = error.data.errors?.[0] ?? error.data;
  assert.match(String(fault.file), /test-rule/);
  assert.equal(fault.line, broken.split('\n').findIndex((l) => l.includes('must = {,')) + 1);
  assert.ok(fault.message);
  assert.equal(await points(), before);
});

world.test('a rule whose own test fails is refused, and the history names what is in force', async () => {
  const before = await points();
  const failing = rule(1000).replace('prefer =', 'tests = { ["never holds"] = function(t) t:equal(1, 2, "one is two") end },\n  prefer =');
  await refused(world.place.deploy('matcher', 'test-rule', failing));
  assert.equal(await points(), before);
  const history = await world.place.call('plugin.history', { kind: 'matcher', id: 'test-rule' });
  assert.ok((history.items ?? history).length >= 2);
});

world.test('going back takes the version before into force', async () => {
  const now = await points();
  await world.place.deploy('matcher', 'test-rule', rule(5000));
  assert.notEqual(await points(), now);
  await world.place.call('plugin.rollback', { kind: 'matcher', id: 'test-rule' });
  assert.equal(await points(), now);
  world.lead.close();
});
