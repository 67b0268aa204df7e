// Clients that take their time, clients that are too many, and what the metrics say of both. The time limits are short here and
// minutes in life.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { Client, Server, password, refused, serve_for, sleep, slow } from './harness.mjs';
import { Raw, RawSocket, exchange, frame, headers_of, late_count, refused_count, status_of, upgrade } from './raw.mjs';

const LIMIT = 800;
const LARGE = 8_000_000; // more than the kernel's buffers
const web = mkdtempSync(path.join(tmpdir(), 'hamroh-web-'));
writeFileSync(path.join(web, 'large.txt'), 'x'.repeat(LARGE));
test.after(() => rmSync(web, { recursive: true, force: true }));
const world = serve_for(
  test,
  {
    args: ['--web', web],
    settings: `return { header_timeout_ms = ${LIMIT}, message_timeout_ms = ${LIMIT}, send_timeout_ms = ${LIMIT}, silence_timeout_ms = ${LIMIT * 2},
      stranger_timeout_ms = ${LIMIT * 3}, connections_per_address = 8, connections_per_account = 3, limit_loopback = true, trusted_proxy = "127.0.0.1" }`,
  },
  async (server) => {
    const place = await server.institution('door');
    for (const login of ['one', 'two']) await place.account(login, ['student']);
    return { place };
  },
);
const raw = () => Raw.open(world.server.http);

// Sends the parts one after the other, each a while after the one before, until the server hangs up.
async function dribble(connection, parts) {
  for (let i = 0; !connection.gone; i++) {
    connection.write(parts(i));
    await sleep(LIMIT / 12);
  }
}

// The body hangs up after its time whatever the client does; the counter tells which wait it was.
async function given_up(what, body) {
  const before = await late_count(world.server, what);
  await body();
  assert.ok((await late_count(world.server, what)) > before, `not counted as waited for ${what}`);
  assert.ok((await fetch(`${world.server.http}/healthz`)).ok);
}

// All of these wait, so they do it together.
test.describe('what is waited for', { concurrency: true }, () => {
  world.test('a connection on which nothing comes is hung up', () => given_up('head', async () => (await raw()).hung_up()));

  world.test('a head that comes byte by byte is not waited for, however steadily it comes', () =>
    given_up('head', async () => {
      const slow_one = await raw();
      slow_one.write('GET / HTTP/1.1\r\nHost: a\r\n');
      await dribble(slow_one, (i) => `X-Header-${i}: value\r\n`);
      assert.equal(slow_one.text, '');
    }));

  world.test('an upgrade that stops before its end is not waited for', () =>
    given_up('head', async () => {
      const half = await raw();
      half.write(upgrade().slice(0, -2));
      await half.hung_up();
    }));

  world.test('a body that comes byte by byte is not waited for', () =>
    given_up('message', async () => {
      const slow_one = await raw();
      slow_one.write('POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n');
      await dribble(slow_one, () => 'x');
    }));

  world.test('a message whose last fragment never comes is not waited for, although the client answers pings', () =>
    given_up('message', async () => {
      const socket = await RawSocket.open(world.server.http);
      socket.write(frame('{', { fin: false }));
      await dribble(socket.raw, (i) => (i % 2 ? frame('', { opcode: 10 }) : frame(' ', { opcode: 0, fin: false })));
    }));

  world.test('a fragment of nothing begins a message, too', () =>
    given_up('message', async () => {
      const socket = await RawSocket.open(world.server.http);
      socket.write(frame('', { fin: false }));
      await dribble(socket.raw, () => frame('still here', { opcode: 10 }));
    assert.ok(!socket.frames.some((f) => f.opcode === 8), 'it was closed for another reason');
    }));

  world.test('a frame whose payload never ends is not waited for', () =>
    given_up('message', async () => {
      const socket = await RawSocket.open(world.server.http);
      socket.write(frame('x'.repeat(2000), { length: 50_000 }));
      await dribble(socket.raw, () => 'x');
    }));

  world.test('a client that says nothing after the upgrade, and does not answer a ping, is given up', () =>
    given_up('silent', async () => {
      const socket = await RawSocket.open(world.server.http);
      await socket.raw.until('a ping', () => socket.frames.some((f) => f.opcode === 9));
      await socket.raw.hung_up();
    }));

  world.test('half the head of a frame, and nothing more, is silence', () =>
    given_up('silent', async () => {
      const socket = await RawSocket.open(world.server.http);
      socket.write(frame('{}').subarray(0, 3));
      await socket.raw.hung_up();
    }));

  world.test('a client that answers pings and never signs in is asked to go', () =>
    given_up('sign_in', async () => {
      const client = await world.server.connect(); // ws answers pings
      const { code, why } = await client.closed;
      assert.deepEqual([code, why], [1000, 'idle']);
    }));

  world.test('a client that answers pings and has signed in stays', async () => {
    const client = await world.place.client('two');
    await sleep(LIMIT * 4);
    assert.ok(await client.call('session.list'));
    client.close();
  });
});

// More than the kernel's buffers hold, so that something stays with the server.
world.test('a client that asks and never reads is given up', () =>
  given_up('send', async () => {
    const client = await world.server.connect();
    client.call_ms = 1e9;
    client.socket._socket.pause();
    for (let i = 0; i < 3000; i++) client.call('rpc.discover').catch(() => {});
    const before = await late_count(world.server, 'send');
    for (const end = Date.now() + 20000 * slow; (await late_count(world.server, 'send')) === before; await sleep(100)) assert.ok(Date.now() < end, 'it was not given up');
    const open = /^hamroh_connections (\d+)$/m; // gone for good, not only asked to go
    for (const end = Date.now() + 20000 * slow; Number(open.exec(await world.server.metrics())[1]) > 0; await sleep(100)) assert.ok(Date.now() < end, 'it is still there');
    client.socket._socket.resume();
    await client.closed;
  }));

world.test('a client that reads slowly, but reads, is not given up', async () => {
  const client = await world.server.connect();
  const socket = client.socket._socket;
  const calls = Array.from({ length: 1500 }, () => client.call('rpc.discover', { institution: 'door' })); // 60 MB
  socket.pause();
  for (let i = 0; i < 8; i++) {
    await sleep(LIMIT / 3);
    socket.resume();
    await sleep(1);
    socket.pause();
  }
  socket.resume();
  await Promise.all(calls);
  client.close();
});

// Each answer is 2 MB, so nothing is read from this client, its pongs neither, until it has taken most of that.
world.test('a client that takes large answers for longer than silence may last is not given up', async () => {
  const client = await RawSocket.open(world.server.http);
  const text = (value) => frame(JSON.stringify(value));
  client.write(text({ jsonrpc: '2.0', id: 1, method: 'session.login', params: { institution: 'door', login: 'two', password } }));
  assert.ok((await client.answer(1)).result);
  const { socket } = client.raw;
  socket.pause();
  const silent = await late_count(world.server, 'silent');
  const batches = 10; // more than the kernel's buffers
  for (let b = 0; b < batches; b++) client.write(text(Array.from({ length: 50 }, (_, i) => ({ jsonrpc: '2.0', id: `${b}.${i}`, method: 'rpc.discover', params: { institution: 'door' } }))));
  for (const end = Date.now() + LIMIT * 9; Date.now() < end; await sleep(LIMIT / 10)) socket.read(65536);
  socket.resume();
  await client.raw.until('all answers', () => client.frames.filter((f) => f.opcode === 1).length > batches);
  assert.equal(client.frames.filter((f) => f.opcode === 1).length, batches + 1);
  assert.equal(await late_count(world.server, 'silent'), silent);
  client.close();
});

world.test('a file that nobody takes is given up, and one that is taken slowly is not', () =>
  given_up('send', async () => {
    const get = 'GET /large.txt HTTP/1.1\r\nHost: a\r\n\r\n';
    const never = await raw();
    never.socket.pause();
    never.write(get);
    const slowly = await raw();
    slowly.write(get);
    const before = await late_count(world.server, 'send');
    for (const end = Date.now() + 20000 * slow; (await late_count(world.server, 'send')) === before; ) {
      assert.ok(Date.now() < end, 'it was not given up');
      slowly.socket.resume();
      await sleep(1);
      slowly.socket.pause();
      await sleep(LIMIT / 8);
    }
    slowly.socket.resume();
    await slowly.hung_up();
    assert.ok(slowly.bytes.length > LARGE, `${slowly.bytes.length} bytes came`);
    never.close();
  }));

world.test('who has not signed in may send small messages only', async () => {
  const text = JSON.stringify({ jsonrpc: '2.0', id: 'large', method: 'server.info', params: { pad: 'x'.repeat(65536) } });
  const stranger = await RawSocket.open(world.server.http);
  stranger.write(frame(text));
  assert.equal(await stranger.close_code(), 1009);
  const headers = { 'Content-Type': 'application/json' };
  assert.equal((await fetch(`${world.server.http}/rpc`, { method: 'POST', headers, body: text })).status, 413);
  const known = await world.place.client('two');
  headers.Authorization = `Bearer ${known.token}`;
  assert.equal((await fetch(`${world.server.http}/rpc`, { method: 'POST', headers, body: text })).status, 200);
  known.socket.send(text);
  await known.call('session.list'); // it is still there
  known.close();
});

// Four hold 62 MB each of what never ends, two of them as bodies of a request; the fifth, with 63 MB, is too much.
world.test('when unfinished messages are too many, who holds most goes and all others stay', async () => {
  const server = await Server.start({ settings: 'return { message_bytes = 33554432, message_timeout_ms = 600000 }' });
  try {
    const place = await server.institution('hoard');
    await place.account('one', ['student']);
    const client = await place.client('one');
    const MB = 1 << 20;
    const mask_of_zeros = (length) => Buffer.from([0x81, 0xff, 0, 0, 0, 0, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255, 0, 0, 0, 0]);
    const partial = async () => Number(/^hamroh_incomplete_messages_bytes (\d+)$/m.exec(await server.metrics())[1]);
    const reach = async (bytes) => {
      for (const end = Date.now() + 60000 * slow; (await partial()) < bytes; await sleep(50)) assert.ok(Date.now() < end, `${await partial()} of ${bytes} bytes have come`);
    };
    const by_frame = async (bytes) => {
      const socket = await RawSocket.open(server.http);
      socket.write(frame(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'session.login', params: { institution: 'hoard', login: 'one', password } })));
      assert.ok((await socket.answer(1)).result);
      socket.write(mask_of_zeros(bytes + 1), Buffer.alloc(bytes, 'x'));
      return socket;
    };
    const by_body = async (bytes) => {
      const it = await Raw.open(server.http);
      it.write(`POST /rpc HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${client.token}\r\nContent-Length: ${bytes + 1}\r\n\r\n`);
      it.write(Buffer.alloc(bytes, 'x'));
      return it;
    };
    const frames = [];
    const bodies = [];
    for (let i = 0; i < 4; i++) {
      frames.push(await by_frame(31 * MB));
      bodies.push(await by_body(31 * MB));
    }
    await reach(248 * MB);
    const small = await RawSocket.open(server.http);
    small.write(frame('{"jsonrpc":"2.0","method":"server.info",', { fin: false }));
    const next = await by_body(8 * MB); // over the limit, and yet not the one that goes
    const first_gone = await Promise.race([...frames.map((it) => it.close_code()), ...bodies.map((it) => it.hung_up().then(() => it.status()))]);
    assert.ok([1013, 503, 0].includes(first_gone), `ended with ${first_gone}`);
    await reach(200 * MB);
    assert.ok(!next.gone);
    small.write(frame('"id":"small"}', { opcode: 0 }));
    assert.ok((await small.answer('small')).result);
    assert.ok(await client.call('session.list'));
    assert.equal([...frames, ...bodies].filter((it) => it.gone || it.raw?.gone || it.frames?.some((f) => f.opcode === 8)).length, 1, 'more than one had to go');
    const last = await by_frame(31.5 * MB);
    await Promise.race([...frames, ...bodies].filter((it) => !(it.gone || it.raw?.gone)).map((it) => (it.raw ?? it).hung_up()).concat(last.close_code()));
    for (const it of [...frames, ...bodies, small, next, last]) it.close();
  } finally {
    await server.stop();
  }
});

world.test('as many sockets as the settings say after they were read again', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-more-'));
  const server = await Server.start({ dir, settings: 'return { connections_max = 16 }' });
  try {
    const held = [];
    const more = async (count) => {
      for (let i = 0; i < count; i++) held.push(await Raw.open(server.http));
    };
    await more(300); // 16 and 256 are let in
    await held.at(-1).hung_up();
    held.splice(0).forEach((one) => one.close());
    writeFileSync(path.join(dir, 'settings.lua'), 'return { connections_max = 400 }');
    process.kill(server.pid, 'SIGHUP');
    for (const end = Date.now() + 10000 * slow; !server.log.includes('settings.reloaded'); await sleep(50)) assert.ok(Date.now() < end, 'not read again');
    await more(300);
    assert.equal(status_of(await exchange(server.http, 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')), 200);
    assert.ok(held.every((one) => !one.gone), 'some were hung up');
    held.forEach((one) => one.close());
  } finally {
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});

// ---- how many. The test's own address is a trusted proxy, so X-Forwarded-For says who somebody is.

const from = (address, options = {}) => Client.open(world.server.url, { ...options, headers: { 'X-Forwarded-For': address } });
const all = async (clients, expected) => {
  for (const client of clients) client.close();
  for (const end = Date.now() + 10000 * slow; ; await sleep(50)) {
    const open = Number(/^hamroh_connections (\d+)$/m.exec(await world.server.metrics())[1]);
    if (open <= expected) return;
    assert.ok(Date.now() < end, `${open} connections are still open`);
  }
};

world.test('one address gets so many connections and no more, and another address is not hindered', async () => {
  const before = await refused_count(world.server, 'address');
  const clients = await Promise.all(Array.from({ length: 8 }, () => from('192.0.2.7')));
  const ninth = await from('192.0.2.7').catch((error) => error);
  assert.equal(ninth.status, 429);
  assert.equal(await refused_count(world.server, 'address'), before + 1);
  const neighbour = await from('192.0.2.8');
  assert.ok(await neighbour.call('server.info'));
  clients.pop().close();
  for (const end = Date.now() + 10000 * slow; ; await sleep(50)) {
    const again = await from('192.0.2.7').catch((error) => error);
    if (again instanceof Client && clients.push(again)) break;
    assert.ok(Date.now() < end, 'a place that became free was not given again');
  }
  await all([...clients, neighbour], 0);
});

world.test('one /64 of IPv6 is one address, and IPv4 in the form of IPv6 is itself', async () => {
  const clients = [];
  for (let i = 0; i < 8; i++) clients.push(await from(`2001:db8:1:2::${i + 1}`));
  assert.equal((await from('2001:db8:1:2:ffff::1').catch((error) => error)).status, 429);
  clients.push(await from('2001:db8:1:3::1'));
  await all(clients, 0);
  const four = [];
  for (let i = 0; i < 8; i++) four.push(await from(i % 2 ? '::ffff:192.0.2.9' : '192.0.2.9:4711'));
  assert.equal((await from('192.0.2.9').catch((error) => error)).status, 429);
  await all(four, 0);
});

world.test('what stands to the left in X-Forwarded-For is anybody’s word and not believed', async () => {
  const clients = [];
  for (let i = 0; i < 8; i++) clients.push(await from(`198.51.100.${i}, 192.0.2.10`));
  assert.equal((await from('203.0.113.9, 192.0.2.10').catch((error) => error)).status, 429);
  const long = Array.from({ length: 60 }, (_, i) => `203.0.113.${i}`).join(', ');
  assert.equal((await from(`${long}, 192.0.2.10`).catch((error) => error)).status, 429, 'a long list hid the address');
  clients.push(await from('192.0.2.11, 127.0.0.1')); // our own proxies on the way are looked through
  await all(clients, 0);
});

world.test('a refused upgrade says when to come again', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => from('192.0.2.12')));
  const answer = await exchange(world.server.http, upgrade({ 'X-Forwarded-For': '192.0.2.12' }));
  assert.equal(status_of(answer), 429);
  assert.ok(Number(headers_of(answer)['retry-after']) > 0);
  await all(clients, 0);
});

world.test('one account gets so many connections, and what is over is refused at sign-in without a session left behind', async () => {
  const before = await refused_count(world.server, 'account');
  const clients = [];
  for (let i = 0; i < 3; i++) clients.push(await world.place.client('one'));
  const fourth = await world.server.connect();
  const error = await refused(fourth.login('door', 'one'), -32005);
  assert.equal(error.data.reason, 'connections');
  assert.ok(error.data.retry_after > 0);
  await refused(fourth.call('session.resume', { token: clients[0].token }), -32005);
  await refused(fourth.call('session.list'), -32001); // it is not signed in
  assert.equal(await refused_count(world.server, 'account'), before + 2);
  assert.ok(await clients[0].call('session.list'), 'the session that was resumed in vain must go on');
  for (const end = Date.now() + 10000 * slow; (await clients[0].call('session.list')).items.length !== 3; await sleep(50)) assert.ok(Date.now() < end, 'a session was left behind');
  clients.push(await world.place.client('two')); // another account
  clients[1].close();
  for (const end = Date.now() + 10000 * slow; ; await sleep(50)) {
    const again = await fourth.login('door', 'one').catch((e) => e);
    if (again.token) break;
    assert.ok(Date.now() < end, 'a place that became free was not given again');
  }
  await fourth.login('door', 'one'); // once more on the same connection: it counts once
  await all([...clients, fourth], 0);
});
