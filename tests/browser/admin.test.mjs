// What administrators do: accounts, a lost second step, a person's data and its erasing, who looked at what was sealed, backups.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { code, keep_codes, set_up } from './authenticator.mjs';
import { demo_for, password_in, phone, until, wide, words } from './helper.mjs';

const world = demo_for(test);
const narrow = { ...phone, width: 360 };

async function in_and_there(one, login) {
  await password_in(world, one, login);
  await one.page.getByRole('navigation').waitFor();
  return one;
}
async function as(login, fn) {
  const client = await world.server.connect();
  try {
    await client.login('demo', login, words);
    return await fn(client);
  } finally {
    client.close();
  }
}
// The page of an account, by way of the list.
async function account_of(demo, admin, login, name, about = '') {
  await demo.go(admin, 'admin');
  await admin.page.getByLabel('Name, login or role').fill(login);
  await admin.page.getByRole('link', { name: new RegExp(`${name}.*${about}`) }).click();
  await admin.page.getByRole('heading', { level: 1, name }).waitFor();
}

world.test('an account is found, gets a role that is in force at once, and is signed out everywhere', async (_, demo) => {
  const coach = await in_and_there(await demo.visitor({ size: narrow }), 'coach');
  const admin = await demo.person('administrator', { size: narrow });
  const { page } = admin;
  await page.getByRole('link', { name: 'Admin' }).click();
  await page.getByRole('heading', { level: 1, name: 'Accounts' }).waitFor();
  await page.getByText('Accounts: 6').waitFor();
  await page.getByLabel('Name, login or role').fill('nobody of this name');
  await page.getByText('Nothing found.').waitFor();
  await account_of(demo, admin, 'COACH', 'Hakimov Alisher');

  assert.equal(await coach.page.getByRole('link', { name: 'Match' }).count(), 0);
  await page.getByText('Change roles').click();
  const save = page.getByRole('button', { name: 'Save' });
  assert.ok(await save.isDisabled(), 'nothing is changed yet');
  await page.getByRole('checkbox', { name: 'coordinator' }).check();
  await save.click();
  await page.getByText('The roles are changed, from now on.').waitFor();
  await page.getByText('coach, coordinator').waitFor();
  await coach.page.reload();
  await coach.page.getByRole('link', { name: 'Match' }).waitFor();

  await page.getByRole('button', { name: 'Sign out everywhere' }).click();
  await coach.page.getByLabel('Password').waitFor(); // at once, without a reload

  await page.getByRole('button', { name: 'Close the account' }).click();
  await page.getByText('The account is closed: nobody can sign in with it.').waitFor();
  await password_in(world, coach, 'coach');
  await coach.page.getByText('Login or password is not right.').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await page.getByText('The account is open again.').waitFor();
  await in_and_there(coach, 'coach');

  // Nobody takes the last key from themselves.
  await account_of(demo, admin, 'administrator', 'Ortiqov Shavkat');
  await page.getByText('This is your own account.').waitFor();
  await page.getByText('Change roles').click();
  assert.ok(await page.getByRole('checkbox', { name: 'administrator' }).isDisabled());
  assert.equal(await page.getByRole('button', { name: 'Erase this person' }).count(), 0);
});

world.test('recovery codes are renewed with a code; a lost second step is reset after a confirmation', async (_, demo) => {
  const one = await in_and_there(await demo.visitor({ size: narrow }), 'psychologist');
  const { page } = one;
  await demo.go(one, 'me');
  await page.getByRole('button', { name: 'Set it up' }).click();
  const { secret, codes } = await set_up(page);
  await page.getByText('New recovery codes').click();
  const second = page.getByRole('region', { name: 'Two-step sign-in' });
  const field = second.getByLabel('Code from the app, or a recovery code').first();
  await field.fill(code(secret, 1000));
  await page.keyboard.press('Enter');
  await second.getByText('This code is wrong or was used already.').waitFor();
  await field.fill(codes[0]);
  await second.getByRole('button', { name: 'Make new codes' }).click();
  const renewed = await keep_codes(page);
  assert.ok(renewed.every((c) => !codes.includes(c)));
  await second.getByText('Recovery codes left: 10').waitFor();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  const at_the_second_step = async (text) => {
    await page.getByRole('button', { name: 'I do not have my phone: use a recovery code' }).click();
    await page.locator('input[name=second]').fill(text);
    await page.keyboard.press('Enter');
  };
  await password_in(world, one, 'psychologist');
  await at_the_second_step(codes[1]); // of those before
  await page.getByText('This code is wrong or was used already.').waitFor();
  await page.locator('input[name=second]').fill(renewed[1]);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await page.getByText('A recovery code was used. Left: 9.').waitFor();

  const admin = await demo.person('administrator', { size: wide });
  await account_of(demo, admin, 'psychologist', 'Tursunova Nafisa', 'two-step sign-in');
  const button = admin.page.getByRole('button', { name: 'Reset the second step' });
  await button.click();
  const dialog = admin.page.getByRole('dialog', { name: 'Reset the second step' });
  await dialog.getByText('From then on the password alone is enough, until Tursunova Nafisa sets up the second step again.').waitFor();
  await admin.page.keyboard.press('Escape'); // nothing has happened
  await dialog.waitFor({ state: 'detached' });
  assert.ok(await button.evaluate((e) => e === document.activeElement), 'the focus is where it was');
  await button.press('Enter');
  await dialog.getByRole('button', { name: 'Reset the second step' }).click();
  await admin.page.getByText('The second step is reset: Tursunova Nafisa.').waitFor();
  await button.waitFor({ state: 'detached' });
  await admin.page.getByRole('region', { name: 'Who looked at their sealed data' }).getByText('Second step reset').waitFor();

  await page.getByRole('link', { name: 'Me', exact: true }).click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await in_and_there(one, 'psychologist'); // the password is enough
});

world.test('the audit tells who opened what of whom and why, the newest first, page by page; so does the own export', async (_, demo) => {
  const mentor = await as('mentor', async (c) => {
    await c.call('questionnaire.submit', { questionnaire: 'gad7', answers: { g1: 3, g2: 3, g3: 3, g4: 3, g5: 3, g6: 3, g7: 2 } });
    return c.call('person.me');
  });
  const name = mentor.person.data.name;
  const psychologist = await demo.person('psychologist', { size: wide });
  await psychologist.page.getByRole('listitem').filter({ hasText: name }).getByRole('link').click();
  await psychologist.page.getByLabel('Why do you open it?').fill('asked for help');
  await psychologist.page.keyboard.press('Enter');
  await psychologist.page.getByRole('table').waitFor();

  const admin = await demo.person('administrator', { size: narrow });
  const { page } = admin;
  await demo.go(admin, 'admin/audit');
  const rows = page.locator('.entries > li');
  const newest = rows.first();
  await newest.getByText('Opened: scores of a questionnaire').waitFor();
  await newest.getByText('asked for help').waitFor();
  await newest.getByRole('link', { name: 'Tursunova Nafisa' }).waitFor();
  await newest.getByRole('link', { name, exact: true }).waitFor();

  // What comes while one reads waits until one wants it.
  await as('administrator', async (c) => {
    const { items } = await c.call('record.list', { type: 'person', limit: 40 });
    for (const one of items) await c.call('person.export', { person: one.id });
  });
  await newest.getByText('asked for help').waitFor();
  await page.getByRole('button', { name: 'Show new entries' }).click();
  await until('a page of new entries', async () => (await rows.count()) === 30 && (await page.getByText('asked for help').count()) === 0);
  const more = page.getByRole('button', { name: 'Earlier entries' });
  while (await more.count()) {
    const before = await rows.count();
    await more.click();
    await until('more entries', async () => (await rows.count()) > before || (await more.count()) === 0);
  }
  await page.getByText('asked for help').waitFor();

  // And whose it was sees it, too.
  const own = await demo.person('mentor', { size: narrow });
  await demo.go(own, 'me');
  const saved = own.page.waitForEvent('download');
  await own.page.getByRole('button', { name: 'Download my data' }).click();
  await saved;
  await own.page.getByRole('heading', { name: 'Who opened your sealed answers' }).waitFor();
  await own.page.locator('.entries > li').filter({ hasText: 'asked for help' }).waitFor();
});

world.test("a backup is made, a person's data exported, the person erased after name and reason are typed, and unreachable copies are named", async (_, demo) => {
  const mentee = await in_and_there(await demo.visitor({ size: narrow }), 'mentee');
  const name = (await as('mentee', (c) => c.call('person.me'))).person.data.name;
  const admin = await demo.person('administrator', { size: wide });
  const { page } = admin;
  await page.getByRole('link', { name: 'Admin' }).click();
  await page.getByRole('link', { name: 'Backup' }).click();
  await page.getByText('There is no copy yet.').waitFor();
  await page.getByRole('button', { name: 'Make a backup now' }).click();
  await page.getByText('The backup is made:').waitFor();
  assert.match(await page.getByRole('region', { name: 'The newest copies' }).getByRole('listitem').innerText(), /[\d.,]+ MB/);
  // One more set, on a disk that is then lost.
  const disk = mkdtempSync(path.join(tmpdir(), 'hamroh-disk-'));
  await world.server.call('backup.create', { to: disk }, { institution: 'demo' });
  rmSync(disk, { recursive: true });

  await demo.go(admin, 'people');
  await page.getByLabel('Name, group or faculty').fill(name);
  await page.getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 1, name }).waitFor();
  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name: "Export this person's data" }).click();
  const file = await saved;
  assert.ok(!file.suggestedFilename().includes(name.split(' ')[0]), 'no name in the name of the file');
  const data = JSON.parse(readFileSync(await file.path(), 'utf8'));
  assert.ok(data.records.some((r) => r.type === 'person' && r.data.name === name));
  assert.equal(data.accounts[0].login_shown, 'mentee');
  await page.getByRole('region', { name: 'Who looked at their sealed data' }).getByText('Data exported').first().waitFor();

  await page.getByRole('button', { name: 'Erase this person' }).click();
  const dialog = page.getByRole('dialog', { name: `Erase ${name}?` });
  await dialog.getByText("The server's change log: what was ever written in clear, the name too.").waitFor();
  const go = dialog.getByRole('button', { name: 'Erase for good' });
  await go.click();
  assert.ok(await dialog.getByLabel('Why?').evaluate((e) => e === document.activeElement), 'the reason is asked for');
  await dialog.getByLabel('Why?').fill('left and asked for it');
  await dialog.getByLabel('Type the name, to be sure').fill('Somebody Else');
  await go.click();
  await dialog.getByText('The name is another one.').waitFor();
  await mentee.page.getByRole('navigation').waitFor(); // nothing has happened
  await dialog.getByLabel('Type the name, to be sure').fill(name.toLowerCase());
  await page.keyboard.press('Enter');
  await dialog.getByText('Erased. The key is destroyed here, and in backup sets: 1.').waitFor();
  await dialog.getByText(disk).waitFor();
  await mentee.page.getByLabel('Password').waitFor(); // signed out at once
  await dialog.getByRole('button', { name: 'It is gone for good' }).click();
  await dialog.getByText(disk).waitFor({ state: 'detached' });
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('heading', { level: 1, name: 'Erased person' }).waitFor();
  await page.getByText(/^Erased on/).waitFor();

  await demo.go(admin, 'people');
  await page.getByLabel('Name, group or faculty').fill(name);
  await page.getByText('Nothing found.').waitFor();
  await demo.go(admin, 'admin/audit');
  const newest = page.locator('.entries > li').first();
  await newest.getByText('Person erased').waitFor();
  await newest.getByText('left and asked for it').waitFor();
  await newest.getByText('Erased person').waitFor();
  assert.equal(await page.getByText(name).count(), 0, 'the name is on the screen no more');
});
