// Signing in: what lets somebody in, what does not, and that neither tells a stranger who has an account.
import assert from 'node:assert/strict';
import test from 'node:test';
import { password, refused, serve_for } from './harness.mjs';
import { probe } from './probe.mjs';

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('home');
  await server.institution('other');
  await place.deploy('service', 'probe', probe);
  await place.account('dilnoza', ['student']);
  await place.account('admin', ['administrator']);
  return { place };
});

world.test('signing in gives a token that another connection may resume', async () => {
  const client = await world.server.connect();
  const session = await client.login('home', 'dilnoza');
  assert.match(session.token, /^home\.[\w-]{43}$/);
  assert.ok(session.expires > Date.now());
  assert.deepEqual(session.roles, ['student']);
  assert.ok(session.principals.includes('role:student'));
  const second = await world.server.connect();
  await second.call('session.resume', { token: session.token });
  assert.ok(await second.call('session.list'));
  client.close();
  second.close();
});

world.test('a login is found whatever its case', async () => {
  const client = await world.server.connect();
  assert.ok((await client.login('home', 'DilNoza')).token);
  client.close();
});

world.test('a wrong password and an account that does not exist give the same error', async () => {
  const client = await world.server.connect();
  const wrong = await refused(client.login('home', 'dilnoza', 'not the password'), -32001);
  const nobody = await refused(client.login('home', 'nobody-here', 'not the password'), -32001);
  const nowhere = await refused(client.login('no-such-place', 'dilnoza', 'not the password'), -32001);
  assert.deepEqual(nobody.error, wrong.error);
  assert.deepEqual(nowhere.error, wrong.error);
  // An account of another institution is no account here.
  await refused(client.login('other', 'dilnoza', password), -32001);
  client.close();
});

world.test('without signing in, nothing but what is public can be called', async () => {
  const client = await world.server.connect();
  await refused(client.call('record.list', { type: 'person' }), -32001);
  await refused(client.call('feed.open'), -32001);
  await refused(client.call('session.resume', { token: 'home.' + 'A'.repeat(43) }), -32001);
  await refused(client.call('session.resume', { token: 'nonsense' }), -32001);
  assert.ok((await client.call('server.info')).version);
  client.close();
});

world.test('an invitation is used once', async () => {
  const code = world.place.code;
  const first = await world.server.connect();
  const session = await first.call('session.accept', { institution: 'home', code: code.toLowerCase(), login: 'first', password: 'a long enough password' });
  assert.ok(session.token);
  assert.deepEqual(session.roles, ['administrator']);
  const second = await world.server.connect();
  await refused(second.call('session.accept', { institution: 'home', code, login: 'second', password: 'a long enough password' }));
  await refused(second.call('session.accept', { institution: 'home', code: 'AAAA-BBBB-CCCC-DDDD', login: 'third', password: 'a long enough password' }));
  first.close();
  second.close();
});

world.test('a password that is too short, or is the login, is refused with the reason', async () => {
  for (const bad of ['short', 'elmurodjon1']) {
    const error = await refused(world.place.call('account.create', { login: 'elmurodjon1', password: bad, roles: ['student'] }), -32602);
    assert.ok(JSON.stringify(error.data).length > 10);
  }
});

world.test('after signing out the token is worth nothing, on any connection', async () => {
  const client = await world.server.connect();
  const { token } = await client.login('home', 'dilnoza');
  const second = await world.server.connect();
  await second.call('session.resume', { token });
  await client.call('session.logout');
  const notice = await second.wait_for('session.ended', (m) => m.method === 'session.ended');
  assert.equal(notice.params.reason, 'logout');
  await refused(second.call('session.list'), -32001);
  await refused(client.call('session.resume', { token }), -32001);
  client.close();
  second.close();
});

world.test('somebody may end their other sign-ins', async () => {
  const phone = await world.server.connect();
  const laptop = await world.server.connect();
  await phone.login('home', 'dilnoza');
  await laptop.login('home', 'dilnoza');
  const { items } = await phone.call('session.list');
  assert.ok(items.length >= 2);
  assert.equal(items.filter((s) => s.current).length, 1);
  for (const session of items) if (!session.current) await phone.call('session.revoke', { id: session.id });
  await laptop.wait_for('session.ended', (m) => m.method === 'session.ended');
  await refused(laptop.call('session.list'), -32001);
  assert.ok(await phone.call('session.list'));
  phone.close();
  laptop.close();
});

world.test('a revoked sign-in hears so on its open feed, which gives nothing from then on', async () => {
  const phone = await world.place.client('dilnoza');
  const stolen = await world.place.client('dilnoza');
  await stolen.open_feed();
  await phone.open_feed();
  await phone.call('probe.put', { text: 'before' });
  await stolen.event('what is for all', (e) => e.record?.data.text === 'before');
  // Calls are under way when it ends: each is answered, none twice, and those that come later are refused.
  const calls = Array.from({ length: 50 }, () => stolen.call('session.list').then(() => 'answered', (error) => error.code));
  await phone.call('session.revoke_others');
  const { params } = await stolen.wait_for('session.ended', (m) => m.method === 'session.ended');
  assert.equal(params.reason, 'revoked');
  for (const outcome of await Promise.all(calls)) assert.ok(outcome === 'answered' || outcome === -32001, `${outcome}`);
  assert.equal(stolen.notices.filter((m) => m.method === 'session.ended').length, 1);
  await phone.call('probe.put', { text: 'after' });
  await phone.event('what is for all', (e) => e.record?.data.text === 'after');
  await refused(stolen.call('session.list'), -32001); // whatever was sent to it before is there now
  await refused(stolen.call('feed.open'), -32001);
  await refused(stolen.call('session.resume', { token: stolen.token }), -32001);
  assert.ok(!stolen.feed.some((e) => e.record?.data.text === 'after'));
  assert.ok((await phone.call('session.list')).items.every((s) => !/^[0-9a-f]{64}$/.test(s.id)), 'the hash of a token is told to nobody');
  phone.close();
  stolen.close();
});

world.test('a changed password ends the other sign-ins, and the old one opens nothing', async () => {
  await world.place.account('changer', ['student']);
  const here = await world.place.client('changer');
  const there = await world.place.client('changer');
  await here.call('session.change_password', { old: password, new: 'quite another password' });
  await there.wait_for('session.ended', (m) => m.method === 'session.ended');
  await refused(there.call('session.resume', { token: there.token }), -32001);
  await refused(there.login('home', 'changer'), -32001);
  assert.ok(await here.call('session.list'));
  await there.login('home', 'changer', 'quite another password');
  const outcomes = (await here.call('session.history')).items.map((e) => e.outcome);
  assert.deepEqual(outcomes.filter((o) => o !== 'failed'), ['in', 'password', 'in', 'in']);
  here.close();
  there.close();
});

world.test('guessing is slowed for the address that guesses, with the seconds to wait', async () => {
  await world.place.account('victim', ['student']);
  const client = await world.server.connect();
  let limited;
  for (let i = 0; i < 40 && !limited; i++) {
    const error = await refused(client.login('home', 'victim', `guess number ${i}`));
    if (error.code === -32005) limited = error;
    else assert.equal(error.code, -32001);
  }
  assert.ok(limited, 'forty guesses were not slowed');
  assert.ok(limited.data.retry_after > 0 && limited.data.retry_after <= 3600);
  client.close();
});
