// What plugins cost: a call of a method that does nothing, a tight loop beside the same in plain Lua, starting a worker, making its state
// anew, memory. Each measurement is a function of the world; a new one is another in the list.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build, family, lines, load, middle, quick, request, row, scratch, seconds } from './measure.mjs';

// The same functions in the plugin and in plain Lua. N is chosen so that each takes some 50 ms.
const loops = `
local words = { "salom", "dunyo", "talaba", "mentor" }
local loops = {}
function loops.arithmetic(n) local x = 1 for i = 1, n do x = (x * 31 + i) % 65521 end return x end
function loops.calls(n) local function add(a, b) return a + b end local x = 0 for i = 1, n do x = add(x, i) end return x end
function loops.tables(n) local t, x = {}, 0 for i = 1, n do t[i & 255] = i x = x + (t[i & 127] or 0) + #words[(i & 3) + 1] end return x end
function loops.objects(n) local x for i = 1, n do x = { i, name = "x", list = { i } } end return #x end
function loops.strings(n) local x = 0 for i = 1, n do x = x + #(words[(i & 3) + 1] .. i):upper() end return x end
function loops.patterns(n) local x = 0 for _ = 1, n do for k, v in ("name=Aziza, year=2, gpa=4.5"):gmatch("(%w+)=([^,]+)") do x = x + #k + #v end end return x end
`;
const sizes = { arithmetic: 5000000, calls: 1500000, tables: 1200000, objects: 250000, strings: 300000, patterns: 60000 };

const plugin = `${loops}
local kept = {}
return service { id = "hook", methods = {
  ["hook.none"] = { access = "signed_in", run = function() return 1 end },
  ["hook.loop"] = { access = "signed_in", params = { what = text {}, n = integer {} }, run = function(_, p) return loops[p.what](p.n) end },
  ["hook.keep"] = { access = "signed_in", run = function() kept.x = 1 end },
} }`;

// What the process has computed, to the nanosecond: others on the machine do not count.
const cpu_ms = (pid) => Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;

// The workers of the institution of the world: those that are there when no other institution is at work.
const workers = (world) =>
  family(world.server.pid).filter((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.includes('worker') && words.some((word) => word.endsWith(`/${world.place.id}`));
  });
const port_of = (world) => Number(new URL(world.server.http).port);
const times = (n, make) => Array.from({ length: n }, (_, i) => make(i)).reduce(async (all, one) => [...(await all), await one()], []);

// A call that met a worker that was killed may fail: until one is answered.
async function answered(caller) {
  for (;;)
    try {
      return await caller.call('hook.none');
    } catch (error) {
      if (error.code !== -32006) throw error;
    }
}

async function took(promise) {
  const begun = performance.now();
  await promise;
  return performance.now() - begun;
}

const measurements = {
  async hook(world) {
    const message = lines('hook-none', [request('hook.none', {})]);
    const before = new Map(workers(world).map((pid) => [pid, cpu_ms(pid)]));
    const result = await load('call', { connections: 64, depth: 16, seconds, pid: world.server.pid, port: port_of(world), setup: world.setup, message });
    if (result.errors) throw new Error(`${result.errors} errors: ${result.trouble}`);
    const spent = workers(world).reduce((sum, pid) => sum + cpu_ms(pid) - (before.get(pid) ?? 0), 0);
    const calls = result.per_second * seconds;
    row('a method that does nothing, CPU', 'µs', result.cpu_us_each, [], `${((spent * 1000) / calls).toFixed(1)} of them in the worker, ${Math.round(result.per_second).toLocaleString('en')}/s`);
    const { caller } = world;
    const alone = await times(quick ? 200 : 1000, () => () => took(caller.call('hook.none')));
    row('a method that does nothing, one at a time, median', 'ms', middle(alone), []);
  },

  async loops(world) {
    const file = path.join(scratch, 'loops.lua');
    writeFileSync(file, `${loops} return loops`);
    const raw_lua = build('raw_lua', '-I/usr/include/lua5.4', '-llua5.4');
    const { caller } = world;
    for (const [what, n] of Object.entries(sizes)) {
      const ours = [];
      const plain = [];
      for (let turn = 0; turn < (quick ? 3 : 7); turn++) {
        // Beside each other, since the machine is not the same from second to second.
        const text = execFileSync(raw_lua, [file, what, n, 3]).toString();
        plain.push(...text.trim().split('\n').map(Number));
        // A process is quicker or slower by where its memory happens to lie: each turn has fresh ones.
        for (const pid of workers(world)) process.kill(pid, 'SIGKILL');
        await answered(caller);
        for (let i = 0; i < 3; i++) {
          const pids = workers(world);
          const computed = () => pids.reduce((sum, pid) => sum + cpu_ms(pid), 0);
          const before = computed();
          await caller.call('hook.loop', { what, n });
          ours.push(computed() - before);
        }
      }
      row(`tight loop: ${what}`, 'ms', Math.min(...ours), [{ name: 'plain Lua', value: Math.min(...plain), goal: '<= 1.1' }], `the fastest of ${ours.length}; median ${middle(ours).toFixed(1)} beside ${middle(plain).toFixed(1)}`);
    }
  },

  async start(world) {
    const { caller } = world;
    const started = await times(quick ? 5 : 15, () => async () => {
      await caller.call('hook.none');
      for (const pid of workers(world)) process.kill(pid, 'SIGKILL');
      return took(answered(caller));
    });
    row('worker killed, until the next answer', 'ms', middle(started), [], 'noticed, started, all plugins loaded and sealed');
    const renewed = await times(quick ? 10 : 30, () => async () => {
      await caller.call('hook.keep').catch(() => {});
      return took(caller.call('hook.none'));
    });
    row('state of Lua made anew, until the next answer', 'ms', middle(renewed), [], 'behind a call that met a limit or changed what was loaded');
  },

  async memory(world) {
    const of = (pid, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) / 1024;
    const own = (pid) => of(pid, 'Private_Dirty') + of(pid, 'Private_Clean');
    const { caller } = world;
    for (const pid of workers(world)) process.kill(pid, 'SIGKILL');
    await answered(caller);
    const fresh = middle(workers(world).map(own));
    const message = lines('hook-send', [request('hook.none', {})]);
    await load('call', { connections: 64, depth: 16, seconds: 2, port: port_of(world), setup: world.setup, message });
    await load('call', { connections: 64, depth: 16, seconds: 2, port: port_of(world), setup: world.setup, message: world.send });
    const pids = workers(world);
    row('memory of a worker, its own', 'MiB', middle(pids.map(own)), [], `${fresh.toFixed(1)} when fresh; resident with what is shared ${middle(pids.map((pid) => of(pid, 'Rss'))).toFixed(1)}; ${pids.length} of them`);
  },
};

export async function measure_plugins(world) {
  await world.place.deploy('service', 'hook', plugin);
  world.caller = world.pairs[0].clients[0];
  for (const measure of Object.values(measurements)) await measure(world);
}
