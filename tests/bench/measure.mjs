// What the measurements share: programs beside this file, the load generator, how a figure is printed.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { family } from './proc.mjs';

export { family, resident } from './proc.mjs';

export const here = path.dirname(fileURLToPath(import.meta.url));
export const quick = process.argv.includes('--quick');
export const seconds = quick ? 2 : 5;
export const scratch = mkdtempSync(path.join(tmpdir(), 'hamroh-bench-'));
export const built = path.join(here, '../../build/bench');

// ---- programs -------------------------------------------------------------------------------------

export function build(name, ...options) {
  const source = path.join(here, `${name}.c`);
  const program = path.join(built, name);
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(built, { recursive: true });
    execFileSync('cc', ['-O2', '-std=c17', '-D_GNU_SOURCE', '-o', program, source, ...options], { stdio: 'inherit' });
  }
  return program;
}

export function has(program) {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export function free_port() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

const running = new Set();
// Starts a program that prints "port N" (or, with options.ready, another sign) when it is ready.
export async function start(program, args = [], options = {}) {
  const begun = performance.now();
  const child = spawn(program, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  running.add(child);
  let out = '';
  let trouble = '';
  child.stderr.on('data', (text) => (trouble = (trouble + text).slice(-2000)));
  const sign = options.ready ?? /port (\d+)/;
  const port = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${program} was not ready within 30 s: ${out}${trouble}`)), 30000);
    child.once('exit', () => reject(new Error(`${program} ended: ${out}${trouble}`)));
    child.stdout.on('data', (text) => {
      out += text;
      const found = sign.exec(out);
      if (!found) return;
      clearTimeout(late);
      resolve(Number(found[1] ?? options.port));
    });
  });
  child.removeAllListeners('exit');
  return { child, pid: child.pid, port: options.port ?? port, ms: performance.now() - begun };
}

export async function stop(program) {
  running.delete(program.child);
  const gone = new Promise((resolve) => program.child.once('exit', resolve));
  if (program.child.exitCode !== null || program.child.signalCode !== null) return;
  program.child.kill('SIGKILL');
  await gone;
}

export function stop_all() {
  for (const child of running) child.kill('SIGKILL');
}


// ---- load -----------------------------------------------------------------------------------------

const load_program = build('load');

export function lines(name, list) {
  const file = path.join(scratch, name);
  writeFileSync(file, list.join('\n') + '\n');
  return file;
}

// The result of the load generator; pid: whose CPU time is counted, with the processes it has then.
export async function load(mode, { pid, ...options }) {
  const args = [mode];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    for (const one of [value].flat()) args.push(`--${name}`, ...(one === true ? [] : [String(one)]));
  }
  for (const one of pid ? family(pid) : []) args.push('--pid', String(one));
  const child = spawn(load_program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  let out = '';
  let trouble = '';
  child.stdout.on('data', (text) => (out += text));
  child.stderr.on('data', (text) => (trouble += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  running.delete(child);
  if (code !== 0) throw new Error(`load ${args.join(' ')} ended with ${code}: ${trouble}`);
  const result = JSON.parse(out);
  result.trouble = trouble.trim();
  return result;
}

// Holds idle connections while `during` runs.
export async function with_idle(options, during) {
  const args = ['idle', ...Object.entries(options).flatMap(([name, value]) => [value].flat().flatMap((one) => [`--${name}`, String(one)]))];
  const child = spawn(load_program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error('load idle ended')));
  });
  try {
    return await during();
  } finally {
    child.removeAllListeners('exit');
    child.stdin.end();
    await new Promise((resolve) => child.once('close', resolve));
    running.delete(child);
  }
}

export const request = (method, params, id = '#ID#######') => JSON.stringify({ jsonrpc: '2.0', method, params, id });

// ---- what is printed ------------------------------------------------------------------------------

export const table = [];
export const number = (n) => (n >= 1000 ? Math.round(n).toLocaleString('en') : n >= 100 ? n.toFixed(0) : n.toPrecision(n >= 10 ? 3 : 2));

// Ours, and beside it each of the others with the ratio ours / other. `goal` is what the ratio is to reach ('>= 0.9', '<= 1.35').
export function row(what, unit, ours, others, more = '') {
  console.log(`${what.padEnd(46)} ${`${number(ours)} ${unit}`.padStart(18)}${more ? `   ${more}` : ''}`);
  for (const { name, value, goal, note } of others) {
    if (value === undefined) {
      console.log(`    ${name.padEnd(42)} ${'not here'.padStart(18)}`);
      continue;
    }
    const ratio = ours / value;
    const [sign, bound] = goal ? goal.split(' ') : [];
    const met = !goal ? '' : (sign === '>=' ? ratio >= Number(bound) : ratio <= Number(bound)) ? ` (to be ${goal}: reached)` : ` (to be ${goal}: NOT reached)`;
    console.log(`    ${name.padEnd(42)} ${`${number(value)} ${unit}`.padStart(18)}   ratio ${ratio.toFixed(2)}${met}${note ? `; ${note}` : ''}`);
    table.push({ what, unit, ours, name, value, ratio, goal });
  }
  if (!others.length) table.push({ what, unit, ours });
}

export const middle = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
