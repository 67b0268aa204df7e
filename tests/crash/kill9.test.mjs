// kill -9 under write load, twenty times: every acknowledged write is there after the restart, the change log verifies,
// and a client resumes its feed without gap or repetition.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Server, sleep, slow } from '../protocol/harness.mjs';
import { probe } from '../protocol/probe.mjs';
import { Ledger, clients, verify } from './ledger.mjs';

const ROUNDS = Number(process.env.HAMROH_CRASH_ROUNDS ?? 20);
const WRITERS = 8;
const IN_FLIGHT = 8; // of each writer

test('what was acknowledged survives kill -9 at any moment', { timeout: 600000 * slow }, async () => {
  const server = await Server.start();
  try {
    const place = await server.institution('crash');
    await place.deploy('service', 'probe', probe);
    await place.account('writer', ['student']);
    const ledger = new Ledger();
    const { acknowledged } = ledger;

    const reader = await place.client('writer');
    await reader.open_feed({ types: ['probe'] });
    const { token } = reader;

    for (let round = 0; round < ROUNDS; round++) {
      const writers = await clients(server, token, WRITERS);
      const stop = ledger.start(writers, IN_FLIGHT);
      await sleep(20 + ((round * 37) % 300)); // another moment each time
      const before = acknowledged.size;
      await server.kill();
      await stop();
      writers.forEach((c) => c.close());
      await reader.closed;
      assert.ok(acknowledged.size >= before);

      const verified = await verify(server.data);
      assert.ok(!(verified instanceof Error), `round ${round}: verify: ${verified.stdout}${verified.stderr}`);

      await server.serve();
      reader.url = server.url;
      const opened = await reader.resume();
      assert.equal(opened.recovered, true, `round ${round}: the feed could not be resumed`);
      const texts = [...acknowledged].slice(-400); // the latest are the ones at risk; all are looked at below
      await Promise.all(
        texts.map(async ([text, id]) => {
          const read = await reader.call('record.get', { type: 'probe', id });
          assert.equal(read.data.text, text);
        }),
      );
      // The feed has caught up when a change made now has come.
      assert.equal(await ledger.write(reader, 'mark'), null);
      const mark = [...acknowledged.values()].at(-1);
      await reader.event(`mark ${round}`, (e) => e.id === mark, 30000 * slow);
    }

    assert.ok(acknowledged.size > ROUNDS * 20, `only ${acknowledged.size} writes in all`);
    await ledger.check(reader);
    let count = 0; // a call looks at so many records and says where to go on
    for (let cursor; cursor !== null; ) {
      const part = await reader.call('record.count', { type: 'probe', ...(cursor && { cursor }) });
      count += part.count;
      cursor = part.cursor ?? null;
    }
    const created = reader.feed.filter((e) => e.action === 'created');
    assert.equal(created.length, count, 'the feed had another number of records than the store');
    assert.equal(new Set(created.map((e) => e.id)).size, created.length, 'something came twice');
    const ids = new Set(created.map((e) => e.id));
    for (const [text, id] of acknowledged) assert.ok(ids.has(id), `${text} was acknowledged and is lost`);
    const seqs = reader.feed.map((e) => e.seq);
    for (let i = 1; i < seqs.length; i++) assert.ok(seqs[i] > seqs[i - 1], 'out of order');
    reader.close();
    await server.stop();
  } catch (error) {
    console.error(`--- log of the server ---\n${server.log.slice(-8000)}`);
    await server.kill().catch(() => {});
    throw error;
  }
});
