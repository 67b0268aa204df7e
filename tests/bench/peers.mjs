// The servers that an institution's programmer would pick instead, each doing the same operation honestly, and durably. A peer that
// is not installed is left out. Each gives { name, port, pid, protocol, get, send, stop }: files of requests for the load generator.
import { execFileSync, execSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { free_port, has, here, lines, load, request, scratch, start, stop } from './measure.mjs';

const folder = (name) => {
  const dir = path.join(scratch, `${name}-${Math.random().toString(36).slice(2)}`);
  mkdirSync(dir);
  return dir;
};

async function node(world) {
  const place = path.join(here, 'peers');
  if (!existsSync(path.join(place, 'node_modules/lmdb'))) execFileSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: place, stdio: 'inherit' });
  const server = await start(process.execPath, [path.join(place, 'node.mjs'), folder('node')]);
  const setup = [lines('node-setup', world.pairs.map((p) => request('session.resume', { token: p.mentor }, 1))), lines('node-fill', world.pairs.map((p) => request('fill', { id: p.id, record: p.record }, 2)))];
  return {
    name: `Node ${process.versions.node}, ws and lmdb`,
    server,
    options: { setup },
    get: lines('node-get', world.pairs.map((p) => request('record.get', { type: 'pair', id: p.id }))),
    send: lines('node-send', world.pairs.map((p) => request('message.send', { to: `pair:${p.id}`, text: world.text }))),
  };
}

async function tarantool(world) {
  if (!has('tarantool')) return null;
  const port = await free_port();
  const server = await start('tarantool', [path.join(here, 'peers/tarantool.lua'), folder('tarantool'), port], { port, ready: /port \d+/ });
  const setup = [lines('tarantool-fill', world.pairs.map((p) => ['fill', p.id, p.mentor, JSON.stringify(p.record)].join('\t')))];
  const options = { setup, protocol: 'iproto' };
  const ready = { ...options, setup: [lines('tarantool-ready', world.pairs.map(() => 'echo\tx'))] };
  await load('call', { port: server.port, ...options, seconds: 0.1, message: ready.setup[0] }); // fills
  return {
    name: 'Tarantool 2.6',
    server,
    options: ready,
    get: lines('tarantool-get', world.pairs.map((p) => ['get', p.id, p.mentor].join('\t'))),
    send: lines('tarantool-send', world.pairs.map((p) => ['send', p.id, p.mentor, world.text].join('\t'))),
  };
}

async function redis(world) {
  if (!has('redis-server')) return null;
  const port = await free_port();
  const server = await start('redis-server', [path.join(here, 'peers/redis.conf'), '--port', port, '--dir', folder('redis')], { port, ready: /Ready to accept connections/ });
  const cli = (...args) => execFileSync('redis-cli', ['-p', String(port), ...args], { encoding: 'utf8' }).trim();
  const script = (name) => cli('script', 'load', readFileSync(path.join(here, `peers/${name}.lua`), 'utf8'));
  const [get, send] = [script('redis_get'), script('redis_send')];
  for (const p of world.pairs) {
    cli('sadd', `members:${p.id}`, p.mentor, p.mentee);
    cli('set', `pair:${p.id}`, JSON.stringify(p.record));
  }
  return {
    name: 'Redis 7',
    server,
    options: { protocol: 'resp' },
    get: lines('redis-get', world.pairs.map((p) => ['EVALSHA', get, 2, `pair:${p.id}`, `members:${p.id}`, p.mentor].join('\t'))),
    send: lines('redis-send', world.pairs.map((p) => ['EVALSHA', send, 3, `members:${p.id}`, `messages:${p.id}`, 'log', p.mentor, `pair:${p.id}`, world.text].join('\t'))),
  };
}

export async function open_peers(world, names) {
  const peers = [];
  for (const [name, open] of Object.entries({ node, tarantool, redis })) {
    if (names.length && !names.includes(name)) continue;
    try {
      const peer = await open(world);
      if (peer) peers.push({ key: name, ...peer, stop: () => stop(peer.server) });
      else console.log(`    ${name} is not installed`);
    } catch (error) {
      console.log(`    ${name}: ${error.message}`);
    }
  }
  return peers;
}

// How a process makes its writes durable, as seen from outside while it is under load: calls of fsync and the like a second (with
// strace), or files opened with O_SYNC.
export function durability(pid) {
  const synced = readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      const flags = parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))[1], 8);
      return flags & 0o4010000 && !readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('/dev');
    } catch {
      return false;
    }
  });
  let calls = '';
  if (has('strace')) {
    try {
      const text = execSync(`timeout -s INT 1 strace -f -c -e trace=fsync,fdatasync,sync_file_range,msync,pwrite64,writev -p ${pid} 2>&1 || true`, { encoding: 'utf8' });
      calls = [...text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/gm)].map(([, n, name]) => `${n} ${name}`).filter((t) => !t.includes('total')).join(', ');
    } catch {
      // not allowed here
    }
  }
  return [synced.length && `${synced.length} file with O_SYNC`, calls && `in a second under strace: ${calls}`].filter(Boolean).join('; ') || 'nothing seen';
}
