// Reactions of plugins: exactly once in their effects, in the order of the log, with the record before and after; across a
// restart, kill -9 and a deploy; and what keeps failing is set aside and does not hold up the others.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Server, refused, sleep, slow } from './harness.mjs';

const settings = 'return { reaction_tries = 3, reaction_retry_ms = 20 }';

// Notes are written by a method; each reaction writes an entry of its own, with a new id, so that one that ran twice shows.
const notes = `
return service {
  id = "notes",
  records = {
    note = { key = "natural", fields = { n = integer {}, word = text {}, secret = text {}, whose = text {} },
             about = "whose", sealed = { "secret" } },
    entry = { fields = { seen = text {}, seq = integer {}, n = integer {}, note = text {}, before = any {}, after = any {} },
              indexes = { by_seq = { fields = { "seen", "seq" } } } },
  },
  methods = {
    ["note.put"] = { access = "public", writes = true, params = false, run = function(ctx, p)
      return store.put("note", { id = p.id, data = { n = p.n, word = p.word, secret = p.secret, whose = p.whose },
        audience = { "institution" } }).version
    end },
    ["note.set"] = { access = "public", writes = true, params = false, run = function(ctx, p)
      return store.patch("note", p.id, { n = p.n, word = p.word }).version
    end },
    ["note.drop"] = { access = "public", writes = true, params = false, run = function(ctx, p)
      store.delete("note", p.id) return true
    end },
    ["note.entries"] = { access = "public", params = false, run = function(ctx, p)
      local out = store.array {}
      for e in store.each("entry", { index = "by_seq", equals = { p.seen } }) do
        out[#out + 1] = { seq = e.data.seq, n = e.data.n, note = e.data.note, before = e.data.before, after = e.data.after }
      end
      return out
    end },
  },
}`;

// A plugin that reacts; "name" tells its entries apart, body is Lua that runs first.
const watcher = (name, events, body = '') => `
local function seen(ctx, change)
  ${body}
  store.put("entry", { data = { seen = "${name}", seq = change.seq, note = change.id,
    n = change.record and change.record.data.n or change.before and change.before.data.n,
    before = change.before and change.before.data, after = change.record and change.record.data } })
end
return service { id = "${name}", on = { ${events.map((e) => `["${e}"] = seen`).join(', ')} } }`;

async function eventually(what, holds, ms = 20000 * slow) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
  }
}

const entries = (place, seen) => place.call('note.entries', { seen });
const lane = async (place, id) => (await place.call('plugin.reactions')).items.find((item) => item.plugin === id);

async function with_server(name, body) {
  test(name, { timeout: 180000 * slow }, async () => {
    const server = await Server.start({ settings });
    try {
      const place = await server.institution('school');
      await place.deploy('service', 'notes', notes);
      await body(server, place);
      await server.stop();
    } catch (error) {
      console.error(`--- log of the server ---\n${server.log.slice(-8000)}`);
      await server.kill().catch(() => {});
      throw error;
    }
  });
}

with_server('a reaction gets the record before and after, and sealed fields stay sealed', async (server, place) => {
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created', 'note.updated', 'note.deleted']));
  await place.call('note.put', { id: 'a', n: 1, word: 'one', secret: 'deep', whose: 'somebody' });
  await place.call('note.set', { id: 'a', n: 2, word: 'two' });
  await place.call('note.drop', { id: 'a' });
  const seen = await eventually('three entries', async () => {
    const list = await entries(place, 'eyes');
    return list.length === 3 && list;
  });
  const sealed = { sealed: true };
  const one = { n: 1, word: 'one', secret: sealed, whose: 'somebody' };
  const two = { n: 2, word: 'two', secret: sealed, whose: 'somebody' };
  assert.deepEqual(seen.map((e) => [e.before, e.after]), [[undefined, one], [one, two], [two, undefined]]);
});

with_server('the reactions of each plugin run in the order of the log, exactly once, also through kill -9', async (server, place) => {
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created', 'note.updated']));
  await place.deploy('service', 'others', watcher('others', ['note.created']));
  const acknowledged = [];
  for (let round = 0; round < 6; round++) {
    let writing = true;
    const writers = [0, 1, 2, 3].map(async (w) => {
      for (let i = 0; writing; i++) {
        const id = `r${round}-${w}-${i}`;
        await place.call('note.put', { id, n: i }).then(() => acknowledged.push(id), () => { writing = false; });
      }
    });
    await sleep(60 + ((round * 53) % 150)); // another moment each time
    await server.kill();
    writing = false;
    await Promise.all(writers);
    await server.serve();
  }
  assert.ok(acknowledged.length > 100, `only ${acknowledged.length} notes`);
  await place.call('note.put', { id: 'last', n: 0 });
  for (const who of ['eyes', 'others']) {
    const seen = await eventually(`${who} has seen the last`, async () => {
      const list = await entries(place, who);
      return list.at(-1)?.note === 'last' && list;
    });
    const ids = seen.map((e) => e.note);
    assert.equal(new Set(ids).size, ids.length, `${who}: something was reacted to twice`);
    const all = new Set(ids);
    for (const id of acknowledged) assert.ok(all.has(id), `${who}: nothing reacted to ${id}`);
  }
  const { items } = await place.call('record.list', { type: 'entry', limit: 1 });
  assert.equal(items.length, 0); // entries have no audience: nobody is told of them
});

with_server('entries are made in the order of the changes', async (server, place) => {
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created'], `
    local before = store.get("note", "!place")
    assert((before and before.data.n or 0) < change.seq, "out of order")
    if before then store.patch("note", "!place", { n = change.seq }) else store.put("note", { id = "!place", data = { n = change.seq } }) end`));
  await Promise.all(Array.from({ length: 60 }, (_, i) => place.call('note.put', { id: `n${i}`, n: i })));
  await eventually('all have been seen', async () => (await entries(place, 'eyes')).length >= 61);
  assert.equal((await lane(place, 'eyes')).set_aside.length, 0);
});

with_server('what happened while a plugin could not run is reacted to by its next version', async (server, place) => {
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created'], 'if change.record.data.word == "bad" then error("not this one") end'));
  await place.call('note.put', { id: 'good', n: 1 });
  await eventually('the first', async () => (await entries(place, 'eyes')).length === 1);
  await place.call('note.put', { id: 'wrong', n: 2, word: 'bad' });
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created']));
  const seen = await eventually('both, or the bad one set aside', async () => {
    const list = await entries(place, 'eyes');
    const { set_aside } = await lane(place, 'eyes');
    return list.length + set_aside.length === 2 && { list, set_aside };
  });
  if (seen.set_aside.length) await place.call('plugin.react_again', { kind: 'service', id: 'eyes', seq: seen.set_aside[0].seq });
  assert.deepEqual((await entries(place, 'eyes')).map((e) => e.note), ['good', 'wrong']);
});

with_server('a reaction that keeps failing is set aside, seen, and run again by hand; others do not wait for it', async (server, place) => {
  await place.deploy('service', 'bad', watcher('bad', ['note.created'], 'if change.record.data.word == "bad" then error("Aziza Karimova") end'));
  await place.deploy('service', 'good', watcher('good', ['note.created']));
  await Promise.all(['a', 'b', 'c', 'd'].map((id, n) => place.call('note.put', { id, n, word: id === 'b' ? 'bad' : 'fine' })));
  await eventually('the good one has seen all', async () => (await entries(place, 'good')).length === 4);
  const { set_aside } = await eventually('one is set aside', async () => {
    const found = await lane(place, 'bad');
    return found.set_aside.length && found.behind === 0 && found;
  });
  const [one] = set_aside;
  assert.equal(one.event, 'note.created');
  assert.equal(one.id, 'b');
  assert.equal(one.tries, 3);
  assert.equal(one.code, -32006);
  assert.equal(one.file, 'services/bad.lua');
  assert.ok(one.line > 0 && /^[0-9a-f]{12}$/.test(one.version));
  assert.deepEqual((await entries(place, 'bad')).map((e) => e.note).sort(), ['a', 'c', 'd'], 'the others went on');

  const metrics = await server.metrics();
  assert.match(metrics, /hamroh_reactions_set_aside\{institution="school"\} 1/);
  assert.match(metrics, /hamroh_reactions_set_aside_total 1/);
  assert.match(server.log, /"event":"reaction\.set_aside","institution":"school","plugin":"service\/bad"/);
  assert.doesNotMatch(server.log + metrics, /Aziza/);

  await server.kill(); // it is remembered
  await server.serve();
  assert.deepEqual((await eventually('the catalogue', () => lane(place, 'bad'))).set_aside, set_aside);
  const target = { kind: 'service', id: 'bad', seq: one.seq };
  assert.equal((await refused(place.call('plugin.react_again', target))).code, -32006);
  assert.equal((await lane(place, 'bad')).set_aside.length, 1);
  await place.deploy('service', 'bad', watcher('bad', ['note.created']));
  await place.call('plugin.react_again', target);
  assert.equal((await entries(place, 'bad')).filter((e) => e.note === 'b').length, 1);
  assert.equal((await lane(place, 'bad')).set_aside.length, 0);
  assert.equal((await refused(place.call('plugin.react_again', target))).code, -32003);
});

with_server('what is set aside can be dropped, and two plugins that call each other come to an end', async (server, place) => {
  await place.deploy('service', 'bad', watcher('bad', ['note.created'], 'error("never")'));
  await place.call('note.put', { id: 'x', n: 1 });
  const { set_aside } = await eventually('one is set aside', async () => {
    const found = await lane(place, 'bad');
    return found.set_aside.length && found;
  });
  await place.call('plugin.react_drop', { kind: 'service', id: 'bad', seq: set_aside[0].seq });
  assert.equal((await lane(place, 'bad')).set_aside.length, 0);
  await place.deploy('service', 'bad', watcher('bad', ['note.created'],
    'store.put("note", { id = change.id .. "x", data = { n = change.record.data.n + 1 } })'));
  await place.call('note.put', { id: 'y', n: 1 });
  await eventually('the end', async () => {
    const found = await lane(place, 'bad');
    return found.behind === 0 && (await entries(place, 'bad')).some((e) => e.n === 5);
  });
  assert.deepEqual((await entries(place, 'bad')).map((e) => e.n), [1, 2, 3, 4, 5]);
  assert.match(await server.metrics(), /hamroh_reactions_dropped_total 1/);
});

with_server('a plugin reacts to nothing from before it was there', async (server, place) => {
  await place.call('note.put', { id: 'early', n: 1 });
  await place.deploy('service', 'eyes', watcher('eyes', ['note.created']));
  await server.kill();
  await server.serve();
  await place.call('note.put', { id: 'late', n: 2 });
  const seen = await eventually('the late one', async () => {
    const list = await entries(place, 'eyes');
    return list.length && list;
  });
  assert.deepEqual(seen.map((e) => e.note), ['late']);
});
