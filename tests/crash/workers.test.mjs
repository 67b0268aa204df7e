// Workers that are killed, and workers that stop: each call is answered, once; a write is there once or not at all.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import test from 'node:test';
import { RpcError, slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { Ledger, clients, eventually, metric, with_server } from './ledger.mjs';

// Of one institution; its folder is the last argument of each.
function workers(server, institution) {
  const out = execFileSync('ps', ['-ww', '-o', 'pid=,args=', '--ppid', String(server.pid)], { encoding: 'utf8' });
  return out.split('\n').filter((line) => / worker /.test(line) && line.trim().endsWith(`/${institution}`)).map((line) => Number(line.trim().split(' ')[0]));
}
const signal = (pids, name) => {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // it has ended
    }
  }
};

test('kill -9 of workers under load: every call is answered once, and nothing is there twice', { timeout: 180000 * slow }, async () => {
  await with_server({}, async (server) => {
    const place = await server.institution('killed'), ledger = new Ledger();
    await place.deploy('service', 'probe', probe);
    await place.account('writer', ['student']);
    const reader = await place.client('writer');
    const writers = await clients(server, reader.token, 4);
    const unasked = [];
    for (const client of writers) {
      const settle = client.settle.bind(client);
      client.settle = (response) => {
        if (!client.pending.has(response.id)) unasked.push(response);
        settle(response);
      };
    }
    const counting = async (client) => {
      for (let i = 0; i < 100; i++) await client.call('probe.count_up', { id: 'one' }).then(() => counted++, (e) => counts_failed.push(e));
    };
    let counted = 0;
    const counts_failed = [];
    const stop = ledger.start(writers, 8);
    const counts = Promise.all(writers.slice(0, 2).map(counting));
    let killed = 0;
    for (let round = 0; round < 12; round++) {
      await ledger.more(30);
      const pids = workers(server, 'killed');
      signal(pids, 'SIGKILL');
      killed += pids.length;
    }
    await counts;
    await stop();
    assert.ok(killed >= 12);
    assert.deepEqual(unasked, [], 'an answer came that nobody waited for');
    // A call whose second worker is killed, too, is given up, and says so; as does one that was overtaken too often.
    for (const error of [...ledger.errors, ...counts_failed]) assert.ok(error instanceof RpcError && [-32004, -32006, -32009].includes(error.code), String(error));
    await ledger.check(reader);
    const counter = await reader.call('record.get', { type: 'probe_counter', id: 'one' });
    assert.equal(counter.data.n, counted, 'a call that ran again counted twice, or one was lost');
    [reader, ...writers].forEach((c) => c.close());
  });
});

test('a worker that stops reading: its call ends by the deadline, the others run elsewhere, neighbours are served, what waits is bounded', { timeout: 180000 * slow }, async () => {
  const settings = 'return { cpu_ms = 200, deadline_ms = 3000, workers_max = 1, queue_max = 300 }\n';
  await with_server({ settings }, async (server) => {
    const place = await server.institution('stopped'), other = await server.institution('neighbour'), ledger = new Ledger();
    for (const p of [place, other]) {
      await p.deploy('service', 'probe', probe);
      await p.account('writer', ['student']);
    }
    const reader = await place.client('writer'), neighbour = await other.client('writer');
    const [flood] = await clients(server, reader.token, 1);
    const pids = workers(server, 'stopped');
    assert.equal(pids.length, 1);
    signal(pids, 'SIGSTOP');
    const words = 'z'.repeat(9000);
    const waiting = Array.from({ length: 800 }, () => ledger.write(flood, words));
    // The flood has been read when this is answered.
    assert.equal((await flood.call('record.count', { type: 'probe' })).count, 0);
    const queued = await metric(server, 'hamroh_queue_calls', '{institution="stopped"}');
    const running = await metric(server, 'hamroh_running_calls', '{institution="stopped"}');
    assert.ok(queued <= 300 && running <= 64, `${queued} wait, ${running} were sent`);
    for (let i = 0; i < 50; i++) await neighbour.call('probe.put', { text: `beside ${i}` });
    const results = await Promise.all(waiting);
    const by_code = Map.groupBy ? Map.groupBy(results, (e) => e?.code ?? 0) : results.reduce((m, e) => m.set(e?.code ?? 0, [...(m.get(e?.code ?? 0) ?? []), e]), new Map());
    for (const code of by_code.keys()) assert.ok([0, -32005, -32007].includes(code), `answered with ${code}`);
    assert.ok(by_code.get(-32005).length >= 400, 'the queue had no end');
    assert.equal(by_code.get(-32007).length, 1, 'only the call at its head was its fault');
    assert.equal(ledger.acknowledged.size, by_code.get(0).length);
    await eventually(() => workers(server, 'stopped').length === 1 && workers(server, 'stopped')[0] !== pids[0], 'another worker');
    await ledger.check(reader);
    assert.equal(await ledger.write(flood), null);
    [reader, neighbour, flood].forEach((c) => c.close());
  });
});
