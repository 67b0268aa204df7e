// Transactions through the whole product: random programs from several clients run in several workers at once, over few
// records. What each call read and what is left must equal the calls run one after the other, in the order of the change
// log, on plain objects. HAMROH_SEED repeats a run's programs (not its timing).
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for, slow } from './harness.mjs';

// A program is a text such as "add:1:2 count:0"; every call leaves a mark, whose place in the log is the call's place.
const plugin = `
local function trace_of(found) return found and found.data.n or -1 end

local steps = {}
function steps.get(see, a) see(trace_of(store.get("iso_item", a))) end
function steps.add(see, a, b)
  local item = store.get("iso_item", a)
  see(trace_of(item))
  if item then
    store.patch("iso_item", a, { n = item.data.n + b })
  else
    store.put("iso_item", { id = a, data = { n = b, g = 0 }, audience = { "institution" } })
  end
end
function steps.skew(see, a, b)
  local one, other = store.get("iso_item", a), store.get("iso_item", tostring(b))
  see(trace_of(one)) see(trace_of(other))
  if one and other and one.data.n + other.data.n > 1 then store.patch("iso_item", a, { n = one.data.n - 1 }) end
end
function steps.toggle(see, a, b)
  local item = store.get("iso_item", a)
  see(trace_of(item))
  if item then
    store.delete("iso_item", a)
  else
    store.put("iso_item", { id = a, data = { n = b, g = b % 2 }, audience = { "institution" } })
  end
end
function steps.cap(see, a, b)
  local count = store.count("iso_item", { index = "by_group", equals = { b % 2 } })
  see(count)
  if count >= 3 then return end
  if store.get("iso_item", a) then store.delete("iso_item", a) end
  store.put("iso_item", { id = a, data = { n = count, g = b % 2 }, audience = { "institution" } })
end
function steps.sum(see, a, b)
  local sum = 0
  for item in store.each("iso_item", { index = "by_n", from = tonumber(a), to = tonumber(a) + 1 + b }) do
    sum = sum + item.data.n * 10 + tonumber(item.id)
  end
  see(sum)
end
function steps.last(see)
  see(trace_of(store.first("iso_item", { index = "by_n", order = "desc" })))
end
function steps.free(see, a)
  for name = 0, 9 do
    if store.count("iso_name", { index = "by_name", equals = { name } }) == 0 then
      if store.get("iso_name", a) then store.delete("iso_name", a) end
      store.put("iso_name", { id = a, data = { name = name }, audience = { "institution" } })
      see(name)
      return
    end
  end
end

return service {
  id = "iso",
  records = {
    iso_item = { key = "natural", fields = { n = integer {}, g = integer {} },
      indexes = { by_n = { fields = { "n" } }, by_group = { fields = { "g" } } } },
    iso_name = { key = "natural", fields = { name = integer {} },
      indexes = { by_name = { fields = { "name" }, unique = true } } },
    iso_pair = { key = "natural", fields = {} },
    iso_mark = { key = "natural", fields = { n = integer {} } },
  },
  methods = {
    ["iso.run"] = { summary = "runs a program", access = "signed_in", writes = true,
      params = { op = text { required = true }, program = text { required = true, max_length = 500 }, spin = integer {} },
      run = function(ctx, p)
        local trace = store.array {}
        local function see(value) trace[#trace + 1] = value end
        for name, a, b in p.program:gmatch("(%l+):(%d+):(%d+)") do
          steps[name](see, a, tonumber(b))
          for _ = 1, p.spin or 0 do end
        end
        store.put("iso_mark", { id = p.op, data = {}, audience = { "institution" } })
        return { trace = trace }
      end },
    ["iso.total"] = { summary = "adds up everything, slowly", access = "signed_in", writes = true,
      params = { op = text { required = true }, spin = integer { required = true } },
      run = function(ctx, p)
        local total = 0
        for item in store.each("iso_item", { index = "by_group", equals = { 7 } }) do total = total + item.data.n end
        for _ = 1, p.spin do end
        store.put("iso_mark", { id = p.op, data = { n = total }, audience = { "institution" } })
        return { total = total }
      end },
    ["iso.pair"] = { summary = "makes a pair of these", access = "signed_in", writes = true,
      params = { op = text { required = true }, id = text { required = true }, members = list { of = text {} } },
      run = function(ctx, p)
        if store.get("iso_pair", p.id) then store.delete("iso_pair", p.id) end
        store.put("iso_pair", { id = p.id, data = {}, members = p.members, audience = { "institution" } })
        store.put("iso_mark", { id = p.op, data = {}, audience = { "institution" } })
        return {}
      end },
    ["iso.allowed"] = { summary = "asks for a right, and takes its time", access = "signed_in", writes = true,
      params = { op = text { required = true }, right = text { required = true }, spin = integer { required = true } },
      run = function(ctx, p)
        ctx:require(p.right)
        for _ = 1, p.spin do end
        store.put("iso_mark", { id = p.op, data = {}, audience = { "institution" } })
        return {}
      end },
    ["iso.hot"] = { summary = "makes an item, or adds one to it", access = "signed_in", writes = true,
      params = { op = text { required = true }, id = text { required = true } },
      run = function(ctx, p)
        local item = store.get("iso_item", p.id)
        local n = item and item.data.n + 1 or 1
        if item then
          store.patch("iso_item", p.id, { n = n })
        else
          store.put("iso_item", { id = p.id, data = { n = n, g = 7 }, audience = { "institution" } })
        end
        store.put("iso_mark", { id = p.op, data = {}, audience = { "institution" } })
        return { n = n }
      end },
  },
}
`;

// The same steps on plain objects.
const model_steps = {
  get: (m, see, a) => see(m.items.get(a)?.n ?? -1),
  add(m, see, a, b) {
    const item = m.items.get(a);
    see(item?.n ?? -1);
    m.items.set(a, { n: (item?.n ?? 0) + b, g: item?.g ?? 0 });
  },
  skew(m, see, a, b) {
    const [one, other] = [m.items.get(a), m.items.get(b)];
    see(one?.n ?? -1);
    see(other?.n ?? -1);
    if (one && other && one.n + other.n > 1) m.items.set(a, { ...one, n: one.n - 1 });
  },
  toggle(m, see, a, b) {
    const item = m.items.get(a);
    see(item?.n ?? -1);
    if (item) m.items.delete(a);
    else m.items.set(a, { n: b, g: b % 2 });
  },
  cap(m, see, a, b) {
    const count = [...m.items.values()].filter((i) => i.g === b % 2).length;
    see(count);
    if (count < 3) m.items.set(a, { n: count, g: b % 2 });
  },
  sum(m, see, a, b) {
    let sum = 0;
    for (const [id, item] of m.items) if (item.n >= a && item.n < a + 1 + b) sum += item.n * 10 + id;
    see(sum);
  },
  last: (m, see) => see(m.items.size ? Math.max(...[...m.items.values()].map((i) => i.n)) : -1),
  free(m, see, a) {
    const taken = new Set(m.names.values());
    for (let name = 0; name <= 9; name++)
      if (!taken.has(name)) {
        m.names.set(a, name);
        see(name);
        return;
      }
  },
};
const kinds = Object.keys(model_steps);

function random_of(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
const program_of = (random) =>
  Array.from({ length: 1 + random(3) }, () => `${kinds[random(kinds.length)]}:${random(4)}:${random(4)}`).join(' ');

const CLIENTS = 6;
const world = serve_for(test, { settings: 'return { workers_max = 4, cpu_ms = 20000, deadline_ms = 60000 }\n' }, async (server) => {
  const place = await server.institution('iso');
  await place.deploy('service', 'iso', plugin);
  await place.account('someone', ['student'], 'person-1');
  await place.account('member', ['student', 'coach'], 'person-2');
  const clients = [];
  for (let i = 0; i < CLIENTS; i++) clients.push(await place.client('someone'));
  const reader = await place.client('someone');
  await reader.open_feed({ types: ['iso_mark'] });
  return { place, clients, reader };
});

async function metric(name) {
  const text = await (await fetch(`${world.server.http}/metrics`)).text();
  const all = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))];
  assert.ok(all.length, `no metric ${name}`);
  return all.reduce((sum, found) => sum + Number(found[1]), 0);
}
// More workers are started when calls wait.
async function several_workers() {
  for (let i = 0; (await metric('hamroh_workers')) < 2; i++) {
    assert.ok(i < 30, 'no second worker came');
    const slow_ones = world.clients.map((client, n) => client.call('iso.run', { op: `warm-${i}-${n}`, program: 'get:0:0', spin: 3e7 }));
    await Promise.all(slow_ones);
  }
}
// Everything marked so far is in the reader's feed.
async function caught_up(name) {
  await world.clients[0].call('iso.run', { op: name, program: 'get:0:0' });
  await world.reader.event(name, (e) => e.id === name, 60000 * slow);
}

world.test('what random calls in several workers read and leave equals some order of them, that of the log', async (t) => {
  const seed = Number(process.env.HAMROH_SEED ?? Date.now() % 1e9);
  t.diagnostic(`HAMROH_SEED=${seed}`);
  const random = random_of(seed);
  const calls = new Map();
  let busy = 0;
  const one = async (client, op) => {
    const program = program_of(random);
    calls.set(op, { program });
    try {
      calls.get(op).trace = (await client.call('iso.run', { op, program, spin: random(3) * 3000 })).trace;
    } catch (error) {
      if (error.code !== -32004 || error.data.reason !== 'busy') throw error;
      busy++;
    }
  };
  const total = slow > 1 ? 500 : 1200;
  let next = 0;
  const stream = async (client) => {
    while (next < total) await one(client, `call-${next++}`);
  };
  await several_workers();
  await Promise.all(world.clients.flatMap((client) => Array.from({ length: 4 }, () => stream(client))));
  assert.ok((await metric('hamroh_workers')) >= 2, 'all ran in one worker');
  await caught_up('end-1');

  const model = { items: new Map(), names: new Map() };
  const marks = world.reader.feed.filter((e) => e.id.startsWith('call-'));
  assert.equal(marks.length + busy, calls.size, 'a call has no mark, or two');
  for (const [place, mark] of marks.entries()) {
    const { program, trace } = calls.get(mark.id);
    const seen = [];
    for (const [, kind, a, b] of program.matchAll(/(\w+):(\d):(\d)/g))
      model_steps[kind](model, (value) => seen.push(value), Number(a), Number(b));
    assert.deepEqual(trace, seen, `HAMROH_SEED=${seed}: ${mark.id} "${program}", ${place} in the log, did not read what was there`);
  }
  const items = (await world.reader.call('record.list', { type: 'iso_item', limit: 100 })).items;
  assert.deepEqual(
    items.map((i) => [Number(i.id), i.data.n, i.data.g]),
    [...model.items].sort(([a], [b]) => a - b).map(([id, i]) => [id, i.n, i.g]),
  );
  const names = (await world.reader.call('record.list', { type: 'iso_name', limit: 100 })).items;
  assert.deepEqual(names.map((i) => [Number(i.id), i.data.name]), [...model.names].sort(([a], [b]) => a - b));
  const conflicts = await metric('hamroh_conflicts_total');
  assert.ok(conflicts > 20, `only ${conflicts} conflicts: this proves little`);
  assert.ok((await metric('hamroh_conflict_reruns_total')) > 20);
  assert.equal(await metric('hamroh_conflicts_given_up_total'), busy);
});

world.test('a slow call that reads what others keep writing is not starved', async () => {
  const [slow_client, ...writers] = world.clients;
  let number = 0;
  let hot = true;
  const ids = Array.from({ length: 40 }, (_, i) => `hot-${i}`);
  for (const id of ids) await slow_client.call('iso.hot', { op: `hot-op-${number++}`, id });
  const writer = async (client) => {
    while (hot) await client.call('iso.hot', { op: `hot-op-${number++}`, id: ids[number % ids.length] });
  };
  const writing = Promise.all(writers.flatMap((client) => Array.from({ length: 4 }, () => writer(client))));
  await several_workers();
  const before = await metric('hamroh_exclusive_turns_total');
  const totals = new Map();
  try {
    for (let i = 0; i < 3; i++) {
      const { total } = await slow_client.call('iso.total', { op: `total-${i}`, spin: 4000000 / slow });
      totals.set(`total-${i}`, total);
    }
  } finally {
    hot = false;
  }
  await writing;
  await caught_up('end-2');
  let count = 0;
  for (const mark of world.reader.feed) {
    if (mark.id.startsWith('hot-op-')) count++;
    if (totals.has(mark.id)) assert.equal(totals.get(mark.id), count, `${mark.id} added up something that never was`);
  }
  assert.ok((await metric('hamroh_exclusive_turns_total')) > before, 'it was never overtaken: this proves nothing');
  assert.equal(await metric('hamroh_conflicts_given_up_total'), 0);
});

world.test('a right that is taken away while a call runs is not used after it', async () => {
  const [other] = world.clients;
  const member = await world.place.client('member');
  const account = (await world.place.call('account.list')).items.find((a) => a.login === 'member').id;
  const spin = 1e8 / slow;
  const cases = [
    ['membership', 'iso_pair:one', () => other.call('iso.pair', { op: 'left', id: 'one', members: ['person:person-1'] })],
    ['role', 'coach', () => world.place.call('account.set_roles', { account, roles: ['student'] })],
  ];
  await other.call('iso.pair', { op: 'joined', id: 'one', members: ['person:person-1', 'person:person-2'] });
  for (const [name, right, take_away] of cases) {
    await several_workers();
    await member.call('iso.allowed', { op: `${name} before`, right, spin: 0 });
    const reruns = await metric('hamroh_conflict_reruns_total');
    const using = member.call('iso.allowed', { op: `${name} during`, right, spin });
    for (let i = 0; (await metric('hamroh_running_calls')) < 1; i++) assert.ok(i < 1000, 'the call does not run');
    await take_away();
    const error = await refused(using, -32002);
    assert.ok(error.data.need.includes(right));
    assert.equal(await metric('hamroh_conflict_reruns_total'), reruns + 1);
    await refused(member.call('iso.allowed', { op: `${name} after`, right, spin: 0 }), -32002);
  }
  await caught_up('end-3');
  assert.deepEqual(
    world.reader.feed.map((e) => e.id).filter((id) => / (before|during|after)$/.test(id)),
    ['membership before', 'role before'],
  );
  member.close();
});

world.test('of many who make an account for one person at the same time only one does', async () => {
  const making = Array.from({ length: 6 }, (_, i) =>
    world.place.account(`same-${i}`, ['student'], 'person-9').then(() => 'made', (error) => error.data.reason),
  );
  const slowly = Array.from({ length: 3 }, (_, i) =>
    world.place
      .call('account.create', { login: `slow-${i}`, password: 'long enough words', roles: ['student'], person: 'person-8' })
      .then(() => 'made', (error) => error.data.reason),
  );
  for (const all of [making, slowly]) {
    const ends = await Promise.all(all);
    assert.equal(ends.filter((e) => e === 'made').length, 1, String(ends));
    assert.ok(ends.every((e) => ['made', 'busy', 'person_has_account'].includes(e)), String(ends));
  }
  const accounts = (await world.place.call('account.list')).items;
  assert.equal(accounts.filter((a) => a.person === 'person-9').length, 1);
  assert.equal(accounts.filter((a) => a.person === 'person-8').length, 1);
});
