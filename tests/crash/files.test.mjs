// No descriptors left: the server refuses new clients, goes on with those it has, does not turn in a circle at a socket
// it cannot accept from, and takes new ones when there is room.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import test from 'node:test';
import { slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { Ledger, clients, eventually, metric, with_server } from './ledger.mjs';

test('without descriptors new clients are refused, those that are there go on, and later new ones are taken', { timeout: 120000 * slow }, async () => {
  await with_server({}, async (server) => {
    const place = await server.institution('files'), ledger = new Ledger();
    await place.deploy('service', 'probe', probe);
    await place.account('writer', ['student']);
    const reader = await place.client('writer');
    const writers = await clients(server, reader.token, 4);
    const open = readdirSync(`/proc/${server.pid}/fd`).length;
    execFileSync('prlimit', ['--pid', String(server.pid), `--nofile=${open + 40}`]);
    const stop = ledger.start(writers, 4);

    const port = Number(new URL(server.http).port);
    const knocking = [];
    let hung_up = 0;
    for (let i = 0; i < 150; i++) {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.on('close', () => hung_up++);
      knocking.push(socket);
    }
    await eventually(() => hung_up > 100, 'clients to be refused');
    assert.ok(hung_up < 150, 'none was taken');
    await ledger.more(50);
    // A new worker, with what was kept for it.
    const out = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(server.pid)], { encoding: 'utf8' });
    for (const line of out.split('\n').filter((l) => / worker /.test(l))) process.kill(Number(line.trim().split(' ')[0]), 'SIGKILL');
    await ledger.more(50);
    await stop();
    const failed = server.log.split('\n').filter((line) => /accept/.test(line) && /errno|error/.test(line));
    assert.deepEqual(failed, [], 'accept was tried when there was no descriptor');

    for (const socket of knocking) socket.destroy();
    let late;
    await eventually(() => server.connect().then((c) => ((late = c), true), () => false), 'a new client to be taken');
    await late.call('session.resume', { token: reader.token });
    assert.equal(await ledger.write(late), null);
    assert.ok((await metric(server, 'hamroh_connections_refused_total', '{reason="full"}')) > 100);
    await ledger.check(late);
    [reader, late, ...writers].forEach((c) => c.close());
  });
});
