// Who may do and see what: every method and every record type against every role, as the tables in access/ have them. One server;
// the clients of all roles call at the same time. access/README.md says how a row is added.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { job_result, slow } from './harness.mjs';
import { calls, in_turn, own_account, own_connection, target } from './access/calls.mjs';
import { at_home, read_methods, read_records, roles, words } from './access/matrix.mjs';
import { World, marker, person_data, person_audience, person_id } from './access/world.mjs';

const methods = read_methods();
const records = read_records();
let w;
test.before(async () => {
  w = await World.start();
}, { timeout: 60000 * slow });
test.after(() => w?.stop());

const differences = (a, b) => [...a].filter((x) => !b.has(x));
function none(list, what) {
  assert.equal(list.length, 0, `${what}:\n  ${list.slice(0, 40).join('\n  ')}`);
}

// ---- the tables are complete -------------------------------------------------------------------------------------------------

test('every method has a row, and every row a method', async () => {
  const found = await w.as.administrator.call('rpc.discover');
  const there = new Set(found.methods.filter((m) => m['x-plugin'] !== 'fixture').map((m) => m.name));
  const rows = new Set(methods.map((r) => r.method));
  none(differences(there, rows), 'methods without a row in access/methods.txt');
  none(differences(rows, there), 'rows in access/methods.txt without a method');
  none(methods.filter((r) => !calls[r.call]).map((r) => r.call), 'rows without params in access/calls.mjs');
});

// The core's own types stand in its source only: not even their names are given to anybody.
function core_types() {
  const source = readFileSync(new URL('../../core/store/types.c', import.meta.url), 'utf8');
  const json = source.slice(source.indexOf('core_json[] ='), source.indexOf(']";'));
  const found = [...json.replaceAll('\\"', '"').matchAll(/\{"name":"(\w+)"(?!,"fields")/g)].map((m) => m[1]);
  assert.ok(found.length >= 9, 'the core\'s types were not found in core/store/types.c');
  return found;
}

test('every record type has its rows, hidden ones included', async () => {
  const found = await w.as.administrator.call('rpc.discover');
  const there = new Set([...core_types(), ...Object.keys(found.components.schemas)].filter((name) => !name.startsWith('fixture_')));
  const rows = new Set(records.map((r) => r.type));
  none(differences(there, rows), 'record types without a row in access/records.txt');
  none(differences(rows, there), 'rows in access/records.txt without a record type');
});

// ---- methods -----------------------------------------------------------------------------------------------------------------

function sees(role, row) {
  if (!row.type || row.which === 'self') return true;
  if (row.type === 'account') return role === 'administrator'; // account.list
  if (row.which === 'listed') return at_home.has(role);
  const known = records.find((r) => r.type === row.type && r.which === row.which);
  return known ? known.cells[role] : row.cells[role] === 'ok';
}

// What a job method says in the end is what it says.
async function ended(client, answer) {
  if (!answer.result?.job) return answer;
  try {
    return { word: 'ok', result: await job_result(client.call.bind(client), answer.result, 20000 * slow), raw: '' };
  } catch (error) {
    const told = /^job failed: (.*)$/s.exec(error.message);
    if (!told) throw error;
    return { word: words[JSON.parse(told[1]).code] ?? told[1], raw: told[1] };
  }
}

async function answer(row, role, t, n) {
  let client = w.as[role];
  if (own_account.has(row.call)) client = await w.twin(role);
  else if (own_connection.has(row.call)) client = await w.connection(role);
  if (client !== w.as[role]) w.spare.push(client);
  const params = await calls[row.call]({ t, role, n, w, client, which: row.which, type: row.type });
  return ended(client, await client.ask(row.method, params));
}

const unnumbered = (raw) => raw.replace(/"seq":\d+/g, '"seq":0');
const told_apart = [];
async function ask_row(row, cells) {
  const wrong = [];
  const one = async ({ role, t, n, gone }) => {
    const given = await answer(row, role, t, n);
    if (given.word !== row.cells[role]) wrong.push(`${row.name}: ${role} got ${given.word}, not ${row.cells[role]}: ${given.raw.slice(0, 300)}`);
    if (!gone || sees(role, row)) return;
    const never = await answer(row, role, gone, n);
    if (given.word === 'ok' && never.word !== 'ok' && row.cells[role] === 'ok') return; // the row itself gives this right
    const [a, b] = [unnumbered(given.raw).replaceAll(t, 'ID'), unnumbered(never.raw).replaceAll(gone, 'ID')];
    if (given.word !== never.word || a !== b) told_apart.push(`${row.name}: ${role}\n    there:  ${a.slice(0, 300)}\n    absent: ${b.slice(0, 300)}`);
  };
  if (in_turn.has(row.call)) for (const cell of cells) await one(cell);
  else await Promise.all(cells.map(one));
  if (row.call === 'job.cancel') await Promise.all(cells.map(({ t }) => w.as.administrator.ask('job.cancel', { id: t })));
  return wrong;
}

async function targets_of(row) {
  return Promise.all(roles.map(async (role) => {
    const n = w.next++;
    const t = await target(w, row, role);
    return { role, t, n, gone: t && `absent-${n}` };
  }));
}

test('every method answers each role as its row says', { timeout: 120000 * slow }, async () => {
  w.programmes = Array.from({ length: 40 }, () => w.fresh('programme', 'all'));
  w.codes = await Promise.all(roles.map(async (role, i) => {
    const id = `person-invited${i}`;
    await w.home.call('fixture.put', { records: [{ type: 'person', id, data: person_data(id), audience: person_audience(id) }] });
    return (await w.home.call('fixture.invite', { person: id })).code;
  }));
  const [later, now] = [methods.filter((r) => in_turn.has(r.call)), methods.filter((r) => !in_turn.has(r.call))];
  const cells = await Promise.all(now.map(targets_of));
  await w.flush();
  const wrong = (await Promise.all(now.map((row, i) => ask_row(row, cells[i])))).flat();
  for (const row of later) wrong.push(...(await ask_row(row, await targets_of(row))));
  none(wrong, 'answers that are not those of access/methods.txt');
});

test('what somebody may not see is answered exactly as what never existed', () => {
  none(told_apart, 'answers that tell that something exists');
});

// The records of the tables are written by the test; those that the calls above wrote by services must be for the same people.
test('what services write is for whom the records of its type are', async () => {
  const wrong = [];
  const shape = (audience) => audience.map((a) => a.replace(/:(?!(administrator|coordinator|psychologist|coach|student)$).*/, ':*')).sort().join(' ');
  const also = { message: ['activity:*'], questionnaire_result: ['person:*'] }; // to an activity; entrusted to nobody
  await Promise.all([...new Set(records.filter((r) => !r.hidden && r.type !== 'institution').map((r) => r.type))].map(async (type) => {
    const all = await truth(type);
    const known = new Set(records.filter((r) => r.type === type).map((r) => shape(all.get(w.ids[r.name]).audience)).concat(also[type] ?? []));
    for (const r of all.values()) if (!known.has(shape(r.audience))) wrong.push(`${type} ${r.id}: ${r.audience.join(' ')}; known: ${[...known].join(', ')}`);
  }));
  none(wrong, 'audiences that no row of access/records.txt speaks of');
});

// ---- records -----------------------------------------------------------------------------------------------------------------

const at = (data, field) => (field.startsWith('@') ? undefined : field.split('.').reduce((v, name) => v?.[name], data)) ?? null;

test('record.get shows a record to whom its row says, and to nobody else that there is one', async () => {
  const wrong = [];
  await Promise.all(records.filter((r) => !r.hidden).flatMap((row) => roles.map(async (role) => {
    const id = w.ids[row.name];
    const given = await w.as[role].ask('record.get', { type: row.type, id });
    const never = await w.as[role].ask('record.get', { type: row.type, id: 'absent-1' });
    if (given.word === 'ok' ? !row.cells[role] || given.result.id !== id : row.cells[role]) wrong.push(`${row.name}: ${role}: ${given.word}`);
    if (given.word !== 'ok' && given.raw !== never.raw) wrong.push(`${row.name}: ${role}: ${given.raw} but for an absent one ${never.raw}`);
  })));
  none(wrong, 'record.get and access/records.txt differ');
});

test('a hidden type is to everybody a type that there is not', async () => {
  const wrong = [];
  const hidden = records.filter((r) => r.hidden).map((r) => r.type);
  await Promise.all(hidden.flatMap((type) => roles.flatMap((role) =>
    [['record.get', { id: 'x' }], ['record.list', {}], ['record.count', {}], ['record.list', { index: 'login' }], ['record.list', { index: 'person' }]].map(
      async ([method, params]) => {
        const given = await w.as[role].ask(method, { ...params, type });
        const never = await w.as[role].ask(method, { ...params, type: 'no_such_type' });
        if (given.word === 'ok' || given.raw !== never.raw) wrong.push(`${method} ${type}: ${role}: ${given.raw} but ${never.raw}`);
      }))));
  none(wrong, 'hidden types are told of');
});

// Everything of a type that is stored, and who the roles are now.
async function truth(type) {
  const { items } = await w.home.call('fixture.all', { type });
  return new Map(items.map((r) => [r.id, r]));
}
async function principals(role) {
  if (role === 'stranger' || !at_home.has(role)) return new Set(['public']);
  const client = await w.connection(role);
  w.spare.push(client);
  return new Set(client.session.principals);
}

async function pages(client, params) {
  const items = [], faults = [];
  for (let cursor; cursor !== null; ) {
    const page = await client.call('record.list', { ...params, ...(cursor && { cursor }) });
    items.push(...page.items);
    cursor = page.cursor;
    if (cursor && /[a-z_]{4,}/.test(Buffer.from(cursor, 'base64url').toString('latin1').match(/^[\x20-\x7e\0]+/)?.[0] ?? '')) faults.push('a cursor can be read');
    if (cursor && page.items.some((r) => Buffer.from(cursor, 'base64url').includes(r.id))) faults.push('a cursor names its record');
  }
  return { items, faults };
}

test('lists and counts hold exactly the records whose audience the caller is of', { timeout: 60000 * slow }, async () => {
  const wrong = [];
  const who = Object.fromEntries(await Promise.all(roles.map(async (role) => [role, await principals(role)])));
  const visible_types = [...new Set(records.filter((r) => !r.hidden && r.type !== 'institution').map((r) => r.type))];
  await Promise.all(visible_types.map(async (type) => {
    const all = await truth(type);
    await Promise.all(roles.filter((role) => role === 'stranger' || at_home.has(role)).map(async (role) => {
      const expected = [...all.values()].filter((r) => r.audience.some((a) => who[role].has(a))).map((r) => r.id).sort();
      if (role === 'stranger') {
        const given = await w.as.stranger.ask('record.list', { type });
        if (given.word !== 'unauthenticated') wrong.push(`${type}: a stranger got ${given.word}`);
        return;
      }
      const { items, faults } = await pages(w.as[role], { type, limit: 37 });
      const { count } = await w.as[role].call('record.count', { type });
      const got = items.map((r) => r.id).sort();
      if (JSON.stringify(got) !== JSON.stringify(expected)) wrong.push(`${type}: ${role}: ${got.length} of ${expected.length} records`);
      if (count !== expected.length) wrong.push(`${type}: ${role}: counts ${count} of ${expected.length}`);
      wrong.push(...faults.map((f) => `${type}: ${role}: ${f}`));
    }));
  }));
  none(wrong, 'lists differ from audiences');
});

test('an index finds a record for whom its row says, by equality and by range, and nobody learns its values', { timeout: 60000 * slow }, async () => {
  const wrong = [];
  const declared = await w.home.call('fixture.types');
  Object.assign(declared, { audit: { indexes: { whose: { fields: ['whose'] } } }, plugin_version: { indexes: { plugin: { fields: ['plugin'] } } } });
  await Promise.all(records.filter((r) => declared[r.type]).map(async (row) => {
    const stored = (await truth(row.type)).get(w.ids[row.name]);
    await Promise.all(Object.entries(declared[row.type].indexes).map(async ([index, { fields }]) => {
      const value = at(stored.data, fields[0]);
      const asked = [{ equals: [value] }, { from: value }, { equals: fields.map((f) => at(stored.data, f)) }];
      await Promise.all(roles.slice(1).flatMap((role) => asked.map(async (range, i) => {
        const params = { type: row.type, index, ...range };
        const given = await w.as[role].ask('record.list', { ...params, limit: 500 });
        const { count } = await w.as[role].call('record.count', params);
        const found = given.result?.items.some((r) => r.id === stored.id);
        if (found !== row.cells[role] && !(row.cells[role] && given.result?.cursor)) wrong.push(`${row.name} by ${index}: ${role}: ${given.raw.slice(0, 200)}`);
        if (count < given.result.items.length) wrong.push(`${row.name} by ${index}: ${role}: counts ${count}`);
        if (given.result.items.length || i !== 0) return;
        const never = await w.as[role].ask('record.list', { ...params, limit: 500, equals: [typeof value === 'string' ? 'never-existed' : value] });
        if (unnumbered(given.raw) !== unnumbered(never.raw) || count) wrong.push(`${row.name} by ${index}: ${role}: ${given.raw} but ${never.raw}`);
      })));
    }));
  }));
  none(wrong, 'indexes and access/records.txt differ');
});

test('a cursor is worth nothing in another list, order of an index, or institution', async () => {
  const first = await w.as.coordinator.call('record.list', { type: 'person', limit: 1 });
  const { cursor } = first;
  assert.ok(cursor);
  for (const [role, params] of [['coordinator', { type: 'pair' }], ['coordinator', { type: 'person', index: 'by_name' }], ['foreign_admin', { type: 'person' }]]) {
    const given = await w.as[role].ask('record.list', { ...params, limit: 1, cursor });
    assert.equal(given.word, 'params', `${role} ${JSON.stringify(params)}`);
  }
  const own = Buffer.from('person\0person-a').toString('base64url'); // what it would be if anybody could write one
  assert.equal((await w.as.coordinator.ask('record.list', { type: 'person', limit: 1, cursor: own })).word, 'params');
});

// ---- the feed ----------------------------------------------------------------------------------------------------------------

async function sentinel(id) {
  const put = { records: [{ type: 'fixture_sentinel', id, data: {}, audience: ['institution'] }] };
  await Promise.all([w.home.call('fixture.put', put), w.away.call('fixture.put', put)]);
}
function check_feed(client, role, rows, how, wrong) {
  const got = new Set(client.feed.map((e) => `${e.type} ${e.id}`));
  for (const row of rows)
    if (got.has(`${row.type} ${w.ids[row.name]}`) !== row.cells[role]) wrong.push(`${how}: ${row.name}: ${role} ${row.cells[role] ? 'was not told' : 'was told'}`);
  for (const row of records.filter((r) => r.hidden))
    if (client.feed.some((e) => e.type === row.type)) wrong.push(`${how}: ${role} was told of the hidden type ${row.type}`);
}

test('the feed, live and replayed from the log, tells each role of its records and no others', { timeout: 60000 * slow }, async () => {
  const wrong = [];
  const signed_in = roles.slice(1).filter((role) => role !== 'cluster_admin');
  await sentinel('live');
  await Promise.all(signed_in.map((role) => w.as[role].event('sentinel', (e) => e.id === 'live')));
  // What was there before the feeds were opened came with the log only.
  const before = new Set(['plugin', 'plugin_version', 'person', 'institution']);
  const shown = records.filter((r) => !r.hidden && r.type !== 'institution');
  for (const role of signed_in) check_feed(w.as[role], role, shown.filter((r) => !before.has(r.type)), 'live', wrong);
  await Promise.all(signed_in.map(async (role) => {
    const client = await w.connection(role);
    w.spare.push(client);
    const { epoch } = w.as[role];
    assert.equal((await client.open_feed({ after: { epoch, seq: 0 } })).recovered, true);
    await client.event('sentinel', (e) => e.id === 'live');
    check_feed(client, role, shown, 'replayed', wrong);
  }));
  none(wrong, 'the feed and access/records.txt differ');
});

test('a filter of the feed opens no type, and an epoch of another institution no log', { timeout: 60000 * slow }, async () => {
  const asked = records.filter((r) => r.hidden || r.type === 'message').map((r) => r.type).concat('fixture_sentinel');
  const client = await w.connection('student');
  w.spare.push(client);
  await client.open_feed({ after: { epoch: w.as.student.epoch, seq: 0 }, types: asked });
  await client.event('sentinel', (e) => e.id === 'live');
  assert.deepEqual([...new Set(client.feed.map((e) => e.type))], ['fixture_sentinel']);
  const foreign = await w.connection('foreign_student');
  w.spare.push(foreign);
  assert.equal((await foreign.open_feed({ after: { epoch: w.as.student.epoch, seq: 0 } })).recovered, false);
});

// ---- idem keys ---------------------------------------------------------------------------------------------------------------

const counted = async () => (await w.home.call('fixture.all', { type: 'fixture_count' })).items.length;

test('an idem key gives its answer again to whose it is and for the same call only; to everybody else it is unused', async () => {
  const [text, idem] = [marker('idem', 'hidden'), 'k2'];
  const first = await w.as.mentor.ask('fixture.echo', { text, idem });
  assert.equal(first.word, 'ok');
  const before = await counted();
  assert.equal((await w.as.mentor.ask('fixture.echo', { idem, text })).raw, first.raw);
  for (const [method, params] of [['fixture.echo', { text: 'another text', idem }], ['person.me', { idem }]]) {
    const other = await w.as.mentor.ask(method, params);
    assert.equal(other.error?.data?.reason, 'idem_reused', `${method}: ${other.raw}`);
    assert.ok(!other.raw.includes(text));
  }
  assert.equal(await counted(), before);
  await Promise.all(roles.slice(1).filter((role) => role !== 'mentor' && role !== 'cluster_admin').map(async (role) => {
    const given = await w.as[role].ask('fixture.echo', { text: `of ${role}`, idem });
    assert.equal(given.result?.text, `of ${role}`, `${role}: ${given.raw}`);
  }));
});

test('once somebody is erased, answers that were kept are given to nobody, and nothing is done again', async () => {
  const params = { text: marker('idem', 'hidden'), idem: 'k3' };
  await w.as.mentor.call('fixture.echo', params);
  const person = w.fresh('person', 'other');
  await w.flush();
  await w.as.administrator.call('person.erase', { person, reason: 'asked for it' });
  const before = await counted();
  const again = await w.as.mentor.ask('fixture.echo', params);
  assert.equal(again.error?.data?.reason, 'idem_done', again.raw);
  assert.ok(!again.raw.includes(params.text));
  assert.equal((await w.as.mentor.ask('fixture.echo', { ...params, text: 'another text' })).error?.data?.reason, 'idem_reused');
  assert.equal(await counted(), before);
});

// ---- copies ------------------------------------------------------------------------------------------------------------------

test('a set of backups is forgotten for the institution of the caller only, and none is made where a caller says', async () => {
  const made = await w.as.administrator.call('backup.create', { name: 'kept' });
  const set = path.dirname(made.path);
  for (const role of ['foreign_admin', 'cluster_admin']) await w.as[role].call('backup.forget', { set });
  const erased = async () => {
    const person = w.fresh('person', 'other');
    await w.flush();
    return w.as.administrator.call('person.erase', { person, reason: 'asked for it' });
  };
  assert.equal((await erased()).sets, 1);
  await w.as.administrator.call('backup.forget', { set });
  assert.equal((await erased()).sets, 0);
  assert.deepEqual(readdirSync(w.server.dir).filter((name) => name.startsWith('elsewhere')), []);
});

// ---- the flow of all bytes ---------------------------------------------------------------------------------------------------

test('not one message of all these held a record that was not for its receiver', () => {
  const wrong = [];
  const sealed = new Set(['mentee|record.get', 'mentee|person.export', 'psychologist|record.get', 'psychologist|questionnaire.open']);
  for (const [key, text] of w.leaks) {
    const [what, role, method] = key.split('|');
    const row = records.find((r) => r.name === what);
    const may = what === 'sealed ' ? sealed.has(`${role}|${method}`) : row?.cells[role] || row?.told.has(`${method}:${role}`);
    if (!may) wrong.push(`${role} got ${what} by ${method}: …${text}…`);
  }
  none(wrong, 'texts that reached whom they were not for');
  // The markers do travel: else nothing would be proved.
  const seen = new Set([...w.leaks.keys()].map((key) => key.split('|').slice(0, 2).join('|')));
  const plain = new Set(['institution', 'plugin']); // have no text of their own
  for (const row of records.filter((r) => !r.hidden && !plain.has(r.type)))
    for (const role of roles) if (row.cells[role]) assert.ok(seen.has(`${row.name}|${role}`), `${role} never got ${row.name}`);
});
