// The same idem key from the same person within seven days gets the answer that was given, and nothing is done twice:
// methods of plugins and of the core, over reconnects, restarts and kill -9.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Client, job_result, password, refused, Server, serve_for, sleep, slow } from './harness.mjs';
import { probe } from './probe.mjs';

const day = 24 * 3600 * 1000;

const keeper = `
return service {
  id = "keeper",
  records = {
    secret = { key = "natural", about = "person", sealed = { "answers" },
      fields = { person = text { required = true }, answers = text {}, seen = integer {} } },
    keeper_log = { key = "uuid", fields = { n = integer {} } },
  },
  methods = {
    -- What it answers is stored nowhere else.
    ["keeper.whisper"] = { summary = "says something back", access = "signed_in", writes = true,
      params = { text = text { required = true } },
      run = function(ctx, p)
        store.put("keeper_log", { data = { n = #p.text }, audience = { "institution" } })
        return { heard = p.text }
      end },
    ["keeper.only_even"] = { summary = "refuses while the counter is odd", access = "signed_in", writes = true,
      run = function(ctx, p)
        local found = store.get("probe_counter", "parity")
        if not found or found.data.n % 2 == 1 then ctx:refuse("odd", { en = "odd" }) end
        store.put("keeper_log", { data = { n = found.data.n }, audience = { "institution" } })
        return { n = found.data.n }
      end },
    ["keeper.seal"] = { summary = "keeps a secret", access = "signed_in", writes = true,
      params = { text = text { required = true } },
      run = function(ctx, p)
        store.put("secret", { id = "one", data = { person = "person-1", answers = p.text }, audience = { "institution" } })
        return {}
      end },
    ["keeper.open"] = { summary = "opens it and notes that", access = "signed_in", writes = true,
      run = function(ctx, p)
        local found = store.get("secret", "one")
        local text = store.unseal(found, "answers", "the test wants it")
        store.patch("secret", "one", { seen = (found.data.seen or 0) + 1 })
        return { text = text }
      end },
    ["keeper.long"] = { summary = "long work", access = "signed_in", job = true, writes = true,
      run = function(ctx, p) return { n = 1 } end,
      done = function(ctx, p)
        store.put("keeper_log", { data = { n = -1 }, audience = { "institution" } })
        return { n = 2 }
      end },
    ["keeper.endless"] = { summary = "longer work", access = "signed_in", job = true,
      run = function(ctx, p) while true do end end },
  },
}
`;

const small = (n) => `return service { id = "small", methods = { ["small.n"] = { summary = "n", access = "signed_in", run = function() return ${n} end } } }`;

async function school(server, id = 'idem') {
  const place = await server.institution(id);
  await place.deploy('service', 'probe', probe);
  await place.deploy('service', 'keeper', keeper);
  await place.account('ann', ['student'], 'person-1');
  await place.account('bob', ['student'], 'person-2');
  await place.account('admin', ['administrator']);
  return place;
}

const world = serve_for(test, { settings: 'return { clock = "manual", session_days = 60, session_idle_hours = 2000 }\n' }, async (server) => {
  const place = await school(server);
  const [ann, bob, admin] = await Promise.all(['ann', 'bob', 'admin'].map((login) => place.client(login)));
  return { place, ann, bob, admin };
});

async function metric(server, name) {
  const text = await (await fetch(`${server.http}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)[1]);
}
const count_of = async (client, type) => (await client.call('record.count', { type })).count;
const up = (client, id, idem) => client.call('probe.count_up', { id, idem });

world.test('the same key gets the same answer: again, from another connection, another session, and over HTTP', async () => {
  const { ann, place, server } = world;
  const first = await up(ann, 'a', 'key-a');
  assert.deepEqual(first, { n: 1 });
  const replays = await metric(server, 'hamroh_idem_replays_total');
  assert.deepEqual(await up(ann, 'a', 'key-a'), first);
  const other = await place.client('ann');
  assert.deepEqual(await up(other, 'a', 'key-a'), first);
  const response = await fetch(`${server.http}/rpc`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${other.token}` },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'probe.count_up', params: { idem: 'key-a', id: 'a' } }),
  });
  assert.deepEqual((await response.json()).result, first);
  assert.equal(await metric(server, 'hamroh_idem_replays_total'), replays + 3);
  assert.deepEqual(await up(ann, 'a', 'key-a2'), { n: 2 });
  other.close();
});

world.test('the key of one person means nothing to another one', async () => {
  const { ann, bob, admin } = world;
  assert.deepEqual(await up(ann, 'b', 'shared'), { n: 1 });
  assert.deepEqual(await up(bob, 'b', 'shared'), { n: 2 });
  assert.deepEqual(await up(admin, 'b', 'shared'), { n: 3 }); // an account without a person
  assert.deepEqual(await up(admin, 'b', 'shared'), { n: 3 });
});

world.test('calls with one key that come at the same time are one call', async () => {
  const { place, ann } = world;
  const clients = await Promise.all(Array.from({ length: 5 }, () => place.client('ann')));
  const answers = await Promise.all(clients.flatMap((client) => Array.from({ length: 8 }, () => up(client, 'c', 'at-once'))));
  for (const answer of answers) assert.deepEqual(answer, { n: 1 });
  assert.deepEqual(await up(ann, 'c', 'later'), { n: 2 });
  clients.forEach((client) => client.close());
});

world.test('a key that was used for another call is refused', async () => {
  const { ann, server } = world;
  await up(ann, 'd', 'used');
  const before = await metric(server, 'hamroh_idem_refused_total');
  const other_params = await refused(up(ann, 'e', 'used'), -32004);
  assert.equal(other_params.data.reason, 'idem_reused');
  const other_method = await refused(ann.call('probe.put', { text: 'x', idem: 'used' }), -32004);
  assert.equal(other_method.data.reason, 'idem_reused');
  assert.equal(await metric(server, 'hamroh_idem_refused_total'), before + 2);
  await refused(ann.call('probe.count_up', { id: 'd', idem: '' }), -32602);
  await refused(ann.call('probe.count_up', { id: 'd', idem: 'x'.repeat(65) }), -32602);
  await refused(ann.call('probe.count_up', { id: 'd', idem: 7 }), -32602);
  assert.equal(await count_of(ann, 'probe_counter'), 4);
  // Neither the order of the members nor white space makes another call.
  const put = { text: 'a "quoted \\" text', n: 3, to: ['institution'], idem: 'order' };
  const first = await ann.call('probe.put', put);
  const { text, ...rest } = put;
  assert.deepEqual(await ann.call('probe.put', { ...rest, text }), first);
  const answer = new Promise((resolve, reject) => ann.pending.set('spaced', { resolve, reject }));
  ann.write(JSON.stringify({ jsonrpc: '2.0', id: 'spaced', method: 'probe.put', params: put }, null, 3));
  assert.deepEqual((await answer).result, first);
});

world.test('an error is not kept: the same key may be tried again', async () => {
  const { ann } = world;
  await up(ann, 'parity', 'p1');
  for (let i = 0; i < 2; i++) await refused(ann.call('keeper.only_even', { idem: 'even' }));
  await up(ann, 'parity', 'p2');
  assert.deepEqual(await ann.call('keeper.only_even', { idem: 'even' }), { n: 2 });
  await up(ann, 'parity', 'p3');
  assert.deepEqual(await ann.call('keeper.only_even', { idem: 'even' }), { n: 2 });
});

world.test('methods of the core do nothing twice either', async () => {
  const { admin, ann, place, server } = world;
  // Gives the first answer; the second call with the same key must give the same.
  const twice = async (client, method, params, key = method) => {
    const first = await client.call(method, { ...params, idem: key });
    assert.deepEqual(await client.call(method, { ...params, idem: key }), first, method);
    return first;
  };
  const { id } = await twice(admin, 'account.create', { login: 'carol', password: 'long enough words' });
  await refused(admin.call('account.create', { login: 'carol', password: 'long enough words' }), -32004);
  await twice(admin, 'account.set_roles', { account: id, roles: ['coach'] });
  await twice(admin, 'account.set_state', { account: id, state: 'closed' });
  await admin.call('account.set_state', { account: id, state: 'active' });

  const carol = await server.connect();
  await carol.login('idem', 'carol', 'long enough words');
  const change = { old: 'long enough words', new: 'other words, longer' };
  const both = await Promise.all([1, 2].map(() => carol.call('session.change_password', { ...change, idem: 'pw' })));
  assert.deepEqual(both, [{}, {}]);
  assert.deepEqual(await carol.call('session.change_password', { ...change, idem: 'pw' }), {});
  await refused(carol.call('session.change_password', { ...change, idem: 'pw-2' }), -32602);
  carol.close();

  const others = await Promise.all([1, 2].map(() => place.client('bob')));
  const list = (await others[0].call('session.list')).items;
  const gone = list.find((s) => !s.current).id;
  assert.deepEqual(await others[0].call('session.revoke', { id: gone, idem: 'r' }), {});
  assert.deepEqual(await others[0].call('session.revoke', { id: gone, idem: 'r' }), {});
  others.forEach((client) => client.close());
  world.bob = await place.client('bob');
  const leaving = await place.client('bob');
  assert.deepEqual(await leaving.call('session.logout', { idem: 'bye' }), {});
  assert.deepEqual(await world.bob.call('session.logout', { idem: 'bye' }), {});
  await world.bob.call('session.list'); // the second did not sign this one out
  leaving.close();

  const v1 = await twice(admin, 'plugin.deploy', { kind: 'service', id: 'small', source: small(1) }, 'v1');
  const [v2, same] = await Promise.all(
    [1, 2].map(() => admin.call('plugin.deploy', { kind: 'service', id: 'small', source: small(2), idem: 'v2' })),
  );
  assert.deepEqual(v2, same);
  assert.notEqual(v1.version, v2.version);
  assert.equal((await admin.call('plugin.history', { kind: 'service', id: 'small' })).items.length, 2);
  await twice(admin, 'plugin.rollback', { kind: 'service', id: 'small' });
  assert.equal(await ann.call('small.n'), 1);

  const logs = await count_of(ann, 'keeper_log');
  const { job } = await twice(ann, 'keeper.long', {});
  await job_result(ann.call.bind(ann), { job });
  assert.equal(await count_of(ann, 'keeper_log'), logs + 1);
  assert.equal((await ann.call('job.list')).items.length, 1);
  const endless = await ann.call('keeper.endless', { idem: 'endless' });
  await twice(ann, 'job.cancel', { id: endless.job });

  const founded = await twice(server.control, 'institution.create', { id: 'twin', title: 'Twin' });
  assert.ok(founded.code);
  await twice(admin, 'backup.create', {});
  const before = (await admin.call('server.info')).time;
  const moved = await Promise.all([1, 2, 3].map(() => admin.call('clock.advance', { ms: 1000, idem: 'tick' })));
  assert.deepEqual(moved, Array(3).fill({ time: before + 1000 }));
});

function bytes_under(dir) {
  return readdirSync(dir).flatMap((name) => {
    const file = path.join(dir, name);
    const info = statSync(file);
    return info.isDirectory() ? bytes_under(file) : info.isFile() ? [[file, readFileSync(file)]] : [];
  });
}

// A text as it is, and as it looks inside base64, whatever comes before it.
const forms_of = (text) => [text, ...[0, 1, 2].map((n) => Buffer.from(' '.repeat(n) + text).toString('base64').slice(n && 4, -4))];

world.test('no kept answer lies in the data folder in clear, and what was sealed is not kept at all', async () => {
  const { ann, admin, server } = world;
  const needle = 'kingfisher-over-the-river';
  assert.deepEqual(await ann.call('keeper.whisper', { text: needle, idem: 'hush' }), { heard: needle });
  assert.deepEqual(await ann.call('keeper.whisper', { text: needle, idem: 'hush' }), { heard: needle });
  const person = await admin.call('person.create', { name: 'Somebody', kind: 'student' });
  const { code } = await admin.call('person.invite', { person: person.id, idem: 'invite' });
  assert.equal((await admin.call('person.invite', { person: person.id, idem: 'invite' })).code, code);

  await ann.call('keeper.seal', { text: 'the heron sleeps' });
  assert.deepEqual(await ann.call('keeper.open', { idem: 'open' }), { text: 'the heron sleeps' });
  assert.equal((await refused(ann.call('keeper.open', { idem: 'open' }), -32004)).data.reason, 'idem_done');
  assert.equal((await ann.call('record.get', { type: 'secret', id: 'one' })).data.seen, 1);

  // A sign-in takes no notice of the key: each one gives a token of its own.
  const tokens = [];
  for (let i = 0; i < 2; i++) {
    const session = await ann.call('session.login', { institution: 'idem', login: 'ann', password, idem: 'sign-in' });
    tokens.push(session.token);
  }
  assert.notEqual(tokens[0], tokens[1]);
  const words = [needle, code, 'the heron sleeps', 'long enough words', 'other words, longer', ...tokens, ann.token];
  const files = bytes_under(server.data);
  assert.ok(files.some(([, bytes]) => bytes.includes('keeper.whisper')), 'the search finds what is there');
  for (const [file, bytes] of files)
    for (const word of words) for (const form of forms_of(word)) assert.ok(!bytes.includes(form), `${file} holds "${word}"`);
});

world.test('after seven days the key is free again', async () => {
  const { ann, admin } = world;
  assert.deepEqual(await up(ann, 'week', 'weekly'), { n: 1 });
  await admin.call('clock.advance', { ms: 7 * day - 1 });
  assert.deepEqual(await up(ann, 'week', 'weekly'), { n: 1 });
  await admin.call('clock.advance', { ms: 1 });
  assert.deepEqual(await up(ann, 'week', 'weekly'), { n: 2 });
  assert.deepEqual(await up(ann, 'week', 'weekly'), { n: 2 });
});

test('a call that is sent again after a restart or kill -9 is done once, whenever the server died', { timeout: 300000 * slow }, async () => {
  const server = await Server.start();
  try {
    const place = await school(server, 'kill');
    const first = await place.client('ann');
    const { token } = first;
    assert.deepEqual(await up(first, 'calm', 'calm'), { n: 1 });
    server.control.close();
    server.child.kill('SIGTERM');
    await server.exited;
    await server.serve();

    let done_before = 0;
    const rounds = 6;
    const each = 20;
    for (let round = 0; round <= rounds; round++) {
      const client = await Client.open(server.url);
      await client.call('session.resume', { token });
      assert.deepEqual(await up(client, 'calm', 'calm'), { n: 1 });
      if (round > 0) {
        // What was under way when the server died, again with the same keys.
        const before = await metric(server, 'hamroh_idem_replays_total');
        const numbers = await Promise.all(Array.from({ length: each }, (_, i) => up(client, `r${round - 1}-${i % 4}`, `key-${round - 1}-${i}`)));
        for (let k = 0; k < 4; k++)
          assert.deepEqual(numbers.filter((_, i) => i % 4 === k).map((a) => a.n).sort(), [1, 2, 3, 4, 5], 'something was done twice, or not at all');
        done_before += (await metric(server, 'hamroh_idem_replays_total')) - before;
      }
      if (round === rounds) {
        client.close();
        break;
      }
      const sent = Promise.allSettled(Array.from({ length: each }, (_, i) => up(client, `r${round}-${i % 4}`, `key-${round}-${i}`)));
      await sleep(round * round); // another moment each time; the last one long after the commits
      if (round === rounds - 1) await sent;
      await server.kill();
      await sent;
      await server.serve();
    }
    assert.ok(done_before >= each, 'no call had been done before the server died');
    await server.stop();
  } catch (error) {
    console.error(`--- log of the server ---\n${server.log.slice(-8000)}`);
    await server.kill().catch(() => {});
    throw error;
  }
});
