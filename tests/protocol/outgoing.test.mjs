// What leaves the server, against stand-ins that speak the real protocols: notifications by e-mail and Telegram, webhooks; and
// that nothing is lost, told to the wrong one, or written to the log. The clock is moved by hand where time matters.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { certificate } from './certificate.mjs';
import { bin, refused, Server, slow } from './harness.mjs';
import { MailServer, Receiver, Telegram } from './stand_ins.mjs';

const minute = 60000;
const hour = 60 * minute;
const token = '110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw';

const teller = `
local any_table = any {}
return service {
  id = "teller",
  methods = {
    ["teller.tell"] = {
      summary = "Tells somebody", access = { "administrator" }, writes = true,
      params = { person = text { required = true }, news = any_table, times = integer {} },
      run = function(_, p)
        local id
        for _ = 1, p.times or 1 do id = notify.person(p.person, p.news) end
        return { id = id or false }
      end,
    },
    ["teller.fail"] = {
      summary = "Tells, and fails", access = { "administrator" }, writes = true, params = { person = text {}, news = any_table },
      run = function(_, p) notify.person(p.person, p.news) error("after all not") end,
    },
    ["teller.hook"] = {
      summary = "Tells a program", access = { "administrator" }, writes = true,
      params = { name = text {}, event = text {}, data = any_table },
      run = function(_, p) return { told = notify.webhook(p.name, p.event, p.data) } end,
    },
  },
}`;

const secret_words = 'your mentor has written about your illness';
const news = (more = {}) => ({
  key: 'meeting.proposed',
  text: { uz: `uz ${secret_words}`, 'uz-Cyrl': `кир ${secret_words}`, ru: `ру ${secret_words}`, en: `en ${secret_words}` },
  action: 'pair/1',
  ...more,
});

// The server, its stand-ins, a school with two students and an administrator.
const w = { mails: 0 };
test.before(async () => {
  w.dir = mkdtempSync(path.join(tmpdir(), 'hamroh-outgoing-'));
  w.keys = certificate(w.dir, 'mail');
  w.mail = await MailServer.start(w.keys);
  w.telegram = await Telegram.start(token);
  w.receiver = await Receiver.start();
  writeFileSync(path.join(w.dir, 'smtp'), 'a secret of the mail server\n');
  writeFileSync(path.join(w.dir, 'telegram'), `${token}\n`);
  w.settings = `return { clock = "manual", public_url = "https://hamroh.example.uz/", smtp_url = "smtp://localhost:${w.mail.port}",
    smtp_user = "hamroh", smtp_password_file = "${w.dir}/smtp", smtp_from = "Hamroh <hamroh@example.uz>", outgoing_ca = "${w.keys.certificate}",
    telegram_api = "${w.telegram.url}", telegram_token_file = "${w.dir}/telegram", telegram_bot = "hamroh_test_bot",
    webhook_networks = "127.0.0.1", outgoing_timeout_ms = ${400 * slow}, outgoing_days = 1, outgoing_per_day = 5, log_level = "debug",
    notify_per_call = 7, notify_per_day = 60 }\n`;
  w.server = await Server.start({ settings: w.settings });
  w.school = await w.server.institution('school');
  await w.school.deploy('service', 'teller', teller);
  for (const who of ['ali', 'vali', 'guli']) {
    w[who] = (await w.school.call('person.create', { name: `Name of ${who}`, kind: 'student' })).id;
    await w.school.account(who, ['student'], w[who]);
  }
});
test.after(async () => {
  await w.server?.stop();
  if (w.failed) console.error(w.server.log.slice(-8000));
  await Promise.all([w.mail?.stop(), w.telegram?.stop(), w.receiver?.stop()]);
  rmSync(w.dir, { recursive: true, force: true });
  assert.equal(w.server?.exit?.code, 0);
});
const it = (name, body) =>
  test(name, async (t) => {
    try {
      await body(t);
    } catch (error) {
      w.failed = true;
      throw error;
    }
  });

const advance = (ms) => ((w.advanced = (w.advanced ?? 0) + ms), w.server.call('clock.advance', { ms }));
// The clock of a server that is started anew is the machine's again.
async function again() {
  await w.server.kill();
  await w.server.serve();
  await w.server.call('clock.advance', { ms: w.advanced });
}
const tell = (person, more, times) => w.school.call('teller.tell', { person, news: news(more), times });
const list = async () => (await w.school.call('outgoing.list', { limit: 200 })).items;
const state_of = async (id) => (await list()).find((m) => m.id === id);
// Until a message is in another state than waiting: told by the server, asked again and again.
async function until(what, look, ms = 20000 * slow) {
  for (const end = Date.now() + ms; ; ) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}: ${JSON.stringify(await list()).slice(0, 2000)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// A mailbox of somebody, confirmed with the code that came there.
async function mailbox(client, address, more = {}) {
  const { id } = await client.call('contact.set', { channel: 'email', address, ...more });
  const mail = await w.mail.mails.get(`the code for ${address}`, (m) => m.to[0] === address && /\d{6}/.test(m.text));
  const code = /\d{6}/.exec(mail.text)[0];
  assert.deepEqual(await client.call('contact.verify', { contact: id, code }), { verified: true });
  return id;
}

it('a notification is seen by its receiver alone, counted, listed and marked as read', async () => {
  const ali = await w.school.client('ali');
  const vali = await w.school.client('vali');
  await ali.open_feed();
  const { id } = await tell(w.ali);
  const event = await ali.event('the notification', (e) => e.type === 'notification' && e.id === id);
  assert.equal(event.record.data.text.ru, `ру ${secret_words}`);
  assert.equal(event.record.data.unread, true);
  const unread = { type: 'notification', index: 'unread', equals: [w.ali, true] };
  assert.equal((await ali.call('record.count', unread)).count, 1);
  assert.equal((await vali.call('record.count', unread)).count, 0);
  await refused(vali.call('record.get', { type: 'notification', id }), -32003);
  assert.deepEqual(await vali.call('notification.read', { ids: [id] }), { read: 0, more: false });
  assert.deepEqual(await ali.call('notification.read', { ids: [id, id, 'nothing'] }), { read: 1, more: false });
  assert.equal((await ali.call('record.count', unread)).count, 0);
  await tell(w.ali, {}, 3);
  assert.deepEqual(await ali.call('notification.read', { all: true }), { read: 3, more: false });
  assert.equal((await ali.call('record.list', { type: 'notification', index: 'person', equals: [w.ali] })).items.length, 4);
  ali.close();
  vali.close();
});

it('what fails tells nobody, and what was told under a word is told once', async () => {
  const count = async () => (await w.school.call('record.count', { type: 'notification' })).count;
  const ali = await w.school.client('ali');
  const own = async () => (await ali.call('record.count', { type: 'notification', index: 'person', equals: [w.ali] })).count;
  const before = await own();
  await refused(w.school.call('teller.fail', { person: w.ali, news: news() }), -32006);
  assert.equal(await own(), before);
  const first = await tell(w.ali, { once: 'exam week' });
  assert.match(first.id, /^[0-9a-f]{32}$/);
  assert.deepEqual(await tell(w.ali, { once: 'exam week' }), { id: false });
  assert.equal(await own(), before + 1);
  assert.equal(await count(), 0, 'an administrator sees none of them');
  ali.close();
});

it('a plugin that says a notification wrongly is told where', async () => {
  const wrong = async (more) => (await refused(tell(w.ali, more), -32006)).data.message ?? (await refused(tell(w.ali, more))).error.message;
  assert.match(await wrong({ text: { uz: 'bir', ru: 'один', en: 'one' } }), /text\.uz-Cyrl/);
  assert.match(await wrong({ key: 'Not a key' }), /key/);
  assert.match(await wrong({ urgent: 'very' }), /urgent must be a boolean/);
});

it('an address gets nothing but a code before its owner has shown that it is theirs, and five guesses are all', async () => {
  const vali = await w.school.client('vali');
  const { id } = await vali.call('contact.set', { channel: 'email', address: 'vali@victim.example', locale: 'ru' });
  const mail = await w.mail.mails.get('the code', (m) => m.to[0] === 'vali@victim.example');
  assert.equal(mail.secure, true);
  assert.equal(mail.subject, 'Код для Hamroh');
  const right = /\d{6}/.exec(mail.text)[0];
  await tell(w.vali);
  const wrong = right === '000000' ? '000001' : '000000';
  const guesses = await Promise.all(Array.from({ length: 5 }, () => refused(vali.call('contact.verify', { contact: id, code: wrong }))));
  assert.ok(guesses.some((g) => g.code === -32602));
  let told = guesses.filter((g) => g.code === -32602).length;
  for (;;) {
    const error = await refused(vali.call('contact.verify', { contact: id, code: wrong }));
    if (error.data.reason === 'code_over') break;
    assert.equal(error.code, -32602, JSON.stringify(error.error));
    assert.ok(++told <= 5, 'a sixth guess was looked at');
  }
  assert.equal(told, 5);
  assert.equal((await refused(vali.call('contact.verify', { contact: id, code: right }), -32004)).data.reason, 'code_over');
  const ali = await w.school.client('ali');
  await refused(ali.call('contact.verify', { contact: id, code: right }), -32003);
  await refused(ali.call('contact.remove', { contact: id }), -32003);
  const [shown] = (await vali.call('contact.list')).items;
  assert.equal(shown.verified, null);
  assert.ok(!JSON.stringify(shown).includes('victim'));
  const record = await vali.call('record.list', { type: 'contact' });
  assert.deepEqual(record.items[0].data.address, { sealed: true });
  await vali.call('contact.remove', { contact: id });
  assert.equal(w.mail.mails.all.filter((m) => m.to[0] === 'vali@victim.example').length, 1);
  for (let i = 0; i < 9; i++) {
    const made = await vali.call('contact.set', { channel: 'email', address: `v${i}@victim.example` });
    await vali.call('contact.remove', { contact: made.id });
  }
  await refused(vali.call('contact.set', { channel: 'email', address: 'v10@victim.example' }), -32005);
  for (const address of ['no address', 'a@b', 'x@y.uz\r\nBcc: z@y.uz', '<x@y.uz>', 'x@y.uz,z@y.uz'])
    await refused(ali.call('contact.set', { channel: 'email', address }), -32602);
  ali.close();
  vali.close();
});

it('a mail comes once, encrypted, in the receiver\'s language, with a link and without the text unless that is safe', async () => {
  const ali = await w.school.client('ali');
  w.contact = await mailbox(ali, 'ali@mail.example', { locale: 'uz-Cyrl' });
  await tell(w.ali);
  await tell(w.ali, { safe: true, text: { uz: 'uz', 'uz-Cyrl': 'Эртага «учрашув» бор', ru: 'ru', en: 'en' } });
  const mine = (m) => m.to[0] === 'ali@mail.example' && m.subject === 'Ҳамроҳда сиз учун янгилик бор';
  const mails = await w.mail.mails.count('two mails', 2, mine);
  const closed = mails.find((m) => !m.text.includes('учрашув'));
  const open = mails.find((m) => m.text.includes('Эртага «учрашув» бор'));
  assert.ok(open && closed);
  for (const m of mails) {
    assert.equal(m.secure, true);
    assert.equal(m.from, 'hamroh@example.uz');
    assert.match(m.text, /https:\/\/hamroh\.example\.uz\/#\/news/);
    assert.match(m.headers['message-id'], /^<[0-9a-f-]{36}@example\.uz>$/);
    assert.equal(m.headers['auto-submitted'], 'auto-generated');
    assert.ok(!/illness|Name of/.test(m.text + m.raw));
  }
  await until('both noted', async () => (await list()).filter((m) => m.kind === 'news' && m.state === 'sent').length === 2);
  assert.equal(w.mail.mails.all.filter(mine).length, 2);
  ali.close();
});

it('who has read it is not written to, quiet hours are kept except for what is urgent, and one may ask for only that', async () => {
  const ali = await w.school.client('ali');
  const now = Date.now() + (w.advanced ?? 0); // to the minute or so
  const local = Math.floor(((now + 300 * minute) % (24 * hour)) / minute);
  // Quiet from an hour ago until in two hours.
  await ali.call('contact.set', { contact: w.contact, quiet: { from: (local + 1380) % 1440, to: (local + 120) % 1440 } });
  const before = w.mail.mails.all.length;
  const first = await tell(w.ali);
  await tell(w.ali, { urgent: true });
  await w.mail.mails.count('the urgent one', before + 1);
  const waiting = await until('the other to wait alone', async () => {
    const left = (await list()).filter((m) => m.state === 'waiting');
    return left.length === 1 && left;
  });
  assert.ok(waiting[0].due - waiting[0].since > 110 * minute && waiting[0].due - waiting[0].since <= 120 * minute, JSON.stringify(waiting));
  await ali.call('notification.read', { ids: [first.id] });
  await advance(2 * hour);
  assert.equal((await until('it is dropped', async () => (await state_of(waiting[0].id)).state === 'dropped' && state_of(waiting[0].id))).reason, 'read');
  await ali.call('contact.set', { contact: w.contact, wants: ['urgent', 'message'], quiet: {} });
  const queued = (await list()).length;
  await tell(w.ali);
  assert.equal((await list()).length, queued);
  await tell(w.ali, { key: 'message.new' });
  assert.equal((await list()).length, queued + 1);
  await w.mail.mails.count('the wanted one', before + 2);
  await ali.call('contact.set', { contact: w.contact, wants: ['all'] });
  assert.equal(w.mail.mails.all.length, before + 2);
  ali.close();
});

it('more than the day\'s messages to one address stay in the web client, more than the call\'s or the day\'s news are refused', async () => {
  await advance(25 * hour);
  const before = w.mail.mails.all.length;
  await tell(w.ali, {}, 7);
  await w.mail.mails.count('five mails', before + 5);
  await until('all sent', async () => !(await list()).some((m) => m.state === 'waiting'));
  assert.equal(w.mail.mails.all.length, before + 5);
  await refused(tell(w.ali, {}, 8), -32008);
  for (let i = 0; i < 7; i++) await tell(w.guli, {}, 7);
  const error = await refused(tell(w.guli, {}, 7), -32005);
  assert.ok(error.data.retry_after > 0);
  await advance(25 * hour);
  await tell(w.guli, {}, 7);
});

it('a mail that is not taken for now is tried again later under the same id, one whose mailbox does not exist never', async () => {
  const guli = await w.school.client('guli');
  const contact = await mailbox(guli, 'guli@mail.example');
  const asked = () => w.mail.attempts.all.filter((a) => a.to === 'guli@mail.example').length;
  let failures = 2;
  w.mail.answer = (to) => (to === 'guli@mail.example' && failures-- > 0 ? '451 try again later' : null);
  const before = asked();
  await tell(w.guli);
  for (let i = 1; i <= 2; i++) {
    await until(`attempt ${i} is noted`, async () => (await list()).some((m) => m.state === 'waiting' && m.tries === i && m.status === 451));
    await advance(3 * minute);
  }
  await until('it is sent', async () => (await list()).some((m) => m.state === 'sent' && m.tries === 3));
  assert.equal(asked(), before + 3);
  w.mail.answer = (to) => (to === 'guli@mail.example' ? '550 no such mailbox' : null);
  await tell(w.guli);
  const gone = await until('it is given up', async () => (await list()).find((m) => m.state === 'given_up'));
  assert.deepEqual([gone.tries, gone.status], [1, 550]);
  const [shown] = (await guli.call('contact.list')).items;
  assert.equal(shown.verified, null);
  assert.ok(shown.refused > 0);
  w.mail.answer = () => null;
  await tell(w.guli); // nobody to write to any more
  assert.equal((await list()).filter((m) => m.state === 'waiting').length, 0);
  await guli.call('contact.remove', { contact });
  guli.close();
});

it('a chat in Telegram is connected by a link, and gets what its owner wants', async () => {
  const guli = await w.school.client('guli');
  const made = await guli.call('contact.set', { channel: 'telegram', locale: 'en' });
  assert.match(made.link, /^https:\/\/t\.me\/hamroh_test_bot\?start=[\w-]{22}$/);
  assert.equal(made.link.split('start=')[1], made.start);
  w.telegram.write(-1001234567890123, `/start ${made.start}`, 'group');
  w.telegram.write(5550001, '/start something else');
  w.telegram.write(5550001, 'hello');
  w.telegram.write(6171829304, `/start ${made.start}`);
  const welcome = await w.telegram.came.get('the welcome');
  assert.equal(welcome.chat_id, '6171829304');
  assert.ok((await guli.call('contact.list')).items[0].verified > 0);
  w.telegram.answer = () => ({ status: 429, body: { ok: false, error_code: 429, parameters: { retry_after: 1000 } } });
  await tell(w.guli);
  const waiting = await until('it waits', async () => (await list()).find((m) => m.to === 'telegram' && m.state === 'waiting' && m.tries === 1));
  assert.ok(waiting.due - waiting.since >= 800 * 1000, JSON.stringify(waiting));
  w.telegram.answer = () => null;
  await advance(1300 * 1000);
  const message = await w.telegram.came.get('the news', (m) => !m.refused && m !== welcome);
  assert.match(message.text, /^There is news waiting for you in Hamroh/);
  assert.ok(!message.text.includes('illness'));
  // The link is good once.
  w.telegram.write(42, `/start ${made.start}`);
  w.telegram.answer = () => ({ status: 403, body: { ok: false, error_code: 403, description: 'Forbidden: bot was blocked by the user' } });
  await tell(w.guli);
  await until('the contact is refused', async () => (await guli.call('contact.list')).items[0].refused > 0);
  assert.ok(w.telegram.came.all.every((m) => m.chat_id === '6171829304'));
  w.telegram.answer = () => null;
  guli.close();
});

it('a webhook is signed, its secret is told once, and only its events go there', async () => {
  const set = (params) => w.school.call('webhook.set', params);
  const { secret } = await set({ name: 'library', url: `${w.receiver.url}/hook`, events: ['pair.ended'] });
  assert.match(secret, /^whsec_[A-Za-z0-9+/=]{44}$/);
  w.receiver.secret = secret;
  assert.deepEqual(await w.school.call('teller.hook', { name: 'nobody', event: 'pair.ended', data: {} }), { told: false });
  await w.school.call('teller.hook', { name: 'library', event: 'pair.made', data: { pair: '1' } });
  await w.school.call('teller.hook', { name: 'library', event: 'pair.ended', data: { pair: '2' } });
  await w.school.call('webhook.test', { name: 'library' });
  const [a, b] = await w.receiver.came.count('two hooks', 2);
  const ended = [a, b].find((h) => h.body.type === 'pair.ended');
  assert.ok(a.right && b.right);
  assert.deepEqual(ended.body.data, { pair: '2' });
  assert.equal(ended.body.institution, 'school');
  assert.equal(ended.body.id, ended.id);
  await until('noted', async () => (await w.school.call('webhook.list')).items[0].sent === 2);
  const [shown] = (await w.school.call('webhook.list')).items;
  assert.ok(!JSON.stringify(shown).includes(secret.slice(6)));
  assert.deepEqual([shown.waiting, shown.given_up, shown.name], [0, 0, 'library']);
  assert.equal((await set({ name: 'library', active: true })).secret, undefined);
  const renewed = await set({ name: 'library', renew: true });
  await w.school.call('webhook.test', { name: 'library' });
  const old = await w.receiver.came.get('the third', (h) => h !== a && h !== b);
  assert.equal(old.right, false);
  w.receiver.secret = renewed.secret;
  await set({ name: 'library', events: [] });
  for (const url of ['ftp://a.uz/', 'http://user:word@127.0.0.1/', 'nothing', 'file:///etc/passwd', 'https://'])
    await refused(set({ name: 'wrong', url }), -32602);
});

const hook = (name, data = {}) => w.school.call('teller.hook', { name, event: 'pair.ended', data });

it('a webhook that fails is tried again with growing pauses, under the same id, until it takes it', async () => {
  const ids = [];
  w.receiver.answer = (h) => (ids.push(h.id), { status: ids.length <= 3 ? [500, 429, 503][ids.length - 1] : 204, headers: ids.length === 2 ? { 'Retry-After': '3600' } : {} });
  await hook('library', { n: 'again' });
  const waits = [];
  for (let i = 1; i <= 3; i++) {
    const m = await until(`attempt ${i}`, async () => (await list()).find((x) => x.state === 'waiting' && x.tries === i));
    waits.push(m.due);
    await advance(i === 2 ? 70 * minute + 12 * minute : 20 * minute);
  }
  await until('it is sent', async () => (await list()).some((m) => m.state === 'sent' && m.tries === 4));
  assert.equal(new Set(ids).size, 1);
  assert.equal(ids.length, 4);
  assert.ok(waits[1] - waits[0] > 48 * minute, 'Retry-After is respected');
  w.receiver.answer = () => ({ status: 204 });
});

it('what is refused is given up at once, what is not taken for days too, and both can be seen', async () => {
  w.receiver.answer = () => ({ status: 410 });
  await hook('library', { n: 'gone' });
  const gone = await until('given up', async () => (await list()).find((m) => m.state === 'given_up' && m.status === 410));
  assert.equal(gone.tries, 1);
  w.receiver.answer = () => null; // a connection that says nothing
  await hook('library', { n: 'silent' });
  await until('the first attempt', async () => (await list()).find((m) => m.state === 'waiting' && m.reason === 'timeout'));
  await advance(25 * hour);
  const late = await until('given up', async () => (await list()).find((m) => m.state === 'given_up' && m.reason === 'timeout'));
  assert.equal(late.tries, 2);
  const [shown] = (await w.school.call('webhook.list')).items;
  assert.equal(shown.given_up, 2);
  assert.equal(shown.trouble.reason, 'timeout');
  w.receiver.answer = () => ({ status: 204 });
  await w.school.call('webhook.test', { name: 'library' }); // no waiting after that
  await w.receiver.came.get('the test', (h) => h.body.type === 'hamroh.test' && h.status === 204 && h.right && h.headers);
});

it('a private address is not talked to, however it is written, after a redirect, nor on a connection that is open already', async () => {
  const dead = await Receiver.start();
  const port = dead.port;
  // Telegram's stand-in is trusted, and there is a connection to it that nobody uses at the moment.
  assert.ok(w.telegram.came.all.length && w.telegram.url.includes('127.0.0.3'));
  const set = (name, url) => w.school.call('webhook.set', { name, url });
  // 127.0.0.1 is named in the settings; 127.0.0.2, ::1 and what localhost may be beside it are not.
  const urls = { number: `https://127.0.0.2:${port}/`, six: `https://[::1]:${port}/`, mapped: `https://[::ffff:127.0.0.2]:${port}/`, meta: 'http://169.254.169.254/latest/', short: `http://127.2:${port}/`, ten: `https://10.0.0.1:${port}/`, open: `${w.telegram.url}/inside` };
  for (const [name, url] of Object.entries(urls)) {
    await set(name, url);
    await hook(name);
  }
  for (const name of Object.keys(urls)) {
    const m = await until(`${name} is refused`, async () => (await list()).find((x) => x.to === `w:${name}` && x.state === 'given_up'));
    assert.deepEqual([m.reason, m.tries], ['private_address', 1], name);
  }
  w.receiver.answer = (h) => (h.body.data.n === 'away' ? { status: 302, headers: { Location: `http://127.0.0.2:${port}/inside` } } : { status: 204 });
  await hook('library', { n: 'away' });
  const away = await until('the redirect is refused', async () => (await list()).find((m) => m.reason === 'redirect'));
  assert.deepEqual([away.state, away.status], ['given_up', 302]);
  assert.equal(dead.came.all.length, 0);
  assert.ok(!w.telegram.paths.includes('/inside'));
  w.receiver.answer = () => ({ status: 204 });
  for (const name of Object.keys(urls)) await w.school.call('webhook.remove', { name });
  await dead.stop();
});

it('a dead webhook holds up no other, neither of its institution nor of another', async () => {
  const dead = await Receiver.start();
  dead.answer = () => null;
  const other = await w.server.institution('other');
  await other.deploy('service', 'teller', teller);
  await w.school.call('webhook.set', { name: 'dead', url: `${dead.url}/` });
  for (let i = 0; i < 30; i++) await hook('dead', { n: i });
  await dead.came.get('the first at the dead one');
  const { secret } = await other.call('webhook.set', { name: 'fine', url: `${w.receiver.url}/other` });
  const mine = w.receiver.secret;
  await hook('library', { n: 'beside' });
  await w.receiver.came.get('the one beside it', (h) => h.body.data.n === 'beside' && h.right);
  w.receiver.secret = secret;
  await other.call('teller.hook', { name: 'fine', event: 'x', data: { n: 'far' } });
  await w.receiver.came.get('the other institution\'s', (h) => h.body.data.n === 'far' && h.right);
  w.receiver.secret = mine;
  assert.ok(dead.came.all.length <= 3, `${dead.came.all.length} connections at a time`);
  await w.school.call('webhook.remove', { name: 'dead' });
  await dead.stop();
});

it('what a killed server had not sent, the next one sends; what it had noted as sent, it does not', async () => {
  await advance(25 * hour);
  const { port } = w.receiver;
  const before = new Set(w.receiver.came.all.map((h) => h.id));
  await w.receiver.stop(); // away
  for (let i = 0; i < 5; i++) await hook('library', { n: `kept ${i}` });
  await tell(w.ali);
  const mails = w.mail.mails.all.length;
  const secret = w.receiver.secret;
  w.receiver = await Receiver.start(port);
  w.receiver.secret = secret;
  w.receiver.answer = () => ({ status: 503 }); // until the server has ended
  await w.server.kill();
  const old = w.mail.mails.all.length; // it may have gone out before the end
  w.receiver.answer = () => ({ status: 204 });
  await w.server.serve();
  await advance(2 * hour);
  await w.server.call('clock.advance', { ms: w.advanced - 2 * hour });
  const came = await w.receiver.came.count('five hooks', 5, (h) => h.status === 204 && /^kept/.test(h.body.data.n ?? ''));
  assert.equal(new Set(came.map((h) => h.body.data.n)).size, 5);
  assert.ok(came.every((h) => h.right && !before.has(h.id)));
  if (old === mails) await w.mail.mails.count('the mail', mails + 1);
  await until('all noted', async () => !(await list()).some((m) => m.state === 'waiting'));
  const sent = w.receiver.came.all.length;
  await again();
  await hook('library', { n: 'behind' });
  await w.receiver.came.get('the next', (h) => h.body.data.n === 'behind');
  assert.equal(w.receiver.came.all.length, sent + 1);
});

it('one whose answer was lost with the server comes again under the id it had', async () => {
  let held = null;
  w.receiver.answer = (h) => (h.body.data.n === 'lost' && !held ? ((held = h.id), null) : { status: 204 });
  await hook('library', { n: 'lost' });
  await w.receiver.came.get('the first time', (h) => h.body.data.n === 'lost');
  await again();
  const [first, second] = await w.receiver.came.count('both', 2, (h) => h.body.data.n === 'lost');
  assert.equal(first.id, second.id);
  w.receiver.answer = () => ({ status: 204 });
});

it('an operator tries the settings from the command line, and is told what is wrong', async () => {
  const run = (...words) => promisify(execFile)(bin, ['notify', 'test', '--data', w.server.data, ...words]).then((r) => ({ code: 0, ...r }), (e) => e);
  const sent = await run('operator@mail.example');
  assert.equal(sent.code, 0, sent.stderr);
  await w.mail.mails.get('the test', (m) => m.to[0] === 'operator@mail.example' && m.text === 'This is a test message of Hamroh. Sending works.');
  writeFileSync(path.join(w.dir, 'smtp'), 'another word\n');
  const denied = await run('operator@mail.example');
  assert.equal(denied.code, 1);
  assert.match(denied.stderr, /login_denied/);
  writeFileSync(path.join(w.dir, 'smtp'), 'a secret of the mail server\n');
  w.mail.starttls = false; // e.g. somebody on the way takes the offer out
  await until('connections that are encrypted already are used up', async () => {
    for (const socket of w.mail.sockets) socket.destroy();
    return (await run('operator@mail.example')).stderr.includes('no_encryption');
  });
  w.mail.starttls = true;
  assert.equal((await run('6171829304')).code, 0);
  assert.equal((await run('no address@')).code, 1);
});

it('of a person who is erased no contact, notification or message is left', async () => {
  const ali = await w.school.client('ali');
  assert.equal((await ali.call('contact.list')).items.length, 1);
  ali.close();
  await w.school.call('person.erase', { person: w.ali, reason: 'test' });
  const mails = w.mail.mails.all.length;
  await tell(w.ali, { urgent: true });
  await hook('library', { n: 'after' });
  await w.receiver.came.get('what comes behind', (h) => h.body.data.n === 'after');
  assert.equal(w.mail.mails.all.length, mails);
});

it('the opening of an address is in the audit of its owner, and neither addresses nor secrets are in the log or the figures', async () => {
  const { items } = await w.school.call('audit.list', { whose: w.guli });
  assert.ok(items.some((a) => (a.data ?? a).type === 'contact' && (a.data ?? a).who === 'system'), JSON.stringify(items).slice(0, 500));
  await until('nothing waits', async () => !(await list()).some((m) => m.state === 'waiting'));
  const figures = await w.server.metrics();
  assert.match(figures, /hamroh_outgoing_waiting\{channel="webhook"\} 0/);
  assert.match(figures, /hamroh_outgoing_sent_total\{channel="webhook"\} [1-9]/);
  const log = w.server.log;
  assert.match(log, /outgoing\.(sent|later|given_up)/);
  for (const text of ['mail.example', 'victim', '6171829304', token, 'secret of the mail', '127.0.0.1:' + w.receiver.port, 'illness', 'whsec_', 'Name of'])
    assert.ok(!log.includes(text) && !figures.includes(text), `${text} is told`);
});
