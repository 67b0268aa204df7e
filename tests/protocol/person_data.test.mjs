// person.export and person.erase: what a person gets of their data, and what is left of them afterwards, in backups made
// before too.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { bin, Client, password, refused, Server, serve_for, sleep, slow } from './harness.mjs';
import { mentee, mentor } from './people.mjs';

const run = promisify(execFile);
const worry = { g1: 3, g2: 3, g3: 3, g4: 3, g5: 3, g6: 3, g7: 2 };

// Two pairs; the first mentee has answered a questionnaire that only they and the psychologist may read.
async function school(server, id) {
  const place = await server.institution(id);
  const aziza = await mentor(place, 'Aziza Karimova', 3, {}, 'aziza');
  const bobur = await mentee(place, 'Bobur Toʻrayev', { external_id: 'S-77' }, 'bobur');
  const other = await mentee(place, 'Dilshod Nazarov', {}, 'dilshod');
  await place.account('psych', ['psychologist'], await mentor(place, 'Nilufar', 0, { kind: 'staff' }));
  await place.account('lead', ['coordinator'], await mentor(place, 'Lola', 0, { kind: 'staff' }));
  await place.account('admin', ['administrator']);
  const { pairs } = await place.call('pair.create_many', { pairs: [{ mentor: aziza, mentee: bobur }, { mentor: aziza, mentee: other }] });
  const client = await place.client('bobur');
  await client.call('message.send', { to: `pair:${pairs[0]}`, text: 'salom, ustoz' });
  const answered = await client.call('questionnaire.submit', { questionnaire: 'gad7', answers: worry });
  const mate = await place.client('dilshod');
  await mate.call('message.send', { to: `pair:${pairs[1]}`, text: 'for another pair' });
  const result = answered.id;
  client.close();
  mate.close();
  return { place, aziza, bobur, other, pairs, result };
}
async function whole_export(client, params = {}) {
  const out = { pages: 0 };
  let cursor;
  do {
    const page = await client.call('person.export', { ...params, ...(cursor && { cursor }) });
    for (const [name, value] of Object.entries(page)) if (Array.isArray(value)) out[name] = [...(out[name] ?? []), ...value];
    out.pages++;
    cursor = page.cursor;
  } while (cursor);
  return out;
}
const types_of = (exported) => [...new Set(exported.records.map((r) => r.type))].sort();

const world = serve_for(test, {}, async (server) => school(server, 'data'));
const as = (login, fn) => world.place.client(login).then(async (client) => {
  try {
    return await fn(client);
  } finally {
    client.close();
  }
});

world.test('everyone gets all of their own: profile, pair, messages of their pair, sealed answers in clear, account and sessions without a secret', async () => {
  const got = await as('bobur', (c) => whole_export(c));
  assert.ok(got.records.some((r) => r.type === 'person' && r.id === world.bobur && r.data.name === 'Bobur Toʻrayev'));
  assert.ok(got.records.some((r) => r.type === 'pair' && r.id === world.pairs[0]));
  assert.ok(got.records.some((r) => r.type === 'message' && r.data.text === 'salom, ustoz'));
  const answers = got.records.find((r) => r.type === 'questionnaire_result');
  assert.deepEqual(answers.data.answers, worry);
  assert.equal(answers.data.private.scores.GAD7, 20);
  assert.equal(got.accounts.length, 1);
  assert.deepEqual(Object.keys(got.accounts[0]).sort(), ['created', 'login_shown', 'roles', 'state']);
  assert.ok(got.sessions.length >= 1);
  const text = JSON.stringify(got);
  assert.ok(!text.includes('argon2') && !text.includes('token') && !text.includes('for another pair'));
  assert.ok(!got.records.some((r) => r.id === world.other || r.id === world.pairs[1]), 'of others only what is shared');
});

world.test('what an export opens, and the export itself, is in the audit with who, whose, when and why', async () => {
  const before = (await world.place.call('audit.list', { whose: world.bobur, limit: 500 })).items.length;
  await as('bobur', (c) => whole_export(c));
  const { items } = await world.place.call('audit.list', { whose: world.bobur, limit: 500 });
  const fresh = items.map((r) => r.data).filter((d) => d.why === 'export').slice(0, items.length - before);
  assert.deepEqual(fresh.map((d) => `${d.type} ${d.field}`).sort(), ['person ', 'questionnaire_result answers', 'questionnaire_result private']);
  for (const entry of fresh) {
    assert.equal(entry.who, world.bobur);
    assert.equal(entry.whose, world.bobur);
    assert.ok(entry.time > 0);
  }
});

world.test('a person learns who opened what is sealed about them', async () => {
  await as('psych', (c) => c.call('record.get', { type: 'questionnaire_result', id: world.result, why: 'asked for help' }));
  const got = await as('bobur', (c) => whole_export(c));
  assert.ok(got.read_by.some((e) => e.why === 'asked for help' && e.type === 'questionnaire_result'));
});

world.test('nobody exports another but an administrator, who gets what administrators may read and no more', async () => {
  const error = await as('bobur', (c) => refused(c.call('person.export', { person: world.other }), -32002));
  const absent = await as('bobur', (c) => refused(c.call('person.export', { person: 'no-such-person' }), -32002));
  assert.deepEqual(error.error, absent.error, 'a person there and one not there are refused alike');
  for (const login of ['lead', 'psych']) await as(login, (c) => refused(c.call('person.export', { person: world.other }), -32002));
  const got = await as('admin', (c) => whole_export(c, { person: world.bobur }));
  assert.ok(types_of(got).includes('person') && types_of(got).includes('pair'));
  assert.ok(!types_of(got).includes('message'), 'a conversation is its members’');
  assert.ok(!types_of(got).includes('questionnaire_result'), 'what was entrusted to the psychologist');
  assert.ok(!got.read_by.some((e) => e.type === 'questionnaire_result'), 'an audit entry tells of no record that one may not read');
  assert.equal(got.accounts[0].login_shown, 'bobur');
});

world.test('of what staff wrote about others their export says only that they wrote it', async () => {
  const staff = await mentor(world.place, 'Staff Person', 0, { kind: 'staff' });
  await world.place.account('staff', ['coordinator'], staff);
  await as('staff', (c) => c.call('person.update', { person: world.other, faculty: 'physics' }));
  const got = await as('staff', (c) => whole_export(c));
  assert.ok(got.records.every((r) => r.id !== world.other));
  assert.ok(got.written.some((w) => w.type === 'person' && w.id === world.other));
  assert.ok(!JSON.stringify(got).includes('Dilshod'));
});

world.test('a large export comes in pages that together hold everything once', async () => {
  const text = 'x'.repeat(3900);
  await as('dilshod', async (c) => {
    for (let i = 0; i < 330; i += 30)
      await Promise.all(Array.from({ length: 30 }, (_, k) => c.call('message.send', { to: `pair:${world.pairs[1]}`, text: `${i + k} ${text}` })));
    const got = await whole_export(c);
    assert.ok(got.pages >= 2, `${got.pages} pages`);
    const numbers = got.records.filter((r) => r.type === 'message' && r.data.text.endsWith('x')).map((r) => parseInt(r.data.text, 10)).sort((a, b) => a - b);
    assert.deepEqual(numbers, Array.from({ length: 330 }, (_, i) => i));
    assert.equal(new Set(got.records.map((r) => `${r.type}/${r.id}`)).size, got.records.length);
    await refused(c.call('person.export', { cursor: '!' }), -32602);
  });
});

world.test('an export leaves no copy behind: no idem record, nothing of it in the files', async () => {
  await as('bobur', async (c) => {
    for (let i = 0; i < 2; i++) {
      assert.ok((await c.call('person.export', { idem: 'once' })).records.length > 0);
      const opened = await c.call('record.get', { type: 'questionnaire_result', id: world.result, idem: 'twice' });
      assert.deepEqual(opened.data.answers, worry);
    }
  });
  await as('psych', (c) => c.call('questionnaire.open', { result: world.result, why: 'see how it is', idem: 'opened' }));
  const bytes = readFileSync(path.join(world.server.data, 'institutions', 'data', 'data', 'data.mdb'));
  assert.ok(bytes.includes('Bobur'), 'what is in clear is seen');
  assert.ok(!bytes.includes('"GAD7":20'), 'a score that is sealed stands in clear in the database');
});

world.test('the command writes a file that only its owner reads, indented', async () => {
  const file = path.join(world.server.dir, 'bobur.json');
  await run(bin, ['person', 'export', '--data', world.server.data, '--institution', 'data', '--to', file, world.bobur]);
  const text = readFileSync(file, 'utf8');
  const got = JSON.parse(text);
  assert.equal(got.person, world.bobur);
  assert.ok(got.records.some((r) => r.data.name === 'Bobur Toʻrayev'));
  assert.match(text, /\n {6}"data": \{\n/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await assert.rejects(run(bin, ['person', 'export', '--data', world.server.data, '--institution', 'data', '--to', file, world.bobur]), /does not exist yet/);
});

// ---- erasing

async function login_fails(server, institution, login) {
  const client = await Client.open(server.url);
  await refused(client.call('session.login', { institution, login, password }), -32001);
  client.close();
}
async function check_erased(server, call, s, id) {
  const person = (await call('record.get', { type: 'person', id: s.bobur })).data;
  assert.deepEqual(Object.keys(person).sort(), ['erased', 'kind', 'name', 'name_folded', 'status']);
  assert.equal(person.name, '—');
  const pair = (await call('record.get', { type: 'pair', id: s.pairs[0] })).data;
  assert.equal(pair.mentee_name, '—');
  assert.equal(pair.mentor_name, 'Aziza Karimova');
  await login_fails(server, id, 'bobur');
  const psych = await Client.open(server.url);
  await psych.login(id, 'psych');
  const sealed = await psych.call('record.get', { type: 'questionnaire_result', id: s.result });
  assert.deepEqual(sealed.data.answers, { sealed: true });
  psych.close();
}

test('who is erased is gone: sessions end, account and name go, nothing sealed opens, in no backup made before, though the key file is at hand', async () => {
  const server = await Server.start();
  const sets = path.join(server.dir, 'sets');
  try {
    const s = await school(server, 'gone');
    const call = s.place.call;
    await run(bin, ['backup', '--data', server.data, '--to', sets, '--name', 'before']);
    await call('backup.create', { name: 'own' }); // a second set
    const client = await s.place.client('bobur');
    const admin = await s.place.client('admin');
    const mate = await s.place.client('aziza');
    await mate.open_feed({ types: ['pair'] });
    const lead = await s.place.client('lead');
    // Copies of the name: under the pair only, of an earlier name, in a stored answer, and a namesake's.
    await mate.call('pair.answer', { pair: s.pairs[0], fits: 'fits' });
    const renamed = { person: s.bobur, name: 'Bobur Toʻrayev-Karimov', idem: 'renamed' };
    await lead.call('person.update', renamed);
    const namesake = await mentee(s.place, 'Bobur Toʻrayev');
    const { pairs: [theirs] } = await call('pair.create_many', { pairs: [{ mentor: s.aziza, mentee: namesake }] });
    await refused(client.call('person.erase', { person: s.bobur, reason: 'x' }), -32002);
    await refused(admin.call('person.erase', { person: s.bobur }), -32602);
    await refused(admin.call('person.erase', { person: 'nobody-at-all', reason: 'x' }), -32003);
    const erased = await admin.call('person.erase', { person: s.bobur, reason: 'asked for it' });
    assert.deepEqual(erased, { person: s.bobur, sets: 2, missing: [] });
    await client.wait_for('the end of the session', (m) => m.method === 'session.ended');
    await mate.event('the blanked pair', (e) => e.type === 'pair' && e.record.data.mentee_name === '—');
    await check_erased(server, call, s, 'gone');
    const noted = await lead.call('record.get', { type: 'pair_answer', id: `${s.pairs[0]}:${s.aziza}` });
    assert.equal(noted.data.mentee_name, '—');
    assert.equal(noted.data.mentor_name, 'Aziza Karimova');
    assert.equal((await call('record.get', { type: 'person', id: namesake })).data.name, 'Bobur Toʻrayev');
    assert.equal((await call('record.get', { type: 'pair', id: theirs })).data.mentee_name, 'Bobur Toʻrayev');
    // A stored answer is given no more, and what was done is not done again.
    assert.equal((await refused(lead.call('person.update', renamed), -32004)).data.reason, 'idem_done');
    const { items } = await call('audit.list', { whose: s.bobur });
    assert.equal(items.filter((r) => r.data.why === 'erase: asked for it').length, 1);
    // Once more is fine, and nothing else is tried on it.
    assert.equal((await admin.call('person.erase', { person: s.bobur, reason: 'again' })).sets, 2);
    await refused(admin.call('questionnaire.submit', { questionnaire: 'gad7', answers: worry, person: s.bobur }));
    await refused(lead.call('person.update', { person: s.bobur, name: 'Bobur' }), -32003);
    await refused(lead.call('person.invite', { person: s.bobur }), -32003);
    // The services go on: with the others, and with the list of people.
    const other = await s.place.client('dilshod');
    await other.call('questionnaire.submit', { questionnaire: 'gad7', answers: worry });
    await other.call('message.send', { to: `pair:${s.pairs[1]}`, text: 'still here' });
    for (const c of [client, admin, mate, other, lead]) c.close();
    // The backup of before, with the key file, in a fresh folder: it is erased there as well, by the start of the server.
    const dir = path.join(server.dir, 'again');
    await run('mkdir', [dir]);
    const { stdout } = await run(bin, ['restore', '--from', sets, '--key', path.join(server.data, 'server.key'), '--data', path.join(dir, 'data'), '--backup', 'before']);
    assert.match(stdout, /1 people were erased by now/);
    const again = await Server.start({ dir });
    try {
      const as_gone = (method, params) => again.call(method, params, { institution: 'gone' });
      const end = Date.now() + 20000 * slow;
      while (!(await as_gone('record.get', { type: 'person', id: s.bobur })).data.erased) {
        assert.ok(Date.now() < end, 'the restored copy does not erase');
        await sleep(20);
      }
      await check_erased(again, as_gone, s, 'gone');
      const psych = await Client.open(again.url);
      await psych.login('gone', 'psych');
      await psych.call('record.count', { type: 'person' });
      psych.close();
    } finally {
      await again.stop();
    }
    assert.equal(again.exit.code, 0, again.log);
  } finally {
    await server.stop();
  }
  assert.equal(server.exit.code, 0, server.log);
});

test('an erasing that was killed at any moment is ended by the next start, or was never begun', { timeout: 240000 * slow }, async () => {
  const server = await Server.start();
  try {
    const place = await server.institution('kill');
    await place.account('admin', ['administrator']);
    const aziza = await mentor(place, 'Aziza', 9, {});
    for (let round = 0; round < 6; round++) {
      const call = (method, params) => server.call(method, params, { institution: 'kill' });
      const id = (await call('person.create', { kind: 'student', year: 1, name: `Person Number ${round}` })).id;
      await call('account.create', { login: `p${round}`, password_hash: '$argon2id$v=19$m=8,t=1,p=1$eML5yK17XDFNPoEbKgf/Mw$SvxX6RgCPlPsnCVNnYSMFzG3iwTUYk7FSELd0L8zBkk', roles: ['student'], person: id });
      const { pairs } = await call('pair.create_many', { pairs: [{ mentor: aziza, mentee: id }] });
      await call('backup.create', {});
      const admin = await Client.open(server.url);
      await admin.login('kill', 'admin');
      let acknowledged = false;
      const erasing = admin.call('person.erase', { person: id, reason: 'test' }).then(() => (acknowledged = true), () => {});
      await sleep(round * 4);
      await server.kill();
      await erasing;
      admin.close();
      await server.serve();
      const after = (method, params) => server.call(method, params, { institution: 'kill' });
      const read = async () => (await after('record.get', { type: 'person', id })).data;
      const journal = path.join(server.data, 'institutions', 'kill', 'erasing');
      const pending = () => { try { return readFileSync(journal, 'utf8').length > 0; } catch { return false; } };
      if (acknowledged) assert.ok((await read()).erased, `round ${round}: acknowledged and not done`);
      const end = Date.now() + 20000 * slow;
      while (pending()) {
        assert.ok(Date.now() < end, `round ${round}: the erasing is not ended`);
        await sleep(20);
      }
      const person = await read(), pair = (await after('record.get', { type: 'pair', id: pairs[0] })).data;
      assert.equal(Boolean(person.erased), pair.mentee_name === '—', `round ${round}: half erased`);
      if (!person.erased) assert.equal((await after('person.erase', { person: id, reason: 'test' })).sets, 1);
      assert.equal((await read()).name, '—');
      await login_fails(server, 'kill', `p${round}`);
      const { items } = await after('audit.list', { whose: id });
      assert.equal(items.filter((r) => r.data.why === 'erase: test').length, 1, `round ${round}: the audit`);
    }
  } finally {
    await server.stop();
  }
});

test('a set that cannot be reached is named until it is caught up or forgotten, by command', async () => {
  const server = await Server.start();
  try {
    const s = await school(server, 'far');
    const sets = path.join(server.dir, 'disk'), away = path.join(server.dir, 'unplugged');
    await run(bin, ['backup', '--data', server.data, '--to', sets]);
    await run('mv', [sets, away]);
    const erase = () => run(bin, ['person', 'erase', '--data', server.data, '--institution', 'far', '--reason', 'asked', s.bobur]);
    assert.match((await erase()).stdout, /NOT in .*disk\/far, which could not be reached/);
    await run('mv', [away, sets]);
    assert.doesNotMatch((await erase()).stdout, /NOT in/);
    await run('rm', ['-r', sets]);
    assert.match((await erase()).stdout, /NOT in/);
    await run(bin, ['person', 'forget-set', '--data', server.data, '--institution', 'far', path.join(sets, 'far')]);
    assert.doesNotMatch((await erase()).stdout, /NOT in/);
    const wrong = await run(bin, ['person', 'erase', '--data', server.data, '--institution', 'far', s.bobur]).catch((e) => e);
    assert.equal(wrong.code, 2);
  } finally {
    await server.stop();
  }
});
