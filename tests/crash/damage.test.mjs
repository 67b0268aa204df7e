// Files that were cut off or in which bits were flipped, as people meet them: `hamroh verify` names the fault and what to
// do, `hamroh serve` refuses that institution and serves the others. Neither crashes. (tests/unit/test_store_damage.c does
// this thousands of times in one process.) HAMROH_SEED repeats a run.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Client, slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { Ledger, metric, ready, verify, with_server } from './ledger.mjs';

const seed = Number(process.env.HAMROH_SEED ?? Date.now() % 4294967296);
function random_of(a) {
  return (below) => { // mulberry32
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test('a damaged institution is found and refused, and the others are served', { timeout: 240000 * slow }, async () => {
  console.log(`HAMROH_SEED=${seed}`);
  const random = random_of(seed);
  await with_server({}, async (server) => {
    const damaged = await server.institution('damaged'), sound = await server.institution('sound');
    const ledgers = new Map();
    for (const place of [damaged, sound]) {
      await place.deploy('service', 'probe', probe);
      await place.account('writer', ['student']);
      const client = await place.client('writer'), ledger = new Ledger();
      ledgers.set(place, { ledger, token: client.token });
      for (let i = 0; i < 60; i++) assert.equal(await ledger.write(client, 'x'.repeat(100 * (i % 30))), null);
      client.close();
    }
    await server.kill();
    const folder = path.join(server.data, 'institutions', 'damaged');
    const file = { data: path.join(folder, 'data/data.mdb'), keys: path.join(folder, 'keyring/data.mdb') };
    const whole = { data: readFileSync(file.data), keys: readFileSync(file.keys) };
    const heal = () => Object.keys(file).forEach((name) => writeFileSync(file[name], whole[name]));
    const flipped = (bytes, times) => {
      const copy = Buffer.from(bytes);
      for (let i = 0; i < times; i++) copy[random(copy.length)] ^= 1 << random(8);
      return copy;
    };

    const resume = async (place) => {
      const client = await Client.open(server.url);
      await client.call('session.resume', { token: ledgers.get(place).token });
      return client;
    };
    const still_there = async (place) => {
      const client = await resume(place);
      await ledgers.get(place).ledger.check(client);
      client.close();
    };
    // [how, whether it must be found]
    const half = whole.data.length / 2;
    const cases = [
      [() => writeFileSync(file.data, whole.data.subarray(0, half)), true],
      [() => writeFileSync(file.data, ''), true],
      [() => writeFileSync(file.keys, whole.keys.subarray(0, 5000)), true],
      [() => writeFileSync(file.data, flipped(whole.data, 2000)), true],
      ...Array.from({ length: 4 }, () => [() => writeFileSync(file.data, flipped(whole.data, 1 + random(8))), false]),
      [() => writeFileSync(file.data, whole.data.subarray(0, random(whole.data.length))), false],
      [() => writeFileSync(file.keys, flipped(whole.keys, 1 + random(8))), false],
    ];
    for (const [number, [damage, certain]] of cases.entries()) {
      heal();
      damage();
      const verified = await verify(server.data);
      const found = verified instanceof Error, text = `${verified.stdout}${verified.stderr}`;
      assert.ok(found || !certain, `case ${number}: nothing was found:\n${text}`);
      if (found) {
        assert.equal(verified.code, 1, `case ${number}: verify ended by ${verified.signal ?? verified.code}:\n${text}`);
        assert.match(text, /^damaged: FAULT .*: .+/m);
        assert.match(text, /^sound: ok, \d+ changes$/m);
        assert.match(text, /hamroh restore --from BACKUP --key \S+server\.key --data NEW_DIR/);
      }
      if (!certain && number % 2) continue; // half of them are served, too
      await server.serve();
      await still_there(sound);
      const client = await server.connect();
      const refusal = await client.call('session.login', { institution: 'damaged', login: 'writer', password: 'hamroh-test' }).catch((e) => e);
      client.close();
      if (refusal instanceof Error) {
        assert.equal(refusal.code, -32009, String(refusal));
        assert.match(refusal.message, /data of this institution could not be opened/);
        const state = await ready(server);
        assert.equal(state.status, 503);
        assert.match(state.text, /1 institution could not be opened/);
        assert.equal(await metric(server, 'hamroh_institutions_unopened'), 1);
        const line = server.log.split('\n').find((l) => /institution\.not_opened/.test(l));
        assert.match(JSON.parse(line).reason, /damaged|gone or empty|restore/);
        // A client that comes back is not told that its session is gone.
        await assert.rejects(resume(damaged), { code: -32009 });
      } else {
        assert.ok(!certain);
      }
      await server.kill();
      server.log = '';
    }
    heal();
    await server.serve();
    await still_there(damaged);
    await still_there(sound);
  });
});
