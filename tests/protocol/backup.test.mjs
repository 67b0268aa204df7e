// Backups made while serving, restored whole and to points in time, by the commands an administrator uses.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { bin, Client, refused, Server, serve_for, sleep } from './harness.mjs';
import { probe } from './probe.mjs';

const run = promisify(execFile);
const hamroh = (...args) => run(bin, args).then(({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }), (e) => ({ code: e.code, out: e.stdout, err: e.stderr }));
async function works(...args) {
  const done = await hamroh(...args);
  assert.equal(done.code, 0, `hamroh ${args.join(' ')}: ${done.err}${done.out}`);
  return done.out;
}

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('school');
  await server.institution('later');
  await place.deploy('service', 'probe', probe);
  await place.account('writer', ['student']);
  await place.account('admin', ['administrator']);
  return { place, sets: path.join(server.dir, 'sets'), key: path.join(server.data, 'server.key'), writer: await place.client('writer'), admin: await place.client('admin') };
});
test.after(() => [world.writer, world.admin].forEach((c) => c?.close()));

// A restored folder served for as long as fn runs.
async function served(name, fn) {
  const dir = path.join(world.server.dir, name);
  const again = await Server.start({ dir });
  try {
    return await fn(again);
  } finally {
    await again.stop();
    assert.equal(again.exit.code, 0, again.log);
  }
}
const data_of = (name) => path.join(world.server.dir, name, 'data');
async function restore(name, ...more) {
  await run('mkdir', ['-p', path.join(world.server.dir, name)]);
  return hamroh('restore', '--from', world.sets, '--key', world.key, '--data', data_of(name), ...more);
}
async function counts(server) {
  const client = await Client.open(server.url);
  await client.login('school', 'writer');
  const { count } = await client.call('record.count', { type: 'probe' });
  client.close();
  return count;
}

world.test('backups made in the middle of writes hold whole calls, verify, and start as another epoch', async () => {
  let stop = false, written = 0;
  const streams = Promise.all(Array.from({ length: 8 }, async () => {
    while (!stop) {
      await world.writer.call('probe.put', { text: `text ${written}` });
      written++;
    }
  }));
  while (written < 50) await sleep(5);
  const before = written;
  await works('backup', '--data', world.server.data, '--to', world.sets, '--name', 'busy');
  stop = true;
  await streams;
  const feed = await world.writer.call('feed.open', {});
  await world.writer.call('feed.close');
  const done = await restore('busy', '--backup', 'busy');
  assert.equal(done.code, 0, done.err);
  assert.match(done.out, /each checked/);
  await served('busy', async (again) => {
    const count = await counts(again);
    assert.ok(count >= before && count <= written, `${before} <= ${count} <= ${written}`);
    const client = await Client.open(again.url);
    await client.login('school', 'writer');
    const opened = await client.call('feed.open', { after: { epoch: feed.epoch, seq: 1 } });
    assert.notEqual(opened.epoch, feed.epoch);
    assert.equal(opened.recovered, false, 'a feed is not resumed across a restore');
    await client.call('probe.put', { text: 'life goes on' });
    client.close();
    assert.equal(await counts(again), count + 1);
  });
  await works('verify', '--data', data_of('busy'));
});

world.test('every institution comes back as it was at a time, or after a change', async () => {
  const started = await counts(world.server);
  const moments = [];
  for (let i = 0; i < 3; i++) {
    await world.writer.call('probe.put', { text: `moment ${i}` });
    const { seq } = await world.writer.call('record.list', { type: 'probe', limit: 1 });
    await sleep(5);
    const ms = Date.now();
    await sleep(5);
    moments.push({ seq, ms, count: started + i + 1 });
  }
  const out = await works('backup', '--data', world.server.data, '--to', world.sets);
  assert.match(out, /school: .*sets\/school\/\d{4}-\d\d-\d\dT\d{6}Z/);
  const tashkent = new Date(moments[0].ms + 5 * 3600000).toISOString().replace('Z', '+05:00');
  for (const [name, until, expected] of [
    ['t0', ['--until', tashkent], moments[0]],
    ['t1', ['--until', new Date(moments[1].ms).toISOString()], moments[1]],
    ['s0', ['--institution', 'school', '--until', String(moments[0].seq)], moments[0]],
    ['s2', ['--institution', 'school', '--until', String(moments[2].seq)], moments[2]],
  ]) {
    const done = await restore(name, ...until);
    assert.equal(done.code, 0, done.err);
    if (name === 't0') assert.match(done.out, /the next one, of .* is left out/);
    if (name[0] === 's') assert.deepEqual(readdirSync(path.join(data_of(name), 'institutions')), ['school']);
    await served(name, async (again) => assert.equal(await counts(again), expected.count, name));
  }
  // Longer ago than anything: nobody was there.
  const nothing = await restore('long_ago', '--until', '2001-01-01T00:00Z');
  assert.equal(nothing.code, 1);
  assert.match(nothing.out, /school: was not there yet/);
});

world.test('a point in time that cannot be meant, or is not in the backup, is refused with the way out', async () => {
  for (const wrong of ['yesterday', '2026-11-24', '2026-11-24T10:00', '2026-02-30T10:00Z', '2026-11-24T10:00+5', '0', '-1', '2026-11-24T10:00:00Zz']) {
    const done = await restore('wrong', '--institution', 'school', `--until=${wrong}`);
    assert.equal(done.code, 2, `${wrong}: ${done.err}${done.out}`);
    assert.match(done.err, /--until/);
  }
  assert.match((await restore('wrong', '--until', '7')).err, /needs --institution/);
  const future = await restore('wrong', '--until', '2100-01-01T00:00Z');
  assert.equal(future.code, 1);
  assert.match(future.err, /take a newer backup/);
  assert.match((await restore('wrong2', '--institution', 'school', '--until', '99999999')).err, /take a newer backup/);
  const missing = await restore('wrong3', '--backup', 'no-such');
  assert.equal(missing.code, 1);
  assert.match(missing.out, /school: has no backup no-such/);
});

world.test('a file of the set that was changed is named, and nothing is laid', async () => {
  await works('backup', '--data', world.server.data, '--to', world.sets, '--name', 'bad');
  const file = path.join(world.sets, 'school', 'bad', 'data.mdb');
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(file, bytes);
  const done = await restore('damaged', '--backup', 'bad', '--institution', 'school');
  assert.equal(done.code, 1);
  assert.match(done.err, /school\/bad\/data\.mdb is not the file that its manifest names/);
  assert.ok(!existsSync(path.join(data_of('damaged'), 'institutions', 'school')));
});

world.test('over the network an administrator makes backups by name only, and nobody else does', async () => {
  const made = await world.admin.call('backup.create', { name: 'by-admin' });
  assert.equal(made.path, path.join(world.server.data, 'backups', 'school', 'by-admin'));
  assert.ok(existsSync(path.join(made.path, 'MANIFEST')));
  assert.ok(existsSync(path.join(world.server.data, 'backups', 'school', 'keyring')));
  await refused(world.admin.call('backup.create', { to: '/tmp/somewhere' }), -32602);
  await refused(world.admin.call('backup.create', { name: '../up' }), -32602);
  await refused(world.admin.call('backup.create', { name: 'keyring' }), -32602);
  await refused(world.admin.call('backup.create', { name: 'by-admin' }), -32004);
  await refused(world.writer.call('backup.create', {}), -32002);
  // Of several at once each is made or told that one runs.
  const several = await Promise.allSettled(Array.from({ length: 4 }, () => world.admin.call('backup.create', {})));
  assert.ok(several.some((r) => r.status === 'fulfilled'));
  for (const r of several) if (r.status === 'rejected') assert.equal(r.reason.data.reason, 'backup_runs');
  const paths = several.filter((r) => r.status === 'fulfilled').map((r) => r.value.path);
  assert.equal(new Set(paths).size, paths.length);
  await refused(world.writer.call('backup.forget', { set: '/x' }), -32002);
});
