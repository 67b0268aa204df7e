// What plugins may call, on a served institution: awards, pages of a list, who is asking; and plugin.api, from which an
// editor completes.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refused, serve_for } from './harness.mjs';

const plugin = `
return service {
  id = "merits",
  records = { thing = { key = "natural", fields = { n = integer {} }, indexes = { by_n = { fields = { "n" } } } } },
  methods = {
    ["merit.give"] = { access = "signed_in", writes = true, params = false, run = function(ctx, p)
      local award, fresh = award.give { person = p.person, kind = p.kind or "olympiad", title = { en = "First place" },
        amount = p.amount, unit = "points", evidence = p.evidence }
      return { id = award.id, fresh = fresh, data = award.data, audience = award.audience }
    end },
    ["merit.list"] = { access = "signed_in", params = false, run = function(ctx, p) return award.list(p.person) end },
    ["merit.revoke"] = { access = "signed_in", writes = true, params = false, run = function(ctx, p) award.revoke(p.id) end },
    ["merit.forge"] = { access = "signed_in", writes = true, params = false, run = function(ctx, p)
      store.put("award", { id = "x", data = { person = p.person } })
    end },
    ["thing.fill"] = { access = "signed_in", writes = true, params = false, run = function(ctx, p)
      for i = 1, p.count do store.put("thing", { id = "t" .. i, data = { n = i % 7 } }) end
    end },
    ["thing.page"] = { access = "signed_in", params = false, run = function(ctx, p)
      local page = store.page("thing", { index = p.index, order = p.order, limit = p.limit, cursor = p.cursor, equals = p.equals })
      local ids = store.array {}
      for i, r in ipairs(page.items) do ids[i] = r.id end
      return { ids = ids, cursor = page.cursor }
    end },
    ["who.am_i"] = { access = "signed_in", params = false, run = function(ctx)
      return { principals = ctx.principals, roles = ctx.roles, coach = ctx:is("coach"), self = ctx:is("person:" .. (ctx.person or "?")) }
    end },
  },
  on = { ["thing.updated"] = function(ctx, change)
    award.give { person = "p-student", kind = "diligence", title = "Diligence", evidence = { change.record } }
  end },
}`;

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('school');
  await place.deploy('service', 'merits', plugin);
  await place.account('coach', ['coach'], 'p-coach');
  await place.account('student', ['student'], 'p-student');
  await place.account('other', ['student'], 'p-other');
  return { place, coach: await place.client('coach'), student: await place.client('student'), other: await place.client('other') };
});
const evidence = [{ type: 'thing', id: 't1' }, { type: 'thing', id: 't2' }];

world.test('an award is counted once for a person, a kind and its evidence, whatever the order', async () => {
  const { coach, student, other } = world;
  const first = await coach.call('merit.give', { person: 'p-student', amount: 3, evidence });
  assert.equal(first.fresh, true);
  assert.deepEqual(first.data.evidence, ['thing:t1', 'thing:t2']);
  assert.deepEqual(first.audience, ['person:p-student', 'role:coordinator', 'role:administrator']);
  const again = await coach.call('merit.give', { person: 'p-student', amount: 9, evidence: [...evidence].reverse() });
  assert.deepEqual([again.fresh, again.id, again.data.amount], [false, first.id, 3]);
  const more = await coach.call('merit.give', { person: 'p-student', evidence: [evidence[0]] });
  assert.equal(more.fresh, true);
  assert.equal((await coach.call('merit.list', { person: 'p-student' })).length, 2);
  assert.equal((await coach.call('merit.list', { person: 'p-other' })).length, 0);
  const own = await student.call('record.list', { type: 'award', index: 'person', equals: ['p-student'] });
  assert.equal(own.items.length, 2);
  assert.equal((await other.call('record.list', { type: 'award' })).items.length, 0);
  await coach.call('merit.revoke', { id: more.id });
  assert.equal((await coach.call('merit.list', { person: 'p-student' })).length, 1);
  await refused(coach.call('merit.revoke', { id: more.id }), -32003);
});

world.test('who is not of the staff gives and takes no award, and no plugin writes one by hand', async () => {
  const { coach, student } = world;
  const error = await refused(student.call('merit.give', { person: 'p-student', evidence }), -32002);
  assert.match(error.data.need, /coordinator, coach/);
  const [award] = await coach.call('merit.list', { person: 'p-student' });
  await refused(student.call('merit.revoke', { id: award.id }), -32002);
  await refused(coach.call('merit.forge', { person: 'p-student' }), -32006);
  await refused(coach.call('merit.give', { person: 'p-student', evidence: [] }), -32006);
});

world.test('the pages of a list are the list, each record once, in both directions', async () => {
  const { coach } = world;
  await coach.call('thing.fill', { count: 40 });
  for (const options of [{}, { index: 'by_n' }, { index: 'by_n', order: 'desc' }, { order: 'desc' }, { index: 'by_n', equals: [3] }]) {
    const all = (await coach.call('thing.page', { ...options, limit: 500 })).ids;
    const got = [];
    let pages = 0;
    for (let cursor; pages < 50; pages++) {
      const page = await coach.call('thing.page', { ...options, limit: 7, cursor });
      got.push(...page.ids);
      cursor = page.cursor;
      if (!cursor) break;
    }
    assert.deepEqual(got, all, JSON.stringify(options));
    assert.equal(pages, Math.ceil(all.length / 7) - 1);
  }
  const { cursor } = await coach.call('thing.page', { limit: 3 });
  await refused(coach.call('thing.page', { index: 'by_n', cursor }), -32006);
  await refused(coach.call('thing.page', { cursor: 'zz' }), -32006);
});

world.test('ctx says what the caller is', async () => {
  const { coach } = world;
  const me = await coach.call('who.am_i', {});
  assert.ok(me.principals.includes('person:p-coach') && me.principals.includes('role:coach'));
  assert.deepEqual([me.roles, me.coach, me.self], [['coach'], true, true]);
});

world.test('an editor learns every module, constructor and type', async () => {
  const api = await world.student.call('plugin.api');
  const store = api.modules.find((m) => m.name === 'store');
  const put = store.functions.find((f) => f.name === 'put');
  assert.match(put.signature, /^type: string, record: /);
  assert.match(put.errors, /conflict/);
  assert.match(api.modules.find((m) => m.name === 'award').functions.find((f) => f.name === 'give').need, /coach/);
  assert.deepEqual(api.constructors.map((c) => c.kind), ['schema', 'service', 'matcher', 'activity', 'questionnaire', 'report']);
  assert.ok(api.types.find((t) => t.name === 'Change').fields.some((f) => f.name === 'before'));
});
