// Reading records: get, list, count, who may see what, and that two at once do not lose a change.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for } from './harness.mjs';
import { probe } from './probe.mjs';

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('reads');
  const elsewhere = await server.institution('elsewhere');
  await place.deploy('service', 'probe', probe);
  await elsewhere.deploy('service', 'probe', probe);
  for (const login of ['one', 'two']) await place.account(login, ['student']);
  await place.account('lead', ['coordinator']);
  await elsewhere.account('one', ['administrator']);
  return { place, elsewhere, one: await place.client('one'), two: await place.client('two'), lead: await place.client('lead') };
});
test.after(() => [world.one, world.two, world.lead].forEach((c) => c?.close()));

world.test('a record is read back as it was written', async () => {
  const made = await world.one.call('probe.put', { text: 'salom, dunyo', n: 3 });
  const read = await world.one.call('record.get', { type: 'probe', id: made.id });
  assert.deepEqual(read.data, { text: 'salom, dunyo', n: 3 });
  assert.equal(read.type, 'probe');
  assert.deepEqual(read.audience, ['institution']);
  assert.ok(read.version > 0 && read.created <= read.updated);
});

world.test('a record whose audience one is not of does not exist', async () => {
  const made = await world.one.call('probe.put', { text: 'for coordinators', n: 900, to: ['role:coordinator'] });
  const hidden = await refused(world.two.call('record.get', { type: 'probe', id: made.id }), -32003);
  const absent = await refused(world.two.call('record.get', { type: 'probe', id: 'no-such-id' }), -32003);
  assert.deepEqual(hidden.error, absent.error, 'hidden and absent look the same');
  assert.equal((await world.lead.call('record.get', { type: 'probe', id: made.id })).id, made.id);
  const list = { type: 'probe', index: 'by_n', equals: [900] };
  assert.equal((await world.two.call('record.list', list)).items.length, 0);
  assert.equal((await world.two.call('record.count', list)).count, 0);
  assert.equal((await world.lead.call('record.list', list)).items.length, 1);
  assert.equal((await world.lead.call('record.count', list)).count, 1);
});

world.test('accounts, sessions and invitations are never given out, not even to an administrator', async () => {
  const admin = await world.elsewhere.client('one');
  for (const type of ['account', 'session', 'invitation', 'idem']) {
    const got = await admin.call('record.list', { type }).catch((error) => error);
    if (!(got instanceof Error)) assert.deepEqual(got.items, []);
  }
  admin.close();
});

world.test('an institution sees nothing of another', async () => {
  const made = await world.one.call('probe.put', { text: 'ours', n: 1 });
  const stranger = await world.elsewhere.client('one');
  await refused(stranger.call('record.get', { type: 'probe', id: made.id }), -32003);
  assert.equal((await stranger.call('record.list', { type: 'probe' })).items.length, 0);
  stranger.close();
});

world.test('a list is paged in order, forth and back, without gap or repetition', async () => {
  for (let n = 100; n < 160; n++) await world.one.call('probe.put', { text: `number ${n}`, n });
  for (const order of ['asc', 'desc']) {
    const seen = [];
    let cursor = null;
    do {
      const page = await world.one.call('record.list', { type: 'probe', index: 'by_n', from: 100, to: 160, order, limit: 7, ...(cursor && { cursor }) });
      assert.ok(page.items.length <= 7);
      assert.ok(page.epoch && page.seq > 0);
      seen.push(...page.items.map((r) => r.data.n));
      cursor = page.cursor;
    } while (cursor);
    const expected = Array.from({ length: 60 }, (_, i) => 100 + i);
    assert.deepEqual(seen, order === 'asc' ? expected : expected.reverse());
  }
  await refused(world.one.call('record.list', { type: 'probe', index: 'by_n', limit: 7, cursor: 'nonsense' }), -32602);
  await refused(world.one.call('record.list', { type: 'probe', index: 'no_such_index' }), -32602);
});

world.test('sixty-four changes of one record at once are all counted', async () => {
  const answers = await Promise.all(Array.from({ length: 64 }, (_, i) => (i % 2 ? world.one : world.two).call('probe.count_up', { id: 'shared' })));
  assert.deepEqual(answers.map((a) => a.n).sort((a, b) => a - b), Array.from({ length: 64 }, (_, i) => i + 1));
  assert.equal((await world.one.call('record.get', { type: 'probe_counter', id: 'shared' })).data.n, 64);
});
