// Sealed fields: each way in which one is opened leaves in the audit who, whose, when and why before its value is told, whatever
// becomes of the call behind it; and there is no other way by which the clear text gets out.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Server, job_result, refused, sleep, slow } from './harness.mjs';
import { Watched, fixture, person_audience, person_data } from './access/world.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const CLEAR = 'SEALED-clear-text';
let server, home, as;
const heard = []; // every text that anybody got: [role, method, text]

async function connection(role) {
  const client = await Watched.open(server.url, role, (...one) => heard.push(one));
  await client.login('home', role);
  return client;
}
test.before(async () => {
  server = await Server.start({ settings: 'return { log_plugin_texts = true }\n' }); // the log is to hold as much as it can
  home = await server.institution('home');
  await home.deploy('service', 'fixture', fixture);
  const people = { owner: ['student'], psychologist: ['psychologist'], outsider: ['student'], administrator: ['administrator'] };
  await home.call('fixture.put', { records: Object.keys(people).map((who) => ({ type: 'person', id: `person-${who}`, data: person_data(who), audience: person_audience(`person-${who}`) })) });
  await Promise.all(Object.entries(people).map(([login, roles]) => home.account(login, roles, `person-${login}`)));
  as = Object.fromEntries(await Promise.all(Object.keys(people).map(async (role) => [role, await connection(role)])));
  await Promise.all(Object.values(as).map((client) => client.open_feed()));
}, { timeout: 60000 * slow });
test.after(async () => {
  for (const client of Object.values(as ?? {})) client.close();
  await server?.stop();
});

let made = 0;
async function secrets(count = 1) {
  const ids = Array.from({ length: count }, () => `secret-${++made}`);
  await home.call('fixture.put', { records: ids.map((id) => ({ type: 'fixture_secret', id, data: { person: 'person-owner', secret: { text: CLEAR } },
    audience: ['person:person-owner', 'role:psychologist'] })) });
  return count === 1 ? ids[0] : ids;
}
async function result_of(moment) {
  const id = `person-owner:gad7:-:${moment}`;
  await home.call('fixture.put', { records: [{ type: 'questionnaire_result', id, data: { person: 'person-owner', questionnaire: 'gad7', version: '1', moment,
    answers: { g1: CLEAR }, private: { scores: { GAD7: 3 }, bands: { GAD7: CLEAR } }, taken: Date.now() }, audience: ['person:person-owner', 'role:psychologist'] }] });
  return id;
}
async function audits(id) {
  const items = [];
  for (let cursor; cursor !== null; ) {
    const page = await home.call('audit.list', { whose: 'person-owner', limit: 500, ...(cursor && { cursor }) });
    items.push(...page.items.map((r) => r.data));
    cursor = page.cursor;
  }
  return items.filter((a) => a.id === id);
}
function noted(found, expected, since) {
  assert.deepEqual(found.map(({ time, ...rest }) => rest).sort((a, b) => (a.field + a.why < b.field + b.why ? -1 : 1)),
    expected.sort((a, b) => (a.field + a.why < b.field + b.why ? -1 : 1)));
  for (const { time } of found) assert.ok(time >= since && time <= Date.now(), `at ${time}`);
}
const entry = (id, who, why, field = 'secret', type = 'fixture_secret') => ({ who, whose: 'person-owner', type, id, field, why });

// ---- opened -------------------------------------------------------------------------------------------------------------------

const gives = [
  ['record.get by a reader', 'psychologist', 'record.get', { type: 'fixture_secret' }],
  ['record.get by the one it is about', 'owner', 'record.get', { type: 'fixture_secret' }],
  ['a method that only reads', 'psychologist', 'fixture.open', {}],
  ['a method that writes', 'psychologist', 'fixture.open_write', {}],
];
for (const [name, role, method, params] of gives)
  test(`${name}: the value, and who, whose, when and why`, async () => {
    const since = Date.now(), id = await secrets();
    const given = await as[role].ask(method, { ...params, id, why: `to see ${id}` });
    assert.match(given.raw, new RegExp(CLEAR));
    noted(await audits(id), [entry(id, `person-${role}`, `to see ${id}`)], since);
  });

test('record.get without a reason says that it was record.get', async () => {
  const [one, two] = await secrets(2);
  await as.owner.call('record.get', { type: 'fixture_secret', id: one });
  await as.owner.call('record.get', { type: 'fixture_secret', id: two, why: '' });
  assert.deepEqual([...(await audits(one)), ...(await audits(two))].map((a) => a.why), ['record.get', 'record.get']);
});

test('questionnaire.open: each field that it opens', async () => {
  const since = Date.now(), id = await result_of('once');
  const given = await as.psychologist.ask('questionnaire.open', { result: id, why: 'a talk is due' });
  assert.match(given.raw, new RegExp(CLEAR));
  noted(await audits(id), [entry(id, 'person-psychologist', 'a talk is due', 'private', 'questionnaire_result')], since);
});

test('record.get of a questionnaire: both sealed fields', async () => {
  const since = Date.now(), id = await result_of('twice');
  await as.owner.call('record.get', { type: 'questionnaire_result', id, why: 'my own' });
  const of = (field) => entry(id, 'person-owner', 'my own', field, 'questionnaire_result');
  noted(await audits(id), [of('answers'), of('private')], since);
});

test('person.export: all that is sealed about the one whose it is, and the export itself', async () => {
  const since = Date.now(), id = await secrets(), result = await result_of('exported');
  const given = await as.owner.ask('person.export', {});
  assert.equal(given.result.records.find((r) => r.id === id).data.secret.text, CLEAR);
  noted(await audits(id), [entry(id, 'person-owner', 'export')], since);
  const of = (field) => entry(result, 'person-owner', 'export', field, 'questionnaire_result');
  noted(await audits(result), [of('answers'), of('private')], since);
  noted((await audits('person-owner')).filter((a) => a.time >= since), [entry('person-owner', 'person-owner', 'export', '', 'person')], since);
});

test('a job: both of its parts, and its progress tells nothing', async () => {
  const since = Date.now(), id = await secrets();
  const started = await as.psychologist.call('fixture.open_job', { id, why: 'a job' });
  await job_result((m, p) => as.psychologist.call(m, p), started);
  noted(await audits(id), [entry(id, 'person-psychologist', 'a job'), entry(id, 'person-psychologist', 'a job at its end')], since);
  assert.equal(heard.filter(([, method, text]) => method === 'job.progress' && text.includes(CLEAR)).length, 0);
});

test('a reaction of the server itself: the system', async () => {
  const since = Date.now(), id = await secrets();
  await home.call('fixture.put', { records: [{ type: 'fixture_sentinel', id: `react-${id}`, data: { open: id } }] });
  let found = [];
  for (const end = Date.now() + 20000 * slow; !found.length && Date.now() < end; await sleep(20)) found = await audits(id);
  noted(found, [entry(id, 'system', 'a reaction')], since);
});

// ---- and then something goes wrong --------------------------------------------------------------------------------------------

const fails = [
  ['an error behind it', 'fixture.open_error', -32006, false],
  ['a refusal that tells what was seen', 'fixture.open_refuse', -32004, true],
  ['no end of computing', 'fixture.open_spend', -32007, false],
  ['a write that the store refuses', 'fixture.open_twice_named', -32004, false],
];
for (const [name, method, code, tells] of fails)
  test(`${name}: it was opened, and that is written down`, async () => {
    const since = Date.now(), id = await secrets();
    const given = await as.psychologist.ask(method, { id, why: `for ${method}` });
    assert.equal(given.error.code, code);
    assert.equal(given.raw.includes(CLEAR), tells);
    noted(await audits(id), [entry(id, 'person-psychologist', `for ${method}`)], since);
  });

test('the worker is killed behind it: it was opened, and that is written down', async () => {
  const since = Date.now(), id = await secrets();
  const { job } = await as.psychologist.call('fixture.open_forever', { id, why: 'to the end' });
  await as.psychologist.wait_for('its progress', (m) => m.method === 'job.progress' && m.params.id === job && m.params.progress === 0.5);
  await as.psychologist.call('job.cancel', { id: job });
  await as.psychologist.wait_for('its end', (m) => m.method === 'job.progress' && m.params.id === job && m.params.state === 'cancelled');
  noted(await audits(id), [entry(id, 'person-psychologist', 'to the end')], since);
});

test('a call that was overtaken and, run again, opens nothing: it had been opened', async () => {
  const since = Date.now();
  let overtaken = [];
  for (let round = 0; !overtaken.length; round++) {
    assert.ok(round < 50, 'nobody was overtaken, or what they opened was not noted');
    if (round) await home.call('fixture.drop', { type: 'fixture_count', id: 'once' });
    const ids = await secrets(24);
    const answers = await Promise.all(ids.map((id) => as.psychologist.call('fixture.open_once', { id, why: 'a race' })));
    // Who was first counted; who opened and was overtaken found that, ran again, and says that nothing was opened.
    assert.equal(answers.filter((answer) => answer.opened).length, 1);
    for (const [i, id] of ids.entries()) {
      const entries = await audits(id);
      if (answers[i].opened || entries.length) noted(entries, [entry(id, 'person-psychologist', 'a race')], since);
      if (!answers[i].opened && entries.length) overtaken.push(id);
    }
  }
});

test('calls that overtake each other and run again: each opening once', async () => {
  const since = Date.now(), ids = await secrets(24);
  await Promise.all(ids.map((id, i) => (i % 2 ? as.psychologist : as.owner).call('fixture.open_race', { id, why: 'a race' })));
  for (const [i, id] of ids.entries()) noted(await audits(id), [entry(id, i % 2 ? 'person-psychologist' : 'person-owner', 'a race')], since);
});

// ---- not opened ---------------------------------------------------------------------------------------------------------------

test('who may not read a record opens nothing, writes nothing into the audit, and learns not that it is there', async () => {
  const id = await secrets();
  for (const role of ['outsider', 'administrator'])
    for (const method of ['fixture.open', 'fixture.open_write', 'record.get']) {
      const of = (which) => ({ id: which, why: 'curious', ...(method === 'record.get' && { type: 'fixture_secret' }) });
      const there = await as[role].ask(method, of(id)), never = await as[role].ask(method, of('absent-1'));
      assert.equal(there.error.code, -32003, `${role} ${method}`);
      assert.equal(there.raw, never.raw);
    }
  await refused(as.outsider.call('questionnaire.open', { result: await result_of('thrice'), why: 'curious' }), -32002);
  assert.deepEqual(await audits(id), []);
});

test('an export opens what is sealed for the one whose it is, and for nobody who exports them or themselves', async () => {
  const id = await secrets();
  const asked = [['administrator', { person: 'person-owner' }], ['administrator', {}], ['psychologist', {}], ['outsider', {}]];
  for (const [role, params] of asked) {
    const given = await as[role].ask('person.export', params);
    assert.equal(given.word, 'ok', role);
    assert.ok(!given.raw.includes(CLEAR) && !given.raw.includes(id), `${role} ${JSON.stringify(params)}`);
  }
  for (const role of ['outsider', 'psychologist']) {
    const there = await as[role].ask('person.export', { person: 'person-owner' });
    assert.equal(there.error.code, -32002);
    assert.equal(there.raw, (await as[role].ask('person.export', { person: 'absent-1' })).raw);
  }
  assert.deepEqual(await audits(id), []);
});

test('an export of somebody who never was is refused, and leaves nobody in the audit', async () => {
  await refused(as.administrator.call('person.export', { person: 'absent-1' }), -32003);
  assert.deepEqual((await home.call('audit.list', { whose: 'absent-1' })).items, []);
  await refused(as.administrator.call('person.erase', { person: 'absent-1', reason: 'asked for it' }), -32003);
});

// ---- repeated, and at rest ----------------------------------------------------------------------------------------------------

test('an answer that told of a sealed field is not kept with its idem key, and nothing is done twice', async () => {
  const id = await secrets(), params = { id, why: 'once', idem: 'sealed-1' };
  await as.psychologist.call('fixture.open_write', params);
  const { items } = await home.call('fixture.all', { type: 'fixture_count' });
  const again = await refused(as.psychologist.call('fixture.open_write', params), -32004);
  assert.equal(again.data.reason, 'idem_done');
  assert.equal((await home.call('fixture.all', { type: 'fixture_count' })).items.length, items.length);
  assert.equal((await audits(id)).length, 1);
  const get = { type: 'fixture_secret', id, why: 'looked', idem: 'sealed-2' };
  for (let i = 0; i < 2; i++) assert.equal((await as.psychologist.call('record.get', get)).data.secret.text, CLEAR);
  assert.equal((await audits(id)).length, 3);
  for (let i = 0; i < 2; i++) assert.ok((await as.owner.ask('person.export', { idem: 'sealed-3' })).raw.includes(id));
  assert.equal((await audits(id)).length, 5);
});

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    const stat = statSync(file);
    return stat.isDirectory() ? files(file) : stat.isFile() ? [file] : [];
  });
}

test('the clear text is in no file, no copy, no log, and in no answer, notice or event but those that opened it', async () => {
  const id = await secrets();
  await as.psychologist.call('fixture.open_log', { id, why: 'to log it' });
  await as.psychologist.call('fixture.open', { id, why: 'with a key', idem: 'sealed-4' });
  await as.psychologist.call('record.list', { type: 'fixture_secret', limit: 500 });
  await as.psychologist.call('record.list', { type: 'questionnaire_result', limit: 500 });
  await as.owner.call('questionnaire.mine', {});
  await as.owner.call('person.me', {});
  await as.administrator.call('audit.list', { limit: 500 });
  await as.administrator.call('job.list', { limit: 500 });
  await as.psychologist.call('job.list', { limit: 500 });
  await as.administrator.call('backup.create', { name: 'copy' });
  await as.owner.call('person.export');
  await as.administrator.call('person.export', { person: 'person-owner' });
  await as.psychologist.call('person.export');
  const replayed = await connection('psychologist');
  await replayed.open_feed({ after: { epoch: as.psychologist.epoch, seq: 0 } });
  await home.call('fixture.put', { records: [{ type: 'fixture_sentinel', id: 'end', data: {}, audience: ['institution'] }] });
  await Promise.all([...Object.values(as), replayed].map((client) => client.event('the end', (e) => e.id === 'end')));
  replayed.close();

  const open = new Set(['record.get', 'person.export', 'questionnaire.open', 'fixture.open', 'fixture.open_write', 'fixture.open_refuse', 'fixture.open_race']);
  const told = heard.filter(([, , text]) => text.includes(CLEAR));
  assert.ok(told.length > 30);
  for (const [role, method, text] of told) {
    assert.ok(open.has(method), `${role} by ${method}: ${text.slice(0, 400)}`);
    assert.ok(role === 'owner' || (role === 'psychologist' && method !== 'person.export'), `${role} by ${method}`);
  }
  assert.ok(server.log.includes(`before ${id}`), 'the log of the plugin is in the log');
  assert.ok(!server.log.includes(CLEAR));
  const there = files(server.data);
  assert.ok(there.some((f) => f.includes('backups')) && there.length > 8);
  for (const file of there) assert.ok(!readFileSync(file).includes(CLEAR), file);
});

// Whoever adds a way adds it here, and to the cases above.
test('sealed fields are opened in these places of the source and in no others', () => {
  const uses = (folder, suffix, pattern) => files(path.join(root, folder)).filter((f) => f.endsWith(suffix))
    .flatMap((f) => readFileSync(f, 'utf8').split('\n').filter((line) => pattern.test(line) && !/^\s*(--|\/\/)/.test(line)).map(() => path.relative(root, f))).sort();
  assert.deepEqual(uses('plugins', '.lua', /\bunseal\b/).filter((f) => !f.startsWith('plugins/meta/')), ['plugins/services/questionnaire.lua']);
  assert.deepEqual(uses('core', '.c', /\bhm_unseal\(/), // verify.c opens to see that it opens, and gives the text to nobody
    ['core/engine/answer.c', 'core/engine/methods_record.c', 'core/store/seal.c', 'core/store/verify.c']);
  assert.deepEqual(uses('core', '.c', /\bhm_record_open\(/), // the function itself, record.get, person.export
    ['core/engine/methods_person.c', 'core/engine/methods_record.c', 'core/engine/methods_record.c']);
});

// ---- durable ------------------------------------------------------------------------------------------------------------------

test('what was told before the power went is in the audit afterwards', { timeout: 60000 * slow }, async () => {
  const [id, other] = await secrets(2);
  const told = [];
  const calls = Array.from({ length: 200 }, (_, i) => (i % 2 ? as.psychologist : as.owner).call(
    i % 4 < 2 ? 'record.get' : 'fixture.open', i % 4 < 2 ? { type: 'fixture_secret', id, why: `reader ${i}` } : { id: other, why: `reader ${i}` },
  ).then(() => told.push(`reader ${i}`), () => {}));
  await Promise.race(calls);
  await server.kill();
  await Promise.all(calls);
  assert.ok(told.length > 0);
  await server.serve();
  const found = new Set([...(await audits(id)), ...(await audits(other))].map((a) => a.why));
  for (const why of told) assert.ok(found.has(why), `${why} got an answer and is not in the audit (${told.length} did)`);
});
