// A disk that fails in the middle of a commit. After a failed fsync the kernel may forget what it did not write, and the
// next fsync says yes: so nothing may be acknowledged any more until the data has been opened anew.
import assert from 'node:assert/strict';
import test from 'node:test';
import { RpcError, slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { EIO, ENOSPC, Faults, Ledger, clients, eventually, metric, ready, verify, with_server } from './ledger.mjs';

async function broken(break_it, mended, check_reads) {
  const faults = new Faults();
  await with_server({ env: faults.env }, async (server) => {
    const ledger = new Ledger();
    const place = await server.institution('failing'), other = await server.institution('sound');
    for (const p of [place, other]) {
      await p.deploy('service', 'probe', probe);
      await p.account('writer', ['student']);
    }
    const reader = await place.client('writer');
    const writers = await clients(server, reader.token, 3);
    const stop = ledger.start(writers);
    await ledger.more(100);
    assert.ok(faults.synced > 0, 'the server does not run with the faults');

    break_it(faults);
    await eventually(async () => (await metric(server, 'hamroh_commit_doubt', '{institution="failing"}')) === 1, 'the doubt to show');
    await stop();
    const before = ledger.acknowledged.size;
    mended(faults); // the disk says yes again: too late
    const synced = faults.synced;
    for (let i = 0; i < 20; i++) {
      const error = await ledger.write(reader, 'late');
      assert.ok(error instanceof RpcError, 'acknowledged after a failed commit');
      assert.equal(error.code, -32009);
      assert.equal(error.data.reason, 'doubt');
      assert.match(error.message, /server is started anew/);
    }
    assert.equal(ledger.acknowledged.size, before);
    assert.equal(faults.synced, synced, 'something was committed after all');
    // New plugins would be written, too, and their types before them.
    await assert.rejects(place.deploy('service', 'probe', probe.replace('a - b', 'a minus b')), { code: -32009 });
    await assert.rejects(place.deploy('service', 'probe', probe.replace('by_n =', 'by_m = { fields = { "n" } }, by_n =')), { code: -32009 });
    assert.equal(faults.synced, synced, 'types were committed');
    await check_reads(reader, ledger);
    const { status, text } = await ready(server);
    assert.equal(status, 503);
    assert.match(text, /1 institution refused writes since a commit failed/);
    // Institutions have files of their own.
    const neighbour = await other.client('writer');
    await neighbour.call('probe.put', { text: 'not concerned' });

    [reader, neighbour, ...writers].forEach((c) => c.close());
    await server.kill();
    const verified = await verify(server.data);
    assert.ok(!(verified instanceof Error), `${verified.stdout}${verified.stderr}`);
    await server.serve();
    const again = await place.client('writer');
    await ledger.check(again);
    assert.equal(await ledger.write(again, 'after'), null);
    await ledger.check(again);
    assert.equal((await ready(server)).status, 200);
    again.close();
  }).finally(() => faults.close());
}

test('after a failed fsync nothing is acknowledged, everything can be read, and a restart has it all', { timeout: 120000 * slow }, () =>
  broken(
    (faults) => faults.sync_fails(EIO),
    (faults) => {
      assert.ok(faults.syncs_failed > 0);
      faults.sync_fails(0);
    },
    (reader, ledger) => ledger.check(reader),
  ));

for (const [errno, why] of [[EIO, 'an error'], [ENOSPC, 'want of room']])
  test(`after a write of a head that failed for ${why} nothing is acknowledged, and a restart has it all`, { timeout: 120000 * slow }, () =>
    broken(
      (faults) => faults.heads_fail(errno),
      (faults) => {
        assert.ok(faults.heads_failed > 0);
        faults.heads_fail(0);
      },
      // LMDB gives this process no more snapshots: reading is refused with the reason, too.
      (reader) => assert.rejects(reader.call('record.list', { type: 'probe' }), { code: -32009 }),
    ));
