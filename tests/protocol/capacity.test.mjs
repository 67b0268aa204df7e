// The last free place of two mentors is asked for by sixty-four clients at once: it is given once each.
import assert from 'node:assert/strict';
import test from 'node:test';
import { RpcError, serve_for, slow } from './harness.mjs';
import { mentee, mentor, programme } from './people.mjs';

const ASKING = 64;

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('race');
  await place.account('lead', ['coordinator'], 'staff-lead');
  const lead = await place.client('lead');
  const term = await programme(lead.call.bind(lead));
  // The first has one place of one, the second one of three: two are taken before the race.
  const mentors = [await mentor(place, 'Aziza', 1, {}, 'aziza'), await mentor(place, 'Botir', 3, {}, 'botir')];
  const clients = [];
  for (let i = 0; i < ASKING; i++) {
    await mentee(place, `Mentee ${i}`, {}, `mentee${i}`);
    clients.push(await place.client(`mentee${i}`));
  }
  for (let i = 0; i < 2; i++) {
    await mentee(place, `Early ${i}`, {}, `early${i}`);
    const early = await place.client(`early${i}`);
    await early.call('pair.request', { mentor: mentors[1], programme: term });
    early.close();
  }
  return { place, lead, mentors, clients, term };
});

world.test('capacity is never exceeded', { timeout: 120000 * slow }, async () => {
  const outcomes = await Promise.all(
    world.clients.map((client, i) =>
      client.call('pair.request', { mentor: world.mentors[i % 2], programme: world.term }).then(
        () => 'taken',
        (error) => {
          if (!(error instanceof RpcError) || error.code !== -32004) throw error;
          return error.data.reason;
        },
      ),
    ),
  );
  const count = (what) => outcomes.filter((o) => o === what).length;
  assert.equal(count('taken'), 2, `outcomes: ${[...new Set(outcomes)]}`);
  assert.equal(count('full'), ASKING - 2);
  assert.equal(outcomes.filter((o, i) => o === 'taken' && i % 2 === 0).length, 1);
  for (const [i, capacity] of [[0, 1], [1, 3]]) {
    const { items } = await world.lead.call('record.list', { type: 'pair', index: 'by_mentor', equals: [world.mentors[i]] });
    const held = items.filter((p) => p.data.state !== 'ended');
    assert.equal(held.length, capacity);
  }
  [world.lead, ...world.clients].forEach((c) => c.close());
});
