// The server as a service: what it tells systemd, sockets handed to it, how it ends, and settings read again.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { bin, Client, refused, RpcError, Server, sleep, slow } from './harness.mjs';
import { probe } from './probe.mjs';

const helper = (name) => path.join(path.dirname(bin), name);
const skip = !existsSync(helper('as_systemd')) && `no ${helper('as_systemd')} beside the program under test (built with BUILD_TESTING)`;

const busy = `
return service {
  id = "busy",
  methods = {
    ["busy.loop"] = { summary = "computes until its limit", access = "signed_in", run = function() while true do end end },
    ["busy.put"] = { summary = "takes its time, then writes", access = "signed_in", writes = true, params = { text = text {} },
      run = function(ctx, p)
        local n = 0
        for i = 1, 200000 do n = n + i end
        return store.put("probe", { data = { text = p.text }, audience = { "institution" } })
      end },
    ["busy.text"] = { summary = "a long text", access = "signed_in", run = function() return string.rep("x", 20000) end },
    ["busy.job"] = { summary = "a job that computes until its limit", access = "signed_in", job = true,
      run = function() while true do end end },
  },
}
`;

// Waits until the function gives something, within a generous limit.
async function until(what, fn, ms = 30000 * slow) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const found = await fn();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
  }
}
const logged = (server, event) =>
  server.log.split('\n').filter((line) => line.includes(`"event":"${event}"`)).map((line) => JSON.parse(line));

const open = []; // ended by force when a test did not come to their end
test.after(() => open.forEach((child) => child.exitCode ?? child.signalCode ?? child.kill('SIGKILL')));

// A server with an institution that has a few accounts and the plugins above.
async function school(settings, prepare = async () => {}) {
  const server = await Server.start({ settings });
  open.push(server.child);
  const place = await server.institution('home');
  await place.deploy('service', 'probe', probe);
  await place.deploy('service', 'busy', busy);
  for (let i = 0; i < 4; i++) await place.account(`user${i}`, ['student'], `person-${i}`);
  await prepare(place);
  return { server, place };
}

// Runs the server as systemd would; `lines` is what was told.
async function as_systemd(options, args) {
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-service-'));
  const data = path.join(dir, 'data');
  await new Promise((resolve, reject) => spawn(bin, ['init', '--data', data], { stdio: 'ignore' }).once('exit', (code) => (code ? reject(new Error(`init: ${code}`)) : resolve())));
  const child = spawn(helper('as_systemd'), [...options, bin, 'serve', '--data', data, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const service = { child, dir, data, lines: [], log: '' };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    service.lines.push(...lines);
  });
  child.stderr.setEncoding('utf8').on('data', (text) => (service.log += text));
  service.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(signal ?? code)));
  service.told = (pattern, from = 0) => service.lines.slice(from).some((line) => pattern.test(line));
  service.wait = (pattern, from = 0) => until(`${pattern} in\n${service.lines.join('\n')}\n${service.log}`, () => service.told(pattern, from));
  service.stop = async () => {
    child.kill('SIGTERM');
    const code = await service.exited;
    rmSync(dir, { recursive: true, force: true });
    return code;
  };
  return service;
}
const address = (service) => /http:\/\/\S+/.exec(service.lines.find((line) => line.startsWith('hamroh is serving')))[0];

test('systemd is told when the server answers, when it reads its settings again, and when it ends', { skip }, async () => {
  const service = await as_systemd([], ['--listen', '127.0.0.1:0']);
  try {
    await service.wait(/^READY=1\|STATUS=/);
    assert.equal((await fetch(`${address(service)}healthz`)).status, 200);
    assert.ok(!service.told(/WATCHDOG=1/), 'nobody asked for a watchdog');
    const before = service.lines.length;
    service.child.kill('SIGHUP');
    await service.wait(/^RELOADING=1\|MONOTONIC_USEC=\d+$/, before);
    await service.wait(/^READY=1$/, before);
    service.child.kill('SIGTERM');
    await service.wait(/^STOPPING=1\|STATUS=.*\|EXTEND_TIMEOUT_USEC=\d+$/);
  } finally {
    assert.equal(await service.stop(), 0, service.log);
  }
});

test('the watchdog hears of a server whose commits move, and hears nothing while one hangs', { skip }, async () => {
  const service = await as_systemd(['--watchdog', '400000'], ['--listen', '127.0.0.1:0']);
  let holder;
  try {
    await service.wait(/^READY=1/);
    await until('three signs of life', () => service.lines.filter((line) => line === 'WATCHDOG=1').length >= 3);
    holder = spawn(helper('hold_writes'), [path.join(service.data, 'institutions/cluster/data')], { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    // A write that cannot go through, over the control socket.
    const script = path.join(service.dir, 'write.lua');
    writeFileSync(script, 'must("institution.create", { id = "late", title = { en = "Late" } })');
    const write = spawn(bin, ['run', '--data', service.data, script], { stdio: 'ignore' });
    const written = new Promise((resolve) => write.once('exit', resolve));
    await until('the server to see it', () => service.log.includes('server.commit_stuck'));
    const heard = service.lines.length;
    await until('it to be seen again', () => service.log.split('server.commit_stuck').length > 4);
    assert.ok(!service.told(/WATCHDOG=1/, heard), 'a sign of life although nothing is committed');
    assert.equal((await fetch(`${address(service)}healthz`)).status, 200); // the loop itself turns
    holder.stdin.end();
    assert.equal(await written, 0);
    await service.wait(/^WATCHDOG=1$/, service.lines.length);
  } finally {
    holder?.kill();
    assert.equal(await service.stop(), 0, service.log);
  }
});

test('a socket that was handed over is served, and who connects while the server is replaced waits for the next one', { skip }, async () => {
  const service = await as_systemd(['--socket', '0'], ['--listen', '127.0.0.1:1']);
  try {
    await service.wait(/^READY=1/);
    const port = Number(/^socket (\d+)$/.exec(service.lines[0])[1]);
    const http = `http://127.0.0.1:${port}`;
    assert.equal(address(service), `${http}/`);
    assert.equal((await fetch(`${http}/readyz`)).status, 200);
    const client = await Client.open(`ws://127.0.0.1:${port}/rpc`);
    assert.ok((await client.call('server.info')).version);
    const before = service.lines.length;
    const pid = Number(/^pid (\d+)$/.exec(service.lines.find((line) => line.startsWith('pid ')))[1]);
    process.kill(pid, 'SIGTERM');
    await until('it to be stopping', () => service.log.includes('"server.stopping"'));
    const late = fetch(`${http}/healthz`); // in the queue of the socket
    assert.equal((await client.closed).code, 1001);
    await service.wait(/^pid \d+$/, before);
    assert.equal((await late).status, 200);
    await service.wait(/^READY=1/, before);
  } finally {
    assert.equal(await service.stop(), 0, service.log);
  }
});

test('what was handed over and is no listening socket is refused in words', { skip }, async () => {
  const child = spawn('sh', ['-c', `exec 3</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve --data "$1"`, bin, tmpdir()], { stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 1);
  assert.match(err, /descriptor 3 .* no listening TCP socket/);
});

test('a listening socket of the file system that was handed over is refused, since nobody there has an address', { skip }, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'hamroh-unix-'));
  const server = net.createServer();
  await new Promise((resolve) => server.listen(path.join(folder, 'socket'), resolve));
  const child = spawn('sh', ['-c', 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve --data "$1"', bin, folder], { stdio: ['ignore', 'ignore', 'pipe', server._handle.fd] });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
  assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 1);
  assert.match(err, /descriptor 3 .* no listening TCP socket/);
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test('a server that is asked to end in the middle of writes answers every call, loses none it acknowledged, and says 1001', async () => {
  const { server, place } = await school();
  const clients = await Promise.all([0, 1, 2, 3].map((i) => place.client(`user${i}`)));
  const outcomes = new Map(); // text -> 'stored' | 'refused'
  let first;
  const some = new Promise((resolve) => (first = resolve));
  const settle = (text) => [
    () => (outcomes.set(text, 'stored'), first()),
    (error) => {
      if (error.code !== -32009) throw error;
      outcomes.set(text, 'refused');
    },
  ];
  const writes = clients.flatMap((client, c) =>
    Array.from({ length: 60 }, (_, i) => client.call('busy.put', { text: `ws-${c}-${i}` }).then(...settle(`ws-${c}-${i}`))));
  const posts = Array.from({ length: 20 }, async (_, i) => {
    const body = JSON.stringify({ jsonrpc: '2.0', method: 'busy.put', params: { text: `post-${i}` }, id: i });
    const response = await fetch(`${server.http}/rpc`, { method: 'POST', body, headers: { authorization: `Bearer ${clients[0].token}` } });
    const answer = await response.json();
    if (answer.error && answer.error.code !== -32009) throw new Error(JSON.stringify(answer));
    outcomes.set(`post-${i}`, answer.error ? 'refused' : 'stored');
  });
  await some;
  await until('a POST to be under way', async () => /^hamroh_http_answering [1-9]/m.test(await (await fetch(`${server.http}/metrics`)).text()) || [...outcomes.keys()].some((k) => k.startsWith('post')));
  server.child.kill('SIGTERM');
  await Promise.all(writes);
  const posted = await Promise.allSettled(posts);
  for (const client of clients) assert.equal((await client.closed).code, 1001);
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  // A POST whose connection was not accepted yet is told so by the connection; every other got its answer.
  for (const { reason } of posted.filter((p) => p.status === 'rejected')) assert.equal(reason.message, 'fetch failed', String(reason.stack));
  await server.serve();
  open.push(server.child);
  const again = await place_client(server, 'user0');
  const kept = new Set();
  for (let cursor; ; ) {
    const page = await again.call('record.list', { type: 'probe', limit: 200, ...(cursor && { cursor }) });
    page.items.forEach((item) => kept.add(item.data.text));
    if (!(cursor = page.cursor)) break;
  }
  for (const [text, outcome] of outcomes) assert.equal(kept.has(text), outcome === 'stored', `${text} was ${outcome}`);
  assert.ok([...outcomes.values()].includes('stored'));
  again.close();
  await server.stop();
});

test('what is on its way to slow clients when the server is asked to end arrives whole', async () => {
  const { server, place } = await school();
  const client = await place.client('user0');
  for (let i = 0; i < 50; i++) await client.call('probe.put', { text: 'x'.repeat(20000) });
  const list = (id) => ({ jsonrpc: '2.0', method: 'record.list', params: { type: 'probe', limit: 50 }, id });
  // More than the buffers between the two take, to clients that do not read.
  const body = JSON.stringify(Array.from({ length: 20 }, (_, i) => list(i)));
  const socket = net.connect(Number(new URL(server.http).port), '127.0.0.1');
  socket.write(`POST /rpc HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${client.token}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  // One client's calls were all read before the first was answered; the other has asked for more than the server reads from
  // one who does not take its answers.
  const other = await place.client('user1');
  const figure = async (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(await (await fetch(`${server.http}/metrics`)).text())[1]);
  const workers = execFileSync('ps', ['-o', 'pid=', '--ppid', String(server.pid)]).toString().trim().split(/\s+/).map(Number);
  client.socket.pause();
  workers.forEach((pid) => process.kill(pid, 'SIGSTOP'));
  const texts = Array.from({ length: 600 }, () => client.call('busy.text').then((text) => text.length, String));
  await until('them to be read', async () => (await figure('hamroh_open_calls')) === 600);
  workers.forEach((pid) => process.kill(pid, 'SIGCONT'));
  other.socket.pause();
  const ask = (method, params) => other.call(method, params).then(() => 'told', (error) => error.code);
  const lists = Array.from({ length: 8 }, () => ask('record.list', { type: 'probe', limit: 50 }));
  const more = Array.from({ length: 6000 }, () => ask('server.info'));
  await until('all to be choked', async () =>
    (await figure('hamroh_open_calls')) === 0 && (await figure('hamroh_http_answering')) === 1 && (await figure('hamroh_out_queue_bytes')) > 3e6);
  server.child.kill('SIGTERM');
  await until('every call to be answered', () => logged(server, 'net.answered').length);
  client.socket.resume();
  other.socket.resume();
  assert.deepEqual([...new Set(await Promise.all(texts))], [20000]);
  const got = await Promise.all(lists);
  assert.ok(got[0] === 'told' && got.every((outcome) => outcome === 'told' || outcome === -32009), `${got}`);
  // While its answers wait, a client is not read: what it had asked beyond them is refused in words.
  assert.deepEqual([...new Set(await Promise.all(more))], [-32009]);
  assert.equal((await client.closed).code, 1001);
  assert.equal((await other.closed).code, 1001);
  let text = '';
  socket.setEncoding('utf8').on('data', (part) => (text += part));
  await new Promise((resolve) => socket.once('close', resolve));
  const [head, whole] = text.split('\r\n\r\n');
  assert.equal(whole.length, Number(/Content-Length: (\d+)/.exec(head)[1]));
  assert.equal(JSON.parse(whole).length, 20);
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  await server.stop();
});

async function place_client(server, login) {
  const client = await server.connect();
  await client.login('home', login);
  return client;
}

const patient = 'return { cpu_ms = 60000, deadline_ms = 600000, job_cpu_ms = 600000, job_deadline_ms = 600000, drain_seconds = 3600 }';

test('while it ends, the server refuses what is new, and a second signal ends it at once', async () => {
  const { server, place } = await school(patient);
  const client = await place.client('user0');
  const stored = await client.call('probe.put', { text: 'before' });
  client.call_ms = 600000;
  const loop = client.call('busy.loop').catch((error) => error);
  await until('the call to run', async () => /^hamroh_running_calls\{institution="home"\} 1$/m.test(await (await fetch(`${server.http}/metrics`)).text()));
  server.child.kill('SIGTERM');
  await until('it to be stopping', () => logged(server, 'server.stopping').length);
  const error = await refused(client.call('probe.put', { text: 'after' }), -32009);
  assert.match(error.data.message, /shutting down/);
  await assert.rejects(fetch(`${server.http}/healthz`)); // nobody new
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  assert.equal((await client.closed).code, 1001);
  assert.ok(!((await loop) instanceof RpcError), 'the call was waited for');
  await server.serve();
  open.push(server.child);
  const again = await place_client(server, 'user0');
  assert.equal((await again.call('record.get', { type: 'probe', id: stored.id })).data.text, 'before');
  again.close();
  await server.stop();
});

test('what does not end within drain_seconds is left, and the log says so', async () => {
  const { server, place } = await school(patient.replace('3600', '1'));
  const client = await place.client('user0');
  client.call('busy.loop').catch(() => {});
  await until('the call to run', async () => /^hamroh_running_calls\{institution="home"\} 1$/m.test(await (await fetch(`${server.http}/metrics`)).text()));
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  assert.deepEqual(logged(server, 'server.drain_limit').map((line) => line.seconds), [1]);
  assert.equal((await client.closed).code, 1001);
  await server.stop();
});

test('a job that the end of the server cuts off, and one that waited, are failed with words that say why', async () => {
  const { server, place } = await school(patient);
  const client = await place.client('user0');
  const jobs = [];
  for (let i = 0; i < 4; i++) jobs.push((await client.call('busy.job')).job); // two run, two wait
  await until('two to run', async () => /^hamroh_jobs_running\{institution="home"\} 2$/m.test(await (await fetch(`${server.http}/metrics`)).text()));
  server.child.kill('SIGTERM');
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.log);
  await server.serve();
  open.push(server.child);
  const again = await place_client(server, 'user0');
  for (const id of jobs) {
    const job = await again.call('job.get', { id });
    const { state, error } = job.data ?? job;
    assert.equal(state, 'failed');
    assert.deepEqual([error.code, error.message], [-32009, 'server restarted']);
  }
  again.close();
  await server.stop();
});

test('SIGHUP takes over what may change, names what needs a restart, and a wrong file changes nothing', async () => {
  const { server, place } = await school('return { message_bytes = 4096 }');
  const file = path.join(server.dir, 'settings.lua');
  const client = await place.client('user0');
  const reload = async (text, event, count) => {
    writeFileSync(file, text);
    server.child.kill('SIGHUP');
    return until(event, () => logged(server, event).length >= count && logged(server, event));
  };
  try {
    assert.equal(logged(server, 'call').length, 0);
    const [said] = await reload('return { message_bytes = 20000, log_level = "debug", map_max = 2 ^ 33, feed_queue = 99 }', 'settings.reloaded', 1);
    assert.deepEqual([said.taken, said.needs_restart, said.level], [['message_bytes', 'log_level'], ['feed_queue', 'map_max'], 'warn']);
    await client.call('probe.put', { text: 'x'.repeat(8000) }); // over the old limit
    const call = await until('a line for the call', () => logged(server, 'call').find((line) => line.method === 'probe.put'));
    assert.deepEqual([call.institution, call.code, call.level], ['home', 0, 'debug']);

    const problems = await reload('return { message_bytes = "many", no_such = 1 }', 'settings.problem', 2);
    assert.deepEqual(problems.map((line) => line.text.split(':')[0]).sort(), ['message_bytes', 'no_such']);
    await client.call('probe.put', { text: 'x'.repeat(8000) });
    await reload('return { message_bytes = 1024,', 'settings.problem', 3);
    await client.call('probe.put', { text: 'x'.repeat(8000) });

    await reload('return { message_bytes = 1024 }', 'settings.reloaded', 2);
    client.call('probe.put', { text: 'x'.repeat(8000) }).catch(() => {});
    assert.equal((await client.closed).code, 1009);
  } finally {
    client.close();
    await server.stop();
  }
});
