// JSON-RPC 2.0 over the WebSocket of a real server: the specification's frames, errors, batches, limits of frames.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { refused, serve_for, shared, sleep } from './harness.mjs';
import { probe } from './probe.mjs';

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('spec');
  await place.deploy('service', 'probe', probe);
  await place.account('someone', ['student'], 'person-1'); // idem keys are kept by person
  await place.account('admin', ['administrator']);
  return { place };
});

// What comes back for one raw frame within a short time; null when nothing does.
async function exchange(client, frame) {
  const got = [];
  const listen = (text) => got.push(JSON.parse(text));
  client.socket.on('message', listen);
  client.socket.send(frame);
  client.socket.send('{"jsonrpc":"2.0","method":"subtract","params":[0,0],"id":"fence"}');
  const end = Date.now() + 10000;
  while (!got.some((m) => m.id === 'fence') && Date.now() < end) await sleep(5);
  // A frame that is answered later than the fence has its turn too.
  await sleep(50);
  client.socket.off('message', listen);
  const rest = got.filter((m) => m.id !== 'fence');
  assert.ok(rest.length <= 1, `more than one answer: ${JSON.stringify(rest)}`);
  return rest[0] ?? null;
}

const by_id = (list) => [...list].sort((a, b) => JSON.stringify(a.id).localeCompare(JSON.stringify(b.id)));

const frames_file = path.join(shared, 'jsonrpc-spec-frames.json');
world.test('every frame of the specification is answered as the specification says', { skip: !existsSync(frames_file) && `no ${frames_file}` }, async () => {
  const client = await world.place.client('someone');
  for (const { name, in: frame, out } of JSON.parse(readFileSync(frames_file, 'utf8')).cases) {
    const answer = await exchange(client, frame);
    if (Array.isArray(out)) assert.deepEqual(by_id(answer), by_id(out), name);
    else assert.deepEqual(answer, out, name);
  }
  client.close();
});

world.test('ids come back as they were written, and fifty-one calls are too many for a batch', async () => {
  const client = await world.place.client('someone');
  for (const id of ['1e2', '"\\u0041"', 'null', '-0', '12345678901234567890']) {
    const raw = new Promise((resolve) => client.socket.once('message', (text) => resolve(String(text))));
    client.socket.send(`{"jsonrpc":"2.0","method":"sum","params":[1],"id":${id}}`);
    assert.equal(await raw, `{"jsonrpc":"2.0","result":1,"id":${id}}`);
  }
  const batch = (n) => JSON.stringify(Array.from({ length: n }, (_, id) => ({ jsonrpc: '2.0', method: 'sum', params: [id], id })));
  assert.equal((await exchange(client, batch(50))).length, 50);
  assert.equal((await exchange(client, batch(51))).error.code, -32008);
  client.close();
});

world.test('a fault in a plugin is told with its place to an administrator only', async () => {
  const someone = await world.place.client('someone');
  const admin = await world.place.client('admin');
  const told_less = await refused(someone.call('probe.fail'), -32006);
  assert.equal(told_less.data.line, undefined);
  const told = await refused(admin.call('probe.fail'), -32006);
  assert.match(told.data.plugin, /probe$/);
  assert.match(told.data.file, /probe/);
  assert.ok(told.data.line > 1);
  assert.match(told.data.message, /nil value/);
  someone.close();
  admin.close();
});

world.test('all errors in the params are told at once', async () => {
  const client = await world.place.client('someone');
  const error = await refused(client.call('probe.put', { n: 'no number', extra: 1 }), -32602);
  const paths = error.data.errors.map((e) => e.path).sort();
  assert.deepEqual(paths, ['extra', 'n', 'text']);
  client.close();
});

world.test('the same idem key gives the stored answer and writes once', async () => {
  const client = await world.place.client('someone');
  const first = await client.call('probe.count_up', { id: 'once', idem: 'key-1' });
  const again = await client.call('probe.count_up', { id: 'once', idem: 'key-1' });
  assert.deepEqual(again, first);
  assert.deepEqual(await client.call('probe.count_up', { id: 'once', idem: 'key-2' }), { n: 2 });
  client.close();
});

world.test('a message over the limit closes with 1009, one that is not UTF-8 with 1007, a binary one with 1003', async () => {
  const large = await world.server.connect();
  large.socket.send('x'.repeat((1 << 20) + 1));
  assert.equal((await large.closed).code, 1009);
  const many = await world.server.connect();
  for (let i = 0; i < 12; i++) many.socket.send('x'.repeat(100000), { fin: i === 11 });
  assert.equal((await many.closed).code, 1009, 'in fragments');
  const bad = await world.server.connect();
  bad.socket.send(Buffer.from('{"jsonrpc":"2.0","method":"\xff","id":1}', 'latin1'), { binary: false });
  assert.equal((await bad.closed).code, 1007);
  const binary = await world.server.connect();
  binary.socket.send(Buffer.from('{}'), { binary: true });
  assert.equal((await binary.closed).code, 1003);
});

world.test('a message in many fragments is put together, and one just under the limit passes', async () => {
  const client = await world.place.client('someone');
  const text = JSON.stringify({ jsonrpc: '2.0', method: 'sum', params: [20, 3], id: 'f' });
  const answer = new Promise((resolve) => client.socket.on('message', (m) => resolve(JSON.parse(m))));
  for (let i = 0; i < text.length; i++) client.socket.send(text[i], { fin: i === text.length - 1 });
  assert.equal((await answer).result, 23);
  const padded = '{"jsonrpc":"2.0","method":"sum","params":[1],"id":"big"}'.padEnd(1 << 20, ' ');
  const second = new Promise((resolve) => client.socket.once('message', (m) => resolve(JSON.parse(m))));
  client.socket.send(padded);
  assert.equal((await second).result, 1);
  client.close();
});

world.test('five hundred calls sent without waiting are all answered', async () => {
  const client = await world.place.client('someone');
  const calls = Array.from({ length: 500 }, (_, i) => client.call('sum', [i, 1]));
  assert.deepEqual(await Promise.all(calls), Array.from({ length: 500 }, (_, i) => i + 1));
  client.close();
});

world.test('rpc.discover and /openrpc.json describe the methods of the plugins', async () => {
  const client = await world.place.client('someone');
  const document = await client.call('rpc.discover');
  assert.match(document.openrpc, /^1\./);
  const put = document.methods.find((m) => m.name === 'probe.put');
  assert.ok(put, 'probe.put is described');
  assert.ok(document.methods.some((m) => m.name === 'session.login'));
  const core = await (await fetch(`${world.server.http}/openrpc.json`)).json();
  assert.ok(core.methods.some((m) => m.name === 'record.get'));
  client.close();
});
