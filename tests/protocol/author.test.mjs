// What authors of plugins are given: the lines that plugins say, tries on real data without effect, recordings of calls that
// are run again as the store was then.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { refused, serve_for, sleep, slow } from './harness.mjs';
import { mentee, mentor, person, programme } from './people.mjs';

const craft = (more = '') => `
return service {
  id = "craft",
  records = {
    craft_note = { key = "natural", fields = { text = text { required = true }, n = integer {} }, indexes = { by_n = { fields = { "n" } } } },
    craft_secret = { key = "natural", about = "person", sealed = { "secret" },
      fields = { person = ref "person" { required = true }, secret = any {}, mark = text {} } },
  },
  methods = {
    ["craft.write"] = { summary = "writes", access = "signed_in", writes = true, params = { id = text { required = true }, text = text { required = true }, n = integer {} },
      run = function(ctx, p)
        log.info("writing " .. p.id)
        local old = store.get("craft_note", p.id)
        if old then store.patch("craft_note", p.id, { text = p.text, n = p.n }) else
          store.put("craft_note", { id = p.id, data = { text = p.text, n = p.n }, audience = { "role:administrator" } }) end
        return { was = old and old.data.text or nil }
      end },
    ["craft.drop"] = { summary = "deletes", access = "signed_in", writes = true, params = { id = text { required = true } },
      run = function(ctx, p) store.delete("craft_note", p.id) return {} end },
    ["craft.whisper"] = { summary = "writes for somebody", access = "signed_in", writes = true, params = { id = text { required = true }, to = text { required = true } },
      run = function(ctx, p)
        store.put("craft_note", { id = p.id, data = { text = "between us" }, audience = { p.to } })
        return {}
      end },
    ["craft.roll"] = { summary = "depends on everything", access = "signed_in", writes = true, params = {},
      run = function(ctx, p)
        local seen, sum = {}, 0
        for note in store.each("craft_note", { index = "by_n" }) do seen[#seen + 1] = note.id .. "=" .. note.data.text sum = sum + (note.data.n or 0) end
        local id = ctx:uuid()
        store.put("craft_note", { id = id, data = { text = "rolled " .. ctx:random(1000000), n = 5000 }, audience = { "role:administrator" } })
        ${more}
        return { seen = store.array(seen), sum = sum, id = id, now = ctx.now, dice = ctx:random(1000000), me = ctx.person, old = store.count("craft_note") }
      end },
    ["craft.fail"] = { summary = "fails", access = "signed_in", params = { n = integer {} }, run = function(ctx, p)
      log.warn("about to fail")
      local nothing = p.nothing
      return nothing.field
    end },
    ["craft.keep"] = { summary = "seals", access = "signed_in", writes = true, params = { person = text { required = true }, secret = text { required = true } },
      run = function(ctx, p)
        if store.get("craft_secret", p.person) then store.patch("craft_secret", p.person, { secret = p.secret }) else
          store.put("craft_secret", { id = p.person, data = { person = p.person, secret = p.secret, mark = "m" }, audience = { "role:psychologist", "role:administrator" } }) end
        return { kept = true }
      end },
    ["craft.hide"] = { summary = "seals, not for administrators", access = "signed_in", writes = true, params = { person = text { required = true }, secret = text { required = true } },
      run = function(ctx, p)
        store.put("craft_secret", { id = "h-" .. p.person, data = { person = p.person, secret = p.secret }, audience = { "role:psychologist" } })
        return {}
      end },
    ["craft.open"] = { summary = "opens", access = "signed_in", params = { id = text { required = true } }, run = function(ctx, p)
      local secret = store.unseal(store.get("craft_secret", p.id), "secret", "to look")
      log.info("it is " .. secret)
      return { secret = secret }
    end },
    ["craft.lasts"] = { summary = "a job", access = "signed_in", writes = true, job = true, params = {},
      run = function() return { n = store.count("craft_note") } end,
      done = function(ctx, p, found) store.put("craft_note", { id = "done", data = { text = tostring(found.n) }, audience = { "role:administrator" } }) return found end },
    ["craft.loops"] = { summary = "never ends", access = "signed_in", params = {}, run = function() while true do end end },
  },
}
`;

const world = serve_for(test, { settings: 'return { log_keep_bytes = 65536 }' }, async (server) => {
  const place = await server.institution('school');
  const other = await server.institution('elsewhere');
  await place.deploy('service', 'craft', craft());
  await place.account('boss', ['administrator']);
  await other.account('boss', ['administrator']);
  const boss = await place.client('boss');
  const ali = await person(place, { name: 'Ali' }, 'ali');
  return { place, other, boss, ali, student: await place.client('ali'), psychologist: await place.account('psy', ['psychologist'], await person(place, { name: 'Psy', kind: 'staff' })) };
});
const call = (method, params) => world.boss.call(method, params);
const attempt = (params) => call('plugin.try', { kind: 'service', id: 'craft', ...params });
const notes = () => call('record.count', { type: 'craft_note' }).then((r) => r.count);
const audits = async (field, value) => (await call('record.list', { type: 'audit', order: 'desc', limit: 500 })).items.filter((a) => a.data[field] === value);
async function until(what, found) {
  for (const end = Date.now() + 20000 * slow; ; await sleep(30)) {
    const value = await found();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
  }
}
async function recorded(params, run) {
  await call('plugin.record', { kind: 'service', id: 'craft', calls: 1, ...params });
  const before = new Set((await call('plugin.recordings', {})).items.map((r) => r.recording));
  await run();
  return until('the recording', async () => (await call('plugin.recordings', { kind: 'service', id: 'craft' })).items.find((r) => !before.has(r.recording)));
}

// ---- what plugins say

world.test('lines and errors of plugins are listed with plugin, version, method, file and line', async () => {
  const { last } = await call('plugin.log', {});
  await world.student.call('craft.write', { id: 'said', text: 'x' });
  await refused(world.student.call('craft.fail', {}), -32006);
  const { items } = await call('plugin.log', { after: last });
  assert.deepEqual(items.map((l) => [l.level, l.kind, l.id, l.method, l.text]).slice(0, 2), [
    ['info', 'service', 'craft', 'craft.write', 'writing said'],
    ['warn', 'service', 'craft', 'craft.fail', 'about to fail'],
  ]);
  assert.match(items[2].text, /index a nil value/);
  assert.equal(items[2].level, 'error');
  const line = craft().split('\n').findIndex((l) => l.includes('return nothing.field')) + 1;
  assert.deepEqual([items[2].file, items[2].line], ['services/craft.lua', line]);
  assert.equal(items[1].line, line - 2);
  assert.match(items[0].version, /^[0-9a-f]{12}$/);
  const only = (await call('plugin.log', { after: last, level: 'error', kind: 'services', id: 'craft' })).items;
  assert.equal(only.length, 0, 'a filter by a kind that is none finds nothing');
  assert.equal((await call('plugin.log', { after: last, level: 'error', kind: 'service' })).items.length, 1);
  assert.equal((await call('plugin.log', { after: last, limit: 1 })).items[0].level, 'error', 'the newest');
  await refused(call('plugin.log', { level: 'loud' }), -32602);
});

world.test('what a call says after it opened a sealed field is not shown', async () => {
  await call('craft.keep', { person: world.ali, secret: 'very private' });
  const { last } = await call('plugin.log', {});
  assert.equal((await call('craft.open', { id: world.ali })).secret, 'very private');
  const { items } = await call('plugin.log', { after: last });
  assert.equal(items.length, 1);
  assert.doesNotMatch(JSON.stringify(items), /very private/);
});

world.test('a connection follows the log by filter until it closes it, and no other connection is told', async () => {
  const follower = await world.place.client('boss');
  const silent = await world.server.connect();
  await silent.call('session.resume', { token: follower.token });
  const elsewhere = await world.other.client('boss');
  await elsewhere.call('plugin.log_open', {});
  await follower.call('plugin.log_open', { level: 'warn', kind: 'service', id: 'craft' });
  await world.student.call('craft.write', { id: 'quiet', text: 'x' });
  await refused(world.student.call('craft.fail', {}));
  const told = (client) => client.notices.filter((n) => n.method === 'plugin.log');
  await follower.wait_for('the error', (n) => n.method === 'plugin.log' && n.params.level === 'error');
  assert.deepEqual(told(follower).map((n) => n.params.level), ['warn', 'error']);
  await follower.call('plugin.log_close', {});
  await refused(world.student.call('craft.fail', {}));
  for (const client of [follower, silent, elsewhere]) await client.call('session.list', {}); // behind any notice
  assert.equal(told(follower).length, 2);
  assert.equal(told(silent).length, 0, 'another connection of the same session did not ask');
  assert.equal(told(elsewhere).length, 0, 'another institution');
  for (const client of [follower, silent, elsewhere]) client.close();
});

world.test('whoever ceases to be an administrator is told no more', async () => {
  const { id } = await world.place.account('former', ['administrator']);
  const former = await world.place.client('former');
  await former.call('plugin.log_open', {});
  await world.student.call('craft.write', { id: 'a', text: 'x' });
  await former.wait_for('a line', (n) => n.method === 'plugin.log');
  await call('account.set_roles', { account: id, roles: ['coach'] });
  await world.student.call('craft.write', { id: 'a', text: 'y' });
  await former.call('session.list', {});
  assert.equal(former.notices.filter((n) => n.method === 'plugin.log').length, 1);
  await refused(former.call('plugin.log', {}), -32002);
  former.close();
});

world.test('a flood of lines leaves the follower with a count of what it missed, and the log with its newest', async () => {
  const noisy = 'return service { id = "noisy", methods = { ["noisy.go"] = { summary = "", access = "signed_in", params = {}, run = function() for i = 1, 100 do log.info("line " .. i) end return {} end } } }';
  await world.place.deploy('service', 'noisy', noisy);
  const follower = await world.place.client('boss');
  await follower.call('plugin.log_open', { id: 'noisy' });
  const lines = () => follower.notices.filter((n) => n.method === 'plugin.log');
  const missed = () => lines().reduce((sum, n) => sum + (n.params.missed ?? 0), 0);
  let said = 0;
  for (; said < 3000; said += 100) await call('noisy.go', {});
  await until('a notice that tells of all', async () => {
    await call('noisy.go', {});
    said += 100;
    await follower.call('session.list', {});
    return lines().length + missed() === said;
  });
  assert.ok(missed() > 1000 && lines().length < said / 2, `${missed()} missed, ${lines().length} told`);
  const kept = (await call('plugin.log', { id: 'noisy', limit: 1000 })).items;
  assert.equal(kept.at(-1).text, 'line 100');
  assert.ok(kept.length > 100 && JSON.stringify(kept).length <= 65536, `${JSON.stringify(kept).length} bytes kept`);
  follower.close();
});

// ---- tries

world.test('a try tells result, changes before and after, lines and time, and nothing of it is kept', async () => {
  await call('craft.write', { id: 'there', text: 'old', n: 1 });
  const before = await notes();
  const out = await attempt({ method: 'craft.write', params: { id: 'there', text: 'new' } });
  assert.deepEqual(out.result, { was: 'old' });
  assert.equal(out.changes.length, 1);
  const [change] = out.changes;
  assert.deepEqual(change.audience, ['role:administrator']);
  assert.deepEqual([change.action, change.type, change.id, change.before.text, change.after.text], ['updated', 'craft_note', 'there', 'old', 'new']);
  assert.deepEqual(out.logs.map((l) => [l.level, l.text]), [['info', 'writing there']]);
  assert.ok(out.cpu_ms >= 0);
  assert.match(out.version, /^[0-9a-f]{12}$/);
  assert.equal((await attempt({ method: 'craft.drop', params: { id: 'there' } })).changes[0].action, 'deleted');
  const job = await attempt({ method: 'craft.lasts' });
  assert.equal(job.result.n, before);
  assert.equal(job.changes[0].after.text, String(before), 'both parts of a job');
  assert.equal(await notes(), before);
  assert.equal((await call('record.get', { type: 'craft_note', id: 'there' })).data.text, 'old');
});

world.test('a source that is not deployed is tried, with the lines it says before it fails, and where', async () => {
  const source = craft().replace('local nothing = p.nothing', 'log.info("a new line") local nothing = p.nothing');
  const out = await attempt({ source, method: 'craft.fail' });
  assert.deepEqual(out.logs.map((l) => l.text), ['about to fail', 'a new line']);
  assert.equal(out.error.code, -32006);
  assert.equal(out.error.data.file, 'services/craft.lua');
  assert.equal(out.error.data.line, source.split('\n').findIndex((l) => l.includes('return nothing.field')) + 1);
  assert.deepEqual(out.changes, []);
  assert.equal((await attempt({ method: 'craft.fail' })).logs.length, 1, 'what is in force is as it was');
  const broken = await refused(attempt({ source: 'return service {\n id = "craft",,\n}', method: 'craft.fail' }), -32006);
  assert.equal(broken.data.errors[0].line, 2);
  const endless = await attempt({ method: 'craft.loops' });
  assert.equal(endless.error.code, -32007);
});

world.test('a try runs as its administrator or as a named person, who is told of in the audit', async () => {
  const out = await attempt({ method: 'craft.roll', person: world.ali });
  assert.equal(out.result.me, world.ali);
  assert.equal((await attempt({ method: 'craft.roll' })).result.me, undefined);
  const found = await audits('whose', world.ali);
  assert.ok(found.some((a) => a.data.why === 'plugin.try as this person: craft.roll' && a.data.who.startsWith('account:')), JSON.stringify(found[0]));
  await refused(attempt({ method: 'craft.roll', person: 'nobody' }), -32003);
  // A student may not what only staff may.
  assert.equal((await call('plugin.try', { kind: 'service', id: 'match', method: 'match.rules', person: world.ali })).error.code, -32002);
});

world.test('in a try sealed values are shown to nobody, opening them is audited, and no more is opened than its administrator may see', async () => {
  const kept = await attempt({ method: 'craft.keep', params: { person: world.ali, secret: 'told now' } });
  assert.deepEqual(kept.changes[0].after.secret, { sealed: true });
  assert.deepEqual(kept.changes[0].before.secret, { sealed: true });
  assert.doesNotMatch(JSON.stringify(kept), /told now/);
  const opened = (list) => list.filter((a) => a.data.field === 'secret').length;
  const before = opened(await audits('why', 'to look'));
  const out = await attempt({ method: 'craft.open', params: { id: world.ali } });
  assert.equal(out.result.secret, 'very private');
  assert.equal(opened(await audits('why', 'to look')), before + 1);
  await world.student.call('craft.hide', { person: world.ali, secret: 'not for administrators' });
  const psychologist = (await call('record.list', { type: 'person' })).items.find((p) => p.data.name === 'Psy').id;
  const as = await attempt({ method: 'craft.open', params: { id: `h-${world.ali}` }, person: psychologist });
  assert.ok(as.error, 'as a psychologist an administrator opens no more than before');
  assert.doesNotMatch(JSON.stringify(as), /not for administrators/);
  const own = await (await world.place.client('psy')).call('craft.open', { id: `h-${world.ali}` });
  assert.equal(own.secret, 'not for administrators');
});

world.test('changes to what its administrator may not see are told without their data', async () => {
  const out = await attempt({ method: 'craft.whisper', params: { id: 'w', to: `person:${world.ali}` }, person: world.ali });
  assert.deepEqual(out.changes, [{ action: 'created', type: 'craft_note', id: 'w', hidden: true }]);
  assert.equal((await attempt({ method: 'craft.whisper', params: { id: 'w', to: 'institution' } })).changes[0].after.text, 'between us');
});

world.test('a try of a questionnaire scores made-up answers', async () => {
  const answers = { g1: 3, g2: 3, g3: 3, g4: 3, g5: 3, g6: 3, g7: 3 };
  const out = await call('plugin.try', { kind: 'questionnaire', id: 'gad7', answers });
  assert.equal(out.result.scores.GAD7, 21);
  assert.equal(out.result.urgent, true);
  assert.equal((await call('plugin.try', { kind: 'questionnaire', id: 'gad7', answers: { g1: 77 } })).error.code, -32602);
});

world.test('a try of a matching rule tells who would change, gain and lose against the newest proposal', { timeout: 120000 * slow }, async () => {
  const term = await programme(call, 'Preview');
  for (let i = 0; i < 2; i++) await mentor(world.place, `Rule mentor ${i}`, 1, { strengths: [i ? 'physics' : 'calculus'] });
  const people = [];
  for (const needs of ['calculus', 'physics', 'law']) people.push(await mentee(world.place, `Wants ${needs}`, { needs: [needs] }));
  const rule = (points) => `return matcher { id = "mine", title = { en = "a", uz = "a", ["uz-Cyrl"] = "a", ru = "a" }, form = "successful-unsuccessful",
    mentor = { where = { gpa = at_least(4) }, capacity = "mentoring.capacity" }, mentee = { where = { gpa = below(3) } }, must = {},
    prefer = { complement("strengths", "needs", { points = ${points} }), equal("faculty", { points = ${10000 - points} }) } }`;
  await world.place.deploy('matcher', 'mine', rule(9000));
  const { job } = await call('match.run', { programme: term, rule: 'mine' });
  await until('the proposal', async () => (await call('job.get', { id: job })).state === 'done' || (await call('job.get', { id: job })).data?.state === 'done');
  const same = (await call('plugin.try', { kind: 'matcher', id: 'mine', programme: term })).result;
  assert.equal(same.counts.kept, 2);
  assert.deepEqual([same.changed, same.gained, same.lost], [[], [], []]);
  const turned = rule(9000).replace('complement("strengths", "needs"', 'gap("gpa"').replace('below(3)', 'below(3), name = "Wants law"');
  const out = (await call('plugin.try', { kind: 'matcher', id: 'mine', programme: term, source: turned })).result;
  assert.deepEqual([out.counts.lost, out.counts.gained, out.before.matched, out.after.matched], [2, 1, 2, 1]);
  assert.equal(out.gained[0].mentee_name, 'Wants law');
  assert.equal(out.lost[0].why.key, 'match.outside');
  assert.ok(out.lost[0].why.text.uz && out.lost[0].why.text['uz-Cyrl'] && out.lost[0].why.text.ru && out.lost[0].why.text.en);
});

// ---- recordings

world.test('a recorded call gives the same again on the store of then, whatever has changed since', async () => {
  await call('craft.write', { id: 'one', text: 'first', n: 10 });
  await call('craft.write', { id: 'two', text: 'second', n: 11 });
  let answer;
  const recording = await recorded({}, async () => (answer = await world.student.call('craft.roll', {})));
  assert.equal(recording.method, 'craft.roll');
  await call('craft.write', { id: 'one', text: 'changed', n: 99 });
  await call('craft.drop', { id: 'two' });
  await call('craft.write', { id: 'three', text: 'third', n: 12 });
  await call('craft.roll', {});
  const out = await call('plugin.replay', { recording: recording.recording });
  assert.deepEqual(out.result, answer);
  assert.equal(out.equal, true, JSON.stringify(out.differences));
  assert.equal(out.changes[0].after.text.startsWith('rolled '), true);
  const before = await notes();
  const other = await call('plugin.replay', { recording: recording.recording, source: craft('sum = sum + 1') });
  assert.equal(other.equal, false);
  assert.deepEqual(other.differences.result.places, [{ path: 'sum', was: answer.sum, is: answer.sum + 1 }]);
  assert.equal(other.differences.intents.count, 0);
  assert.equal(await notes(), before, 'without effect');
  const read = await audits('type', 'recording');
  assert.ok(read.some((a) => a.data.id === recording.recording && a.data.whose === world.ali), 'reading is audited');
});

world.test('failures alone are recorded when that was asked for, and a repaired source shows that it holds', async () => {
  const recording = await recorded({ calls: 5, failures: true }, async () => {
    await world.student.call('craft.write', { id: 'fine', text: 'x' });
    await refused(world.student.call('craft.fail', { n: 3 }));
  });
  assert.equal(recording.failed, true);
  assert.equal(recording.method, 'craft.fail');
  assert.equal((await call('plugin.recordings', {})).armed[0].calls, 4);
  await call('plugin.record', { kind: 'service', id: 'craft', calls: 0 });
  assert.deepEqual((await call('plugin.recordings', {})).armed, []);
  const again = await call('plugin.replay', { recording: recording.recording });
  assert.equal(again.equal, true, JSON.stringify(again.differences));
  // The service has sealed fields: what a failed call was given may be what it would have sealed.
  assert.equal(recording.sealed, true);
  await refused(call('plugin.replay', { recording: recording.recording, source: craft() }), -32002);
});

world.test('a recording of a call that seals tells no value, also not to a source of one\'s own', async () => {
  const recording = await recorded({}, () => call('craft.keep', { person: world.ali, secret: 'second secret' }));
  assert.equal(recording.sealed, true);
  const out = await call('plugin.replay', { recording: recording.recording });
  assert.equal(out.equal, true, JSON.stringify(out.differences));
  assert.equal(out.result, undefined);
  assert.doesNotMatch(JSON.stringify(out), /second secret/);
  await refused(call('plugin.replay', { recording: recording.recording, source: craft() }), -32002);
  const file = `${world.server.data}/institutions/school`;
  assert.ok(existsSync(`${file}/recordings.key`));
  assert.ok(!readFileSync(`${file}/data/data.mdb`).includes('second secret'), 'nothing of it lies in clear');
});

world.test('recordings are bounded, theirs alone, and end when somebody is erased', async () => {
  const recording = await recorded({}, () => world.student.call('craft.roll', {}));
  for (const [params, code] of [[{ calls: 51 }, -32602], [{ minutes: 0 }, -32602], [{ id: 'nothing' }, -32003]])
    await refused(call('plugin.record', { kind: 'service', id: 'craft', ...params }), code);
  await refused(world.student.call('plugin.recordings', {}), -32002);
  const elsewhere = await world.other.client('boss');
  assert.deepEqual((await elsewhere.call('plugin.recordings', {})).items, []);
  await refused(elsewhere.call('plugin.replay', { recording: recording.recording }), -32003);
  const leaver = await person(world.place, { name: 'Leaver' });
  await call('person.erase', { person: leaver, reason: 'asked for it' });
  assert.deepEqual((await call('plugin.recordings', {})).items, []);
  assert.ok(!existsSync(`${world.server.data}/institutions/school/recordings.key`));
  assert.deepEqual((await call('plugin.log', {})).items, []);
  await refused(call('plugin.replay', { recording: recording.recording }), -32003);
  const next = await recorded({}, () => world.student.call('craft.roll', {}));
  assert.equal((await call('plugin.replay', { recording: next.recording })).equal, true);
  elsewhere.close();
});
