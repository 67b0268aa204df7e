// The feed: each change that one may see, in order, once; over reconnects, too.
import assert from 'node:assert/strict';
import test from 'node:test';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { bin, refused, serve_for, Server, slow } from './harness.mjs';
import { probe } from './probe.mjs';

const world = serve_for(test, { settings: 'return { feed_queue = 300 }\n' }, async (server) => {
  const place = await server.institution('live');
  await place.deploy('service', 'probe', probe);
  for (const login of ['one', 'two']) await place.account(login, ['student']);
  await place.account('lead', ['coordinator']);
  return { place };
});

const put = (client, text, more = {}) => client.call('probe.put', { text, ...more });
const texts = (client) => client.feed.filter((e) => e.type === 'probe').map((e) => e.record?.data.text ?? e.action);
const arrives = (client, text) => client.event(text, (e) => e.record?.data.text === text);

world.test('a change reaches who may see it, with its record, and nobody else', async () => {
  const [one, two, lead] = await Promise.all(['one', 'two', 'lead'].map(world.place.client));
  for (const client of [one, two, lead]) await client.open_feed();
  const secret = await put(one, 'for the coordinators', { to: ['role:coordinator'] });
  await put(one, 'for all');
  for (const client of [one, two, lead]) await arrives(client, 'for all');
  assert.deepEqual(texts(one), ['for all']);
  assert.deepEqual(texts(two), ['for all']);
  assert.deepEqual(texts(lead), ['for the coordinators', 'for all']);
  const event = lead.feed.find((e) => e.id === secret.id);
  assert.equal(event.action, 'created');
  assert.ok(event.seq > 0 && event.time > 0);
  assert.deepEqual(event.record, await lead.call('record.get', { type: 'probe', id: secret.id }));
  [one, two, lead].forEach((c) => c.close());
});

world.test('who loses sight of a record is told "deleted" without its contents', async () => {
  const [one, two] = await Promise.all(['one', 'two'].map(world.place.client));
  const made = await put(one, 'seen by all');
  await two.open_feed();
  await one.call('probe.set', { id: made.id, text: 'not for students', to: ['role:coordinator'] });
  const gone = await two.event('the deletion', (e) => e.id === made.id);
  assert.equal(gone.action, 'deleted');
  assert.equal(gone.record, undefined);
  one.close();
  two.close();
});

world.test('a feed that is opened in a batch begins behind the answer to that batch, whatever else is answered before', async () => {
  const [one, two] = await Promise.all(['one', 'two'].map(world.place.client));
  const came = [];
  one.socket.on('message', (data) => came.push(JSON.parse(data)));
  const wrong = { institution: 'live', login: 'nobody', password: 'takes as long as a right one' };
  one.socket.send(JSON.stringify([{ jsonrpc: '2.0', id: 'a', method: 'feed.open' }, { jsonrpc: '2.0', id: 'b', method: 'session.login', params: wrong }]));
  await one.call('server.info');
  await put(two, 'while the batch lasts');
  await arrives(one, 'while the batch lasts');
  assert.ok(Array.isArray(came.find((m) => Array.isArray(m) || m.method)), 'an event came before the answer');
  one.close();
  two.close();
});

world.test('created, updated and deleted come in the order in which they happened', async () => {
  const one = await world.place.client('one');
  await one.open_feed({ types: ['probe'] });
  const { id } = await put(one, 'first');
  await one.call('probe.set', { id, text: 'second' });
  await one.call('probe.drop', { id });
  await one.event('the deletion', (e) => e.id === id && e.action === 'deleted');
  const own = one.feed.filter((e) => e.id === id);
  assert.deepEqual(own.map((e) => e.action), ['created', 'updated', 'deleted']);
  assert.ok(own[0].seq < own[1].seq && own[1].seq < own[2].seq);
  one.close();
});

world.test('only the types asked for come', async () => {
  const one = await world.place.client('one');
  await one.open_feed({ types: ['probe_counter'] });
  await put(one, 'unwanted');
  await one.call('probe.count_up', { id: 'wanted' });
  await one.event('the counter', (e) => e.type === 'probe_counter');
  assert.deepEqual(one.feed.map((e) => e.type), ['probe_counter']);
  one.close();
});

world.test('a feed opened at a list has everything after it and nothing before', async () => {
  const one = await world.place.client('one');
  await put(one, 'before the list');
  const { epoch, seq } = await one.call('record.list', { type: 'probe', limit: 1 });
  await put(one, 'after the list');
  const opened = await one.open_feed({ after: { epoch, seq }, types: ['probe'] });
  assert.equal(opened.recovered, true);
  await arrives(one, 'after the list');
  assert.deepEqual(texts(one), ['after the list']);
  one.close();
});

world.test('after a broken connection the feed goes on where it was, without gap or repetition', async () => {
  const [writer, reader] = await Promise.all(['one', 'two'].map(world.place.client));
  await reader.open_feed({ types: ['probe'] });
  let sent = 0;
  let writing = true;
  const write = (async () => {
    while (writing) await Promise.all(Array.from({ length: 8 }, () => put(writer, `resume ${sent++}`)));
  })();
  for (let i = 0; i < 10; i++) {
    await new Promise((resolve) => setTimeout(resolve, 60));
    reader.close();
    await reader.closed;
    await new Promise((resolve) => setTimeout(resolve, 30));
    const opened = await reader.resume();
    assert.equal(opened.recovered, true);
  }
  writing = false;
  await write;
  await put(writer, 'the end');
  await arrives(reader, 'the end');
  const seen = texts(reader).filter((t) => t.startsWith('resume'));
  assert.equal(new Set(seen).size, seen.length, 'something came twice');
  assert.equal(seen.length, sent, 'something is missing');
  const seqs = reader.feed.map((e) => e.seq);
  assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b), 'out of order');
  writer.close();
  reader.close();
});

world.test('a long absence is made good in slices while new changes keep coming', async () => {
  const [writer, reader] = await Promise.all(['one', 'two'].map(world.place.client));
  const { epoch, seq } = await reader.open_feed({ types: ['probe'] });
  reader.close();
  for (let i = 0; i < 2400; i += 100) await Promise.all(Array.from({ length: 100 }, (_, k) => put(writer, `long ${i + k}`)));
  await reader.connect();
  await reader.call('session.resume', { token: reader.token });
  const during = Promise.all(Array.from({ length: 50 }, (_, k) => put(writer, `long ${2400 + k}`)));
  await reader.open_feed({ after: { epoch, seq }, types: ['probe'] });
  await during;
  await put(writer, 'long end');
  await reader.event('the end', (e) => e.record?.data.text === 'long end', 30000 * slow);
  const seen = texts(reader).filter((t) => /^long \d+$/.test(t));
  assert.equal(seen.length, 2450);
  assert.equal(new Set(seen).size, 2450);
  writer.close();
  reader.close();
});

world.test('another epoch, or a place in the future, is answered with recovered = false', async () => {
  const one = await world.place.client('one');
  const { epoch, seq } = await one.open_feed();
  assert.equal((await one.open_feed({ after: { epoch: 'another', seq } })).recovered, false);
  assert.equal((await one.open_feed({ after: { epoch, seq: seq + 1000000 } })).recovered, false);
  await refused(one.call('feed.open', { after: { epoch } }), -32602);
  await refused(one.call('feed.open', { types: 'probe' }), -32602);
  one.close();
});

world.test('a closed feed is silent', async () => {
  const one = await world.place.client('one');
  await one.open_feed();
  await one.call('feed.close');
  await put(one, 'unheard');
  await one.call('server.info');
  assert.deepEqual(one.feed, []);
  one.close();
});

world.test('a client that does not read is told to resume, and then gets everything', async () => {
  const [writer, reader] = await Promise.all(['one', 'two'].map(world.place.client));
  await reader.open_feed({ types: ['probe'] });
  reader.socket._socket.pause();
  const body = 'x'.repeat(15000);
  const total = 1200; // some 18 MB: more than the kernel's buffers and the queue take
  for (let i = 0; i < total; i += 60) await Promise.all(Array.from({ length: 60 }, (_, k) => put(writer, `slow ${i + k} ${body}`)));
  reader.socket._socket.resume();
  const resync = await reader.wait_for('feed.resync', (m) => m.method === 'feed.resync', 30000 * slow);
  assert.equal(resync.params.epoch, reader.epoch);
  assert.equal(resync.params.seq, reader.last.seq, 'it names the last event that was sent');
  const opened = await reader.open_feed({ after: reader.last, types: ['probe'] });
  assert.equal(opened.recovered, true);
  await put(writer, 'slow end');
  await reader.event('the end', (e) => e.record?.data.text === 'slow end', 60000 * slow);
  const seen = texts(reader).filter((t) => /^slow \d+/.test(t));
  assert.equal(seen.length, total);
  assert.equal(new Set(seen).size, total);
  writer.close();
  reader.close();
});

// ---- many at once, each with a server of its own -------------------------------------------------------------------------

const many = async (server) => {
  const place = await server.institution('live');
  await place.deploy('service', 'probe', probe);
  const logins = Array.from({ length: 40 }, (_, i) => `student${i}`);
  for (const login of ['writer', ...logins]) await place.account(login, ['student']);
  return { place, logins };
};
const metrics = async (server) => {
  const text = await (await fetch(`${server.http}/metrics`)).text();
  return (name) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)[1]);
};
const short = serve_for(test, { settings: 'return { feed_queue = 300, feed_bytes = 1048576 }\n' }, many);

short.test('a change is made into a frame once, however many receive it, and looked at for nobody else', async () => {
  const { place, logins, server } = short;
  const writer = await place.client('writer');
  const clients = await Promise.all([...logins, ...logins, ...logins, ...logins, ...logins].map(place.client));
  await Promise.all(clients.map((c) => c.open_feed({ types: ['probe'] })));
  const before = await metrics(server);
  for (let i = 0; i < 10; i++) await put(writer, `for all ${i}`);
  await Promise.all(clients.map((c) => arrives(c, 'for all 9')));
  const after = await metrics(server);
  const more = (name) => after(name) - before(name);
  assert.equal(more('hamroh_feed_encodings_total'), 10);
  assert.equal(more('hamroh_feed_delivered_total'), 10 * clients.length);
  assert.equal(more('hamroh_feed_checks_total'), 10 * clients.length);
  for (let i = 0; i < 10; i++) await put(writer, `for one ${i}`, { to: ['account:nobody', 'role:coordinator'] });
  assert.equal((await metrics(server))('hamroh_feed_checks_total'), after('hamroh_feed_checks_total'));
  [writer, ...clients].forEach((c) => c.close());
});

short.test('clients that stop reading cost bounded memory, trouble nobody, and miss nothing in the end', async () => {
  const { place, logins, server } = short;
  const writer = await place.client('writer');
  const reader = await place.client(logins[0]);
  await reader.open_feed({ types: ['probe'] });
  const stuck = await Promise.all(logins.slice(1, 7).map(place.client));
  for (const client of stuck) await client.open_feed({ types: ['probe'] });
  const start = stuck.map((c) => c.last);
  for (const client of stuck) client.socket._socket.pause();
  const total = 1500; // some 22 MB for each: more than the kernel's buffers take
  for (let i = 0; i < total; i += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, k) => put(writer, `heavy ${i + k} ${'x'.repeat(15000)}`)));
    assert.ok((await metrics(server))('hamroh_feed_queued_bytes') < 1.1 * 1048576);
  }
  await reader.event('the last', (e) => e.record?.data.text.startsWith(`heavy ${total - 1} `));
  assert.equal(reader.notices.some((m) => m.method === 'feed.resync'), false);
  await Promise.all(stuck.map(async (client, i) => {
    client.socket._socket.resume();
    const resync = await client.wait_for('feed.resync', (m) => m.method === 'feed.resync', 60000 * slow);
    assert.ok(resync.params.seq >= start[i].seq && resync.params.seq < reader.last.seq);
    // Memory is short for all of them together, so that one may be told again while it catches up.
    let told = client.notices.filter((m) => m.method === 'feed.resync').length;
    const again = () => client.open_feed({ after: client.last, types: ['probe'] });
    client.watchers.add((m) => m.method === 'feed.resync' && client.notices.filter((n) => n.method === 'feed.resync').length > told && ((told += 1), again()));
    assert.equal((await again()).recovered, true);
    await client.event('the last', (e) => e.record?.data.text.startsWith(`heavy ${total - 1} `), 60000 * slow);
  }));
  for (const client of [reader, ...stuck]) {
    const seen = texts(client).filter((t) => t.startsWith('heavy')).map((t) => Number(t.split(' ')[1]));
    assert.equal(seen.length, total);
    assert.equal(new Set(seen).size, total);
    const seqs = client.feed.map((e) => e.seq);
    assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b));
  }
  assert.equal((await metrics(server))('hamroh_feed_queued_events'), 0);
  [writer, reader, ...stuck].forEach((c) => c.close());
});

short.test('after a restart all come back at once, and each gets what it missed once, from one reading of the log', async () => {
  const { place, logins, server } = short;
  let writer = await place.client('writer');
  const clients = await Promise.all([...logins, ...logins, ...logins].map(place.client));
  await Promise.all(clients.map((c) => c.open_feed({ types: ['probe'] })));
  await put(writer, 'herd begin');
  await Promise.all(clients.map((c) => arrives(c, 'herd begin')));
  clients.forEach((c) => c.close());
  for (let i = 0; i < 600; i += 60) await Promise.all(Array.from({ length: 60 }, (_, k) => put(writer, `herd ${i + k}`, (i + k) % 3 ? { to: ['role:coordinator'] } : {})));
  await server.kill();
  await server.serve();
  writer = await server.connect();
  await writer.login('live', 'writer');
  for (const client of clients) client.url = server.url;
  let writing = true;
  let sent = 600;
  const write = (async () => {
    while (writing) await put(writer, `herd ${sent++}`, sent % 3 ? { to: ['role:coordinator'] } : {});
  })();
  for (const opened of await Promise.all(clients.map((c) => c.resume()))) assert.equal(opened.recovered, true);
  writing = false;
  await write;
  await put(writer, 'herd end');
  await Promise.all(clients.map((c) => c.event('herd end', (e) => e.record?.data.text === 'herd end', 30000 * slow)));
  const expected = Array.from({ length: sent }, (_, i) => i).filter((i) => i < 600 ? i % 3 === 0 : (i + 1) % 3 === 0);
  for (const client of clients) assert.deepEqual(texts(client).filter((t) => /^herd \d/.test(t)).map((t) => Number(t.slice(5))), expected);
  const seen = await metrics(server);
  assert.ok(seen('hamroh_feed_replayed_total') < (clients.length / 3) * 600, `${seen('hamroh_feed_replayed_total')} entries read for ${clients.length} clients`);
  [writer, ...clients].forEach((c) => c.close());
});

short.test('what one may no longer see comes back from an absence as deleted, what one may see since as it is', async () => {
  const { place } = short;
  const [writer, reader] = await Promise.all(['writer', short.logins[0]].map(place.client));
  await reader.open_feed({ types: ['probe'] });
  const gone = await put(writer, 'absence: seen');
  const came = await put(writer, 'absence: hidden', { to: ['role:coordinator'] });
  await arrives(reader, 'absence: seen');
  reader.close();
  await writer.call('probe.set', { id: gone.id, text: 'absence: not for students', to: ['role:coordinator'] });
  await writer.call('probe.set', { id: came.id, text: 'absence: now for all', to: ['institution'] });
  const brief = await put(writer, 'absence: taken back');
  await writer.call('probe.drop', { id: brief.id });
  await reader.resume();
  await put(writer, 'absence: end');
  await arrives(reader, 'absence: end');
  const about = (id) => reader.feed.filter((e) => e.id === id).map((e) => [e.action, e.record?.data.text]);
  assert.deepEqual(about(gone.id), [['created', 'absence: seen'], ['deleted', undefined]]);
  assert.deepEqual(about(came.id), [['updated', 'absence: now for all']]);
  assert.deepEqual(about(brief.id), [['deleted', undefined], ['deleted', undefined]]);
  assert.ok(!JSON.stringify(reader.feed).includes('taken back'));
  writer.close();
  reader.close();
});

short.test('a feed about one principal brings nothing else, and a filter without sense is named', async () => {
  const { place, logins } = short;
  const [writer, reader] = await Promise.all(['writer', logins[0]].map(place.client));
  await reader.open_feed({ about: ['role:student'], types: ['probe'] });
  await put(writer, 'about: all');
  await put(writer, 'about: students', { to: ['role:student', 'role:coach'] });
  await put(writer, 'about: coaches', { to: ['role:coach'] });
  await reader.event('theirs', (e) => e.record?.data.text === 'about: students');
  assert.deepEqual(texts(reader), ['about: students']);
  const wrong = await refused(reader.call('feed.open', { about: ['no principal!'], types: [], after: {}, only: true }), -32602);
  assert.deepEqual(wrong.data.errors.map((e) => e.path).sort(), ['about', 'after.epoch', 'after.seq', 'only', 'types']);
  writer.close();
  reader.close();
});

test('in a restored copy every feed begins anew', async () => {
  const server = await Server.start();
  let other;
  try {
    const { place } = await many(server);
    const one = await place.client('writer');
    const { epoch, seq } = await one.open_feed();
    await put(one, 'in the copy');
    const copy = path.join(server.dir, 'copy');
    const dir = path.join(server.dir, 'restored');
    execFileSync(bin, ['backup', '--data', server.data, '--to', copy]);
    execFileSync('mkdir', [dir]);
    execFileSync(bin, ['restore', '--from', copy, '--key', path.join(server.data, 'server.key'), '--data', path.join(dir, 'data')]);
    other = await Server.start({ dir });
    const again = await other.connect();
    await again.login('live', 'writer');
    const opened = await again.open_feed({ after: { epoch, seq } });
    assert.equal(opened.recovered, false);
    assert.notEqual(opened.epoch, epoch);
    await put(again, 'in the restored');
    await again.event('the new', (e) => e.record?.data.text === 'in the restored');
    assert.equal(again.feed.filter((e) => e.type === 'probe').length, 1);
    one.close();
    again.close();
  } finally {
    await other?.stop();
    await server.stop();
  }
});
