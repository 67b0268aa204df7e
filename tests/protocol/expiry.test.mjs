// Sign-ins end by themselves: after a time without use and after an absolute time. The clock is moved by hand.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for } from './harness.mjs';

const hour = 3600 * 1000;
const world = serve_for(test, { settings: 'return { clock = "manual", session_idle_hours = 2, session_days = 1 }\n' }, async (server) => {
  const place = await server.institution('home');
  await place.account('someone', ['student']);
  return { place };
});

const advance = (ms) => world.server.call('clock.advance', { ms });

world.test('a sign-in that is not used ends after its idle time, one that is used goes on until its last day', async () => {
  const client = await world.place.client('someone');
  await advance(3 * hour);
  await refused(client.call('session.list'), -32001);
  await client.login('home', 'someone');
  for (let i = 0; i < 15; i++) {
    await advance(1.5 * hour);
    await client.call('session.list');
  }
  await advance(1.5 * hour); // 24 hours have passed
  await refused(client.call('session.list'), -32001);
  await refused(client.call('session.resume', { token: client.token }), -32001);
  client.close();
});

world.test('an open feed ends with its sign-in, though nobody calls anything', async () => {
  const client = await world.place.client('someone');
  await client.open_feed();
  await advance(2 * hour + 1);
  const { params } = await client.wait_for('session.ended', (m) => m.method === 'session.ended');
  assert.equal(params.reason, 'expired');
  client.close();
});
