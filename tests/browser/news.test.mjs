// The bell: news that come while one looks, read one by one and all at once; and hearing of them by e-mail, from the address to
// what one wants and when not.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { certificate } from '../protocol/certificate.mjs';
import { MailServer } from '../protocol/stand_ins.mjs';
import { demo_for, phone, until, wide } from './helper.mjs';

const dir = mkdtempSync(path.join(tmpdir(), 'hamroh-news-'));
const mail = await MailServer.start(certificate(dir, 'mail'), { starttls: false });
test.after(async () => {
  await mail.stop();
  rmSync(dir, { recursive: true, force: true });
});
const world = demo_for(test, {
  settings: `return { smtp_url = "smtp://127.0.0.1:${mail.port}", smtp_plain = true, smtp_from = "Hamroh <hamroh@example.uz>", public_url = "https://hamroh.example.uz" }\n`,
});

const teller = `return service { id = "teller", methods = { ["teller.tell"] = {
  summary = "Tells", access = { "administrator" }, writes = true, params = { person = text {}, text = text {}, action = text {} },
  run = function(_, p)
    notify.person(p.person, { key = "meeting.proposed", action = p.action, text = { en = p.text, ru = p.text, uz = p.text, ["uz-Cyrl"] = p.text } })
    return {}
  end,
} } }`;

world.test('news come to the bell as they happen, lead to where they happened, and are marked as read', async (_, demo) => {
  const call = (method, params) => world.server.call(method, params, { institution: 'demo' });
  await call('plugin.deploy', { kind: 'service', id: 'teller', source: teller });
  const one = await demo.person('mentor', { size: phone });
  const { page } = one;
  const { person } = (await call('account.list')).items.find((a) => a.login === 'mentor');
  await page.getByRole('link', { name: 'News', exact: true }).waitFor();
  await call('teller.tell', { person, text: 'A first thing', action: 'pair' });
  await page.getByRole('link', { name: 'News, 1 not read' }).waitFor();
  await call('teller.tell', { person, text: 'A second thing' });
  await call('teller.tell', { person, text: 'A third thing' });
  await page.getByRole('link', { name: 'News, 3 not read' }).click();
  await page.getByRole('heading', { name: 'News', level: 1 }).waitFor();
  await page.getByRole('button', { name: 'Mark as read: A third thing' }).click();
  await page.getByRole('link', { name: 'News, 2 not read' }).waitFor();
  await page.getByRole('link', { name: 'A first thing' }).click();
  await page.getByRole('link', { name: 'News, 1 not read' }).waitFor();
  assert.match(page.url(), /#\/pair$/);
  await demo.go(one, 'news');
  await page.getByRole('button', { name: 'Mark all as read' }).click();
  await page.getByRole('link', { name: 'News', exact: true }).waitFor();
  assert.equal(await page.locator('.news').count(), 3);
  assert.equal(await page.locator('.news.fresh').count(), 0);
});

world.test('an address is given, confirmed with the code that came there, and told what it is to get', async (_, demo) => {
  const call = (method, params) => world.server.call(method, params, { institution: 'demo' });
  const one = await demo.person('mentor', { size: wide });
  const { page } = one;
  await demo.go(one, 'me');
  const card = page.getByRole('region', { name: 'News by e-mail and Telegram' });
  assert.equal(await card.getByRole('button', { name: 'Connect Telegram' }).count(), 0, 'that is not set up here');
  await card.getByLabel('Your e-mail address').fill('mentor@mail.example');
  await card.getByRole('button', { name: 'Send a code' }).click();
  await card.getByText('not confirmed yet').waitFor();
  const sent = await mail.mails.get('the code', (m) => m.to[0] === 'mentor@mail.example');
  assert.equal(sent.subject, 'Code for Hamroh');
  const code = /\d{6}/.exec(sent.text)[0];
  await card.getByLabel('Code', { exact: true }).fill(code === '111111' ? '111112' : '111111');
  await card.getByRole('button', { name: 'Confirm' }).click();
  await card.getByText('This is not the code.').waitFor();
  await card.getByLabel('Code', { exact: true }).fill(code);
  await card.getByRole('button', { name: 'Confirm' }).click();
  await card.getByText('confirmed on').waitFor();
  await card.getByRole('button', { name: 'Show the address' }).click();
  await card.getByText('mentor@mail.example').waitFor();
  await card.getByLabel('What to send').selectOption('some');
  await card.getByLabel('Meetings').check();
  await card.getByLabel('Not at night').check();
  await card.getByLabel('from', { exact: true }).waitFor();
  const { person } = (await call('account.list')).items.find((a) => a.login === 'mentor');
  await call('teller.tell', { person, text: 'Something private' });
  await until('the queue to have it', async () => (await call('outgoing.list')).items.some((m) => m.kind === 'news'));
  await card.getByRole('button', { name: /^Remove/ }).click();
  await until('it to be gone', async () => (await card.locator('.contact').count()) === 0);
});
