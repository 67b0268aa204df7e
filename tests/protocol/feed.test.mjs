// The feed: each change that one may see, in order, once; over reconnects, too.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for, slow } from './harness.mjs';
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
