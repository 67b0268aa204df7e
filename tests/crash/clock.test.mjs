// The system's clock is set while the server runs: back and forward, a little and a lot.
import assert from 'node:assert/strict';
import test from 'node:test';
import { slow } from '../protocol/harness.mjs';
import { hostile, probe } from '../protocol/probe.mjs';
import { Faults, Ledger, clients, with_server } from './ledger.mjs';

const MINUTE = 60000, HOUR = 60 * MINUTE;

test('when the clock jumps, sessions live, limits hold, ids ascend, and small steps back do not show in the records', { timeout: 120000 * slow }, async () => {
  const faults = new Faults();
  await with_server({ env: faults.env, settings: 'return { cpu_ms = 100, deadline_ms = 2000, plugin_return_window_ms = 0 }\n' }, async (server) => {
    const place = await server.institution('clock'), ledger = new Ledger();
    await place.deploy('service', 'probe', probe);
    await place.deploy('service', 'hostile', hostile);
    await place.account('writer', ['student']);
    const reader = await place.client('writer');
    const [writer] = await clients(server, reader.token, 1);
    await reader.open_feed({ types: ['probe'] });
    const stop = ledger.start([writer], 4);
    await ledger.more(20);
    const made = [];
    const jump = async (ms) => {
      faults.clock(ms);
      await ledger.more(20); // nothing hangs, and nobody has been signed out
      // A limit on running scripts goes by another clock.
      await assert.rejects(reader.call('hostile.loop'), (e) => e.code === -32006 || e.code === -32007);
      const record = await reader.call('record.get', { type: 'probe', id: (await reader.call('probe.put', { text: `mark ${made.length} ${ms}` })).id });
      ledger.sent.add(record.data.text);
      ledger.acknowledged.set(record.data.text, record.id);
      made.push({ ms, ...record });
    };
    for (const ms of [0, -5000, -9 * MINUTE, 0, -1 * HOUR, 2 * HOUR, 0, -30 * 24 * HOUR, 0]) await jump(ms);
    await stop();

    const by_step = (ms) => made.filter((r) => r.ms === ms);
    const [first, second, third] = made;
    assert.ok(second.created >= first.created && third.created >= second.created, 'a small step back shows');
    const near = (a, b) => Math.abs(a - b) < 10 * MINUTE;
    assert.ok(near(by_step(-1 * HOUR)[0].created, first.created - HOUR), 'a large step was not followed');
    assert.ok(near(by_step(2 * HOUR)[0].created, first.created + 2 * HOUR), 'a step forward was not followed');
    assert.ok(near(made.at(-1).created, first.created), 'the clock was not followed back');
    // Each id is larger than those before it: an index of them grows at its end, and a list is in order.
    for (let i = 1; i < made.length; i++) assert.ok(made[i].version > made[i - 1].version);
    const created = reader.feed.filter((e) => e.action === 'created');
    for (let i = 1; i < created.length; i++) assert.ok(created[i].seq > created[i - 1].seq);
    await ledger.check(reader);
    [reader, writer].forEach((c) => c.close());

    // And over a restart, with the clock an hour behind what the log has.
    await server.kill();
    faults.clock(-HOUR);
    await server.serve();
    const again = await server.connect();
    await again.call('session.resume', { token: reader.token });
    await ledger.write(again);
    await ledger.check(again);
    again.close();
  }).finally(() => faults.close());
});
