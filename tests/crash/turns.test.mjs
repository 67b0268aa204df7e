// Plugins that compute and compute: their workers take turns, so that one processor is left for everybody else.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import test from 'node:test';
import { slow } from '../protocol/harness.mjs';
import { with_server } from './ledger.mjs';

const endless = `
return service {
  id = "endless", records = {},
  methods = {
    ["endless.run"] = { summary = "never ends", access = "signed_in", params = {}, run = function(ctx, p) while true do end end },
    ["endless.not"] = { summary = "ends at once", access = "signed_in", params = {}, run = function(ctx, p) return { done = true } end },
  },
}
`;

// State and session of each worker process of a server (proc(5), stat).
function workers(server) {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, parent, , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const started = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('\0worker\0'); // else it is a copy of the server that is yet to become one
      if (Number(parent) === server.pid && started) found.push({ pid: Number(pid), state, session: Number(session) });
    } catch {
      // it has ended
    }
  }
  return found;
}

test('workers whose calls never end run on all processors but one, in turns, and every call gets its own limit as the answer', { timeout: 120000 * slow }, async () => {
  const most = cpus().length + 1, at_once = Math.max(1, cpus().length - 1);
  await with_server({ settings: `return { workers_max = ${most}, deadline_ms = 60000, plugin_return_window_ms = 0 }` }, async (server) => {
    const place = await server.institution('endless');
    await place.deploy('service', 'endless', endless);
    await place.account('student', ['student']);
    const client = await place.client('student');
    let ended = false;
    const held = new Set(), codes = [];
    const call = () => client.call('endless.run', {}).then(() => codes.push(0), (error) => codes.push(error.code ? [error.code, error.data?.limit_ms] : [error.message]));
    const callers = Array.from({ length: most }, async () => {
      while (!ended) await call();
    });
    const late = Date.now() + 60000 * slow;
    while (held.size < 2 && Date.now() < late) {
      const all = workers(server);
      const stopped = all.filter((worker) => worker.state === 'T');
      for (const worker of stopped) held.add(worker.pid);
      assert.ok(all.every((worker) => worker.session === worker.pid), 'each worker is a session of its own');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok(held.size >= 2, `of ${most} workers on ${at_once} processors ${held.size} waited for their turn`);
    ended = true;
    await Promise.all(callers);
    assert.ok(codes.length >= most);
    assert.deepEqual([...new Set(codes.map(String))], ['-32007,200'], 'each call met the limit of its own computing, none the deadline');
    assert.deepEqual(await client.call('endless.not', {}), { done: true });
    assert.deepEqual(workers(server).filter((worker) => worker.state === 'T'), [], 'nobody is left waiting');
  });
});
