// Runs hostile scripts against a live server: several institutions each call script after script, beside one that goes on with light
// work in a process of its own. Gives what happened; throws when a caller waited beyond the deadline, the server ended, an
// institution stopped answering or kept anything of a call, or the other one lost a call.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Client, Server, slow, sleep } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { bodies_per_plugin, generator, plugin_of_bodies, untouched, whole_file } from './hostile_scripts.mjs';

const CPU_MS = 20;
const DEADLINE_MS = 1500;
const settings = `return { cpu_ms = ${CPU_MS * Math.min(slow, 2)}, deadline_ms = ${DEADLINE_MS * slow}, memory_bytes = ${16 << 20}, workers_max = 1, plugin_return_window_ms = 0 }\n`;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// ---- the neighbour ---------------------------------------------------------------------------------

// In its own process: a call every 10 ms until told to stop; prints how long each took.
async function neighbour(url, token) {
  const client = await Client.open(url);
  await client.call('session.resume', { token });
  const took = [];
  const failed = [];
  let running = true;
  process.stdin.once('data', () => (running = false)).once('end', () => process.exit(1));
  for (let i = 0; running; i++) {
    const begun = performance.now();
    await client.call('probe.put', { text: `beside ${i}` }).catch((error) => failed.push(String(error)));
    took.push(performance.now() - begun);
    await sleep(10);
  }
  took.sort((a, b) => a - b);
  console.log(JSON.stringify({ count: took.length, p50: took[took.length >> 1], p99: took[Math.floor(took.length * 0.99)], longest: took.at(-1), failed }));
  process.exit(0);
}

function start_neighbour(url, token) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'neighbour', url, token], { stdio: ['pipe', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (text) => (out += text));
  return async () => {
    const gone = once(child, 'close');
    child.stdin.write('stop\n');
    await gone;
    if (!out) throw new Error('the neighbour ended');
    return JSON.parse(out);
  };
}

// ---- the scripts -----------------------------------------------------------------------------------

async function timed(promise, longest, what) {
  const begun = performance.now();
  const outcome = await promise.then((result) => ({ result }), (error) => ({ error }));
  const ms = performance.now() - begun;
  if (outcome.error && outcome.error.code === undefined) throw new Error(`${what}: ${outcome.error.message}`);
  if (ms > longest) throw new Error(`${what} took ${ms.toFixed(0)} ms`);
  return { ...outcome, ms };
}

async function run_seeds(place, client, seeds, report) {
  const limit = (DEADLINE_MS + 1500) * slow;
  const deploy_limit = 30000 * slow; // loading may compute for 2 s, whatever else the machine does
  const bodies = [];
  for (const seed of seeds) {
    if (seed % 10 !== 0) {
      bodies.push(seed);
      continue;
    }
    const { error } = await timed(place.deploy('service', 'fuzz', whole_file(seed)), deploy_limit, `seed ${seed}: the deploy`);
    report.files++;
    if (error) report.refused++;
  }
  const { error } = await timed(place.deploy('service', 'fuzz', plugin_of_bodies(bodies)), deploy_limit, `seeds ${bodies}: the deploy`);
  if (error) throw new Error(`seeds ${bodies}: refused: ${JSON.stringify(error.data).slice(0, 2000)}`);
  for (const [i, seed] of bodies.entries()) {
    const { error: failure, ms } = await timed(client.call(`fuzz.s${i}`, {}), limit, `seed ${seed}`);
    // A script may well call one that is not there.
    const missing = failure?.code === -32601 && Number(/^fuzz\.s(\d+)$/.exec(failure.data.method ?? `fuzz.s${i}`)?.[1] ?? Infinity);
    if (missing !== false && missing < bodies.length) throw new Error(`seed ${seed}: its method is not there: was an older version brought back?`);
    const what = failure ? `${failure.code}${failure.data?.limit ? ` ${failure.data.limit}` : ''}` : 'result';
    report.outcomes[what] = (report.outcomes[what] ?? 0) + 1;
    report.longest = Math.max(report.longest, ms);
    report.scripts++;
  }
  const { result, error: lost } = await timed(client.call('fuzz.state'), limit, `seeds ${bodies}: the state`);
  if (lost || !same(result, untouched)) throw new Error(`seeds ${bodies}: something stayed: ${lost ?? JSON.stringify(result)}`);
}

export async function run_hostile({ scripts, seed, places = 3, alone_ms = 3000, say = () => {} }) {
  const server = await Server.start({ settings });
  server.control.call_ms = 60000 * slow;
  const report = { scripts: 0, files: 0, refused: 0, longest: 0, outcomes: {} };
  try {
    const good = await server.institution('good');
    await good.deploy('service', 'probe', probe);
    await good.account('someone', ['student']);
    const { token } = await good.client('someone');
    const bad = [];
    for (let i = 0; i < places; i++) {
      const place = await server.institution(`bad${i}`);
      await place.account('someone', ['student']);
      const client = await place.client('someone');
      client.call_ms = 60000 * slow;
      bad.push({ place, client });
    }
    const stop_alone = start_neighbour(server.url, token);
    await sleep(alone_ms);
    report.alone = await stop_alone();
    const stop_beside = start_neighbour(server.url, token);
    const random = generator(seed);
    let left = scripts;
    let told = 0;
    await Promise.all(bad.map(async ({ place, client }) => {
      while (left > 0) {
        const count = Math.min(left, bodies_per_plugin + 2);
        left -= count;
        await run_seeds(place, client, Array.from({ length: count }, () => Math.floor(random() * 2 ** 31)), report);
        if (report.scripts - told >= 500) say(`${(told = report.scripts)} scripts`);
      }
    }));
    report.beside = await stop_beside();
    if (report.beside.failed.length || report.alone.failed.length) throw new Error(`the neighbour lost calls: ${report.beside.failed.slice(0, 3)}`);
    if (server.child.exitCode !== null) throw new Error('the server ended');
    const metrics = await server.metrics();
    report.ends = Object.fromEntries([...metrics.matchAll(/^hamroh_workers_ended_total\{reason="(\w+)"\} (\d+)$/gm)].map(([, why, n]) => [why, Number(n)]).filter(([, n]) => n));
    if (/AddressSanitizer|runtime error:/.test(server.log)) throw new Error('a sanitizer spoke');
  } catch (error) {
    error.message += `\n--- log of the server ---\n${server.log.slice(-6000)}`;
    throw error;
  } finally {
    await server.stop();
  }
  if (server.exit.code !== 0) throw new Error(`the server ended with ${server.exit.signal ?? server.exit.code}:\n${server.log.slice(-6000)}`);
  return report;
}

if (process.argv[2] === 'neighbour') await neighbour(process.argv[3], process.argv[4]).catch(() => process.exit(1));
