// Plugins that loop, eat memory or run a pattern without end: each caller gets an error within the deadline, and another
// institution's clients are served all the while.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for, sleep, slow } from './harness.mjs';
import { hostile, probe } from './probe.mjs';

const DEADLINE = 5000; // the setting's default

// What fails so often is not to be taken back: it is what is tried here.
const world = serve_for(test, { settings: 'return { plugin_return_window_ms = 0 }\n' }, async (server) => {
  const bad = await server.institution('bad');
  const good = await server.institution('good');
  await bad.deploy('service', 'hostile', hostile);
  await bad.deploy('service', 'probe', probe);
  await good.deploy('service', 'probe', probe);
  await bad.account('someone', ['student']);
  await good.account('someone', ['student']);
  return { bad, good };
});

// Calls in the other institution until stopped; gives how long the longest took.
function neighbours(clients) {
  let running = true;
  let longest = 0;
  let count = 0;
  const failed = [];
  const one = async (client) => {
    while (running) {
      const begun = performance.now();
      await client.call('probe.put', { text: 'still here' }).catch((error) => failed.push(error));
      longest = Math.max(longest, performance.now() - begun);
      count++;
      await sleep(10);
    }
  };
  const all = Promise.all(clients.map(one));
  return async () => {
    running = false;
    await all;
    return { longest, count, failed };
  };
}

for (const kind of ['loop', 'memory', 'string', 'pattern', 'catch']) {
  world.test(`hostile.${kind} gives its caller an error within the deadline while another institution is served`, { timeout: 60000 * slow }, async () => {
    const caller = await world.bad.client('someone');
    const clients = await Promise.all([1, 2, 3, 4].map(() => world.good.client('someone')));
    const stop = neighbours(clients);
    await sleep(100);
    const begun = performance.now();
    const error = await refused(caller.call(`hostile.${kind}`));
    const took = performance.now() - begun;
    const { longest, count, failed } = await stop();
    assert.ok([-32006, -32007, -32008].includes(error.code), `code ${error.code}`);
    assert.ok(took < (DEADLINE + 2000) * slow, `took ${took} ms`);
    assert.deepEqual(failed, []);
    assert.ok(count > 4, `${count} calls of the others`);
    assert.ok(longest < 2000 * slow, `a neighbour waited ${longest} ms`);
    // The caller's own institution goes on, too.
    assert.equal(await caller.call('sum', [1, 2]), 3);
    [caller, ...clients].forEach((c) => c.close());
  });
}

world.test('many hostile calls at once do not keep the own institution from answering afterwards', { timeout: 120000 * slow }, async () => {
  const caller = await world.bad.client('someone');
  caller.call_ms = 90000 * slow;
  const errors = await Promise.all(Array.from({ length: 6 }, () => caller.call('hostile.loop').catch((error) => error.code)));
  for (const code of errors) assert.ok([-32006, -32007, -32005].includes(code), `code ${code}`);
  assert.equal(await caller.call('sum', [2, 2]), 4);
  caller.close();
});
