// No room: a full disk (a small tmpfs), and a map that has reached its limit. Writing is refused with the way out, reading
// goes on, nothing is lost or half there, and writing goes on when there is room: after a full disk without a restart.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { RpcError, slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { Ledger, clients, eventually, metric, ready, verify, with_server } from './ledger.mjs';

// A folder of so many megabytes, or why there is none.
function small_disk(megabytes) {
  const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-small-'));
  const end = () => {
    try {
      execFileSync('umount', [dir]);
    } catch {
      execFileSync('umount', ['-l', dir]);
    }
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', dir], { stdio: 'pipe' });
    return { dir, end };
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    return { why: `a file system of its own cannot be mounted here (root is needed): ${String(error.stderr ?? error).trim()}` };
  }
}

// Takes what is left but so many bytes.
function fill(dir, leave) {
  const file = path.join(dir, 'filler');
  const fd = openSync(file, 'w');
  const block = Buffer.alloc(4096, 1);
  const { bavail, bsize } = statfsSync(dir);
  try {
    for (let left = bavail * bsize - leave; left > 0; left -= block.length) writeSync(fd, block);
    fsyncSync(fd);
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error;
  }
  closeSync(fd);
  return () => rmSync(file);
}

async function prepare(server) {
  const place = await server.institution('full');
  await place.deploy('service', 'probe', probe);
  await place.account('writer', ['student']);
  return place;
}

const disk = small_disk(48);

test('on a full disk writes are refused and reads go on, and writing goes on by itself when there is room', { skip: disk.why ?? false, timeout: 180000 * slow }, async () => {
  await with_server({ dir: disk.dir }, async (server) => {
    const place = await prepare(server), ledger = new Ledger();
    const reader = await place.client('writer');
    const writers = await clients(server, reader.token, 3);
    const stop = ledger.start(writers);
    await ledger.more(50);
    for (let round = 0; round < 3; round++) {
      const free = fill(disk.dir, [200000, 0, 37000][round]); // so that a write ends in the middle, or does not begin
      const refused = ledger.refused.size;
      await eventually(() => ledger.refused.size > refused + 20, 'writes to be refused');
      // Pages that became free are used again without a new block: some writes may still go through.
      let error = null;
      await eventually(async () => (error = await ledger.write(reader, 'while full')), 'a refusal');
      assert.ok(error instanceof RpcError);
      assert.equal(error.code, -32009);
      assert.equal(error.data.reason, 'disk_full');
      assert.match(error.message, /disk is full; once there is room again, writing goes on by itself/);
      await ledger.check(reader);
      assert.equal((await reader.call('subtract', [5, 3])), 2, 'workers no longer answer');
      if (round === 0) {
        // Other workers than those that were there before: nothing that a reader needs is made only now.
        const pids = workers(server.pid);
        assert.ok(pids.length > 0);
        for (const pid of pids) process.kill(pid, 'SIGKILL');
        await eventually(() => reader.call('subtract', [5, 3]).then((n) => n === 2, () => false), 'a new worker');
      }
      await eventually(async () => (await metric(server, 'hamroh_commit_no_room', '{institution="full"}')) === 1, 'the metric');
      await eventually(async () => /1 institution could not write for want of room/.test((await ready(server)).text), 'readyz to say so');
      await eventually(async () => (await ready(server)).status === 200, 'readyz: it can still be read');

      free();
      await ledger.more(30);
      assert.equal(await metric(server, 'hamroh_commit_doubt', '{institution="full"}'), 0);
      await eventually(async () => (await metric(server, 'hamroh_commit_no_room', '{institution="full"}')) === 0, 'the metric to go back');
    }
    await stop();
    await ledger.check(reader);
    [reader, ...writers].forEach((c) => c.close());

    // It can also be stopped, verified and started while there is no room.
    const free = fill(disk.dir, 0);
    await server.kill();
    const verified = await verify(server.data);
    assert.ok(!(verified instanceof Error), `${verified.stdout}${verified.stderr}`);
    await server.serve();
    const again = await server.connect();
    await again.call('session.resume', { token: reader.token });
    await ledger.check(again);
    free();
    await eventually(async () => (await ledger.write(again, 'at the end')) === null, 'a write after all');
    await ledger.check(again);
    again.close();
  });
});

test.after(() => disk.end?.());

function workers(pid) {
  const out = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(pid)], { encoding: 'utf8' });
  return out.split('\n').filter((line) => / worker /.test(line)).map((line) => Number(line.trim().split(' ')[0]));
}

test('at map_max writes are refused with the setting named, reads go on, and a larger map_max lets them go on', { timeout: 180000 * slow }, async () => {
  const settings = (mib) => `return { map_bytes = ${1 << 20}, map_max = ${mib << 20} }\n`;
  await with_server({ settings: settings(3) }, async (server) => {
    const place = await prepare(server), ledger = new Ledger();
    const reader = await place.client('writer');
    const writers = await clients(server, reader.token, 3);
    const stop = ledger.start(writers, 8, 'x'.repeat(3000));
    await eventually(() => ledger.refused.size > 20, 'the map to be full');
    await stop();
    const error = [...ledger.refused.values()].at(-1);
    assert.equal(error.code, -32009);
    assert.equal(error.data.reason, 'map_max');
    assert.match(error.message, new RegExp(`map_max \\(${3 << 20} bytes\\); raise it and start the server anew`));
    await ledger.check(reader);
    assert.equal(await metric(server, 'hamroh_commit_doubt', '{institution="full"}'), 0);
    // Removing takes room as well: what was there stays in the log.
    const [text, id] = [...ledger.acknowledged][0];
    const drop = () => reader.call('probe.drop', { id });
    const dropped = await drop().then(() => true, (e) => assert.equal(e.data.reason, 'map_max'));
    [...writers, reader].forEach((c) => c.close());
    await server.kill();
    server.options.settings = settings(64);
    await server.serve();
    reader.url = server.url;
    await reader.connect();
    await reader.call('session.resume', { token: reader.token });
    assert.equal(await ledger.write(reader, 'y'.repeat(3000)), null);
    await ledger.check(reader).catch((e) => assert.ok(dropped, e));
    if (!dropped) await drop();
    ledger.acknowledged.delete(text);
    await ledger.check(reader);
    reader.close();
  });
});
