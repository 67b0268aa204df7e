// The whole job once, in the order in which a term goes: roster, match, approval, questionnaire, conversation, meetings, report.
import assert from 'node:assert/strict';
import test from 'node:test';
import { demo_for, phone, until, wide } from './helper.mjs';

const world = demo_for(test);

const roster = [
  'ID;F.I.Sh.;Guruh;Kurs;Jinsi;GPA;Tillar',
  "T-001;To'rayeva Go'zal;NEW-101;1;ayol;3,4;uz,ru",
  'T-002;Karimov Aziz;NEW-101;1;erkak;2,9;uz',
  'T-003;Rahimova Lola;NEW-101;1;ayol;4,5;uz,en',
  'T-004;Umarov Bek;NEW-101;birinchi;erkak;3,1;uz',
].join('\r\n');

async function say(one, text) {
  await one.page.getByRole('textbox', { name: /^Message to/ }).fill(text);
  await one.page.getByRole('button', { name: 'Send', exact: true }).click();
}
// Both look at their pair. By now the match may have given the mentor a second mentee, who is then chosen from a list.
async function both(demo) {
  const mentor = await demo.person('mentor', { size: phone });
  const mentee = await demo.person('mentee', { size: phone });
  await demo.go(mentee, 'me');
  const name = await mentee.page.getByRole('heading', { level: 1 }).innerText();
  await demo.go(mentee, 'pair');
  await demo.go(mentor, 'pair');
  if (!(await mentor.page.getByRole('log').count())) await mentor.page.getByRole('main').getByRole('link', { name }).click();
  for (const one of [mentor, mentee]) await one.page.getByRole('log').waitFor();
  return { mentor, mentee };
}
const line = (one, text) => one.page.getByRole('log').getByText(text, { exact: true });

world.test('a coordinator imports a roster: columns guessed, a preview before anything is written, skipped lines with reasons', async (_, demo) => {
  const c = await demo.person('coordinator', { size: wide });
  const { page } = c;
  await demo.go(c, 'people');
  await page.getByRole('status').filter({ hasText: 'People: 244' }).waitFor();
  await page.getByRole('button', { name: 'Import a roster' }).click();
  const dialog = page.getByRole('dialog', { name: 'Import a roster' });
  await dialog.getByLabel('CSV file').setInputFiles({ name: 'roster.csv', mimeType: 'text/csv', buffer: Buffer.from(roster) });
  await dialog.getByText('UTF-8, 7 columns').waitFor();
  for (const [field, column] of [['Name', 'F.I.Sh.'], ['Student number', 'ID'], ['Group', 'Guruh'], ['Year', 'Kurs'], ['Gender', 'Jinsi'], ['Grade average (of 5)', 'GPA'], ['Languages', 'Tillar']])
    assert.equal(await dialog.getByRole('combobox', { name: field, exact: true }).inputValue(), column, `the column guessed for ${field}`);
  await dialog.getByRole('button', { name: 'Preview' }).click();
  await dialog.getByText('3 new').waitFor();
  await dialog.getByText('1 skipped').waitFor();
  await dialog.getByRole('region', { name: 'The first lines' }).getByRole('cell', { name: 'Karimov Aziz' }).waitFor();
  const skipped = dialog.getByRole('table').filter({ hasText: 'Reason' });
  await skipped.getByRole('cell', { name: '5', exact: true }).waitFor();
  assert.equal((await world.server.call('record.count', { type: 'person' }, { institution: 'demo' })).count, 244, 'a preview writes nothing');
  await dialog.getByRole('button', { name: 'Import 3' }).click();
  await dialog.getByText('The roster is imported.').waitFor();
  await dialog.getByText('3 new').waitFor();
  await dialog.getByRole('button', { name: 'Close' }).last().click();
  await page.getByRole('status').filter({ hasText: 'People: 247' }).waitFor();
  // Found by name whichever apostrophe one types.
  await page.getByRole('searchbox').fill('to‘rayeva go‘zal');
  await page.getByText('NEW-101').first().waitFor();
  // The same file once more changes nothing.
  await page.getByRole('button', { name: 'Import a roster' }).click();
  await dialog.getByLabel('CSV file').setInputFiles({ name: 'roster.csv', mimeType: 'text/csv', buffer: Buffer.from(roster) });
  await dialog.getByRole('button', { name: 'Preview' }).click();
  await dialog.getByText('3 unchanged').waitFor();
  assert.ok(await dialog.getByRole('button', { name: 'Import 0' }).isDisabled());
});

world.test('a coordinator runs a rule, reads the reasons, changes a mentor, undoes it, and approves', async (_, demo) => {
  const c = await demo.person('coordinator', { size: wide });
  const { page } = c;
  await demo.go(c, 'match');
  await page.getByLabel('Rule').selectOption({ index: 0 });
  // The job may be over before anybody looks: what was shown of it is kept as it is drawn.
  await page.evaluate(() => {
    window.seen_progress = false;
    new MutationObserver(() => (window.seen_progress ||= !!document.querySelector('.job progress'))).observe(document.body, { childList: true, subtree: true });
  });
  await page.getByRole('button', { name: 'Run the match' }).click();
  await until('the proposal to be opened', async () => /#\/match\/./.test(page.url()));
  await demo.settled(c);
  assert.ok(await page.evaluate(() => window.seen_progress), 'the progress of the job was shown');
  await page.getByRole('heading', { name: 'Pairs, weakest first' }).waitFor();
  const rows = page.locator('li.proposed');
  await rows.first().waitFor();
  await rows.first().getByText('How the points add up').click();
  assert.ok((await rows.first().getByRole('row').count()) > 0, 'every part of the points is told');
  const scores = (await page.locator('.proposed .score').allTextContents()).map((s) => Number(s.replace(/ of .*/s, '').replace(/\D/g, '')));
  assert.deepEqual(scores, [...scores].sort((a, b) => a - b), 'weakest first');
  assert.ok((await rows.filter({ hasNotText: 'Nothing in particular' }).count()) > 0, 'pairs say why');

  // Every place is taken: leaving one mentee without a mentor frees one, and the effect is told at once.
  const matched = page.locator('.effect dd').first();
  const [, n, of] = /(\d+) of (\d+)/.exec(await matched.innerText());
  await rows.first().getByRole('button', { name: 'Change mentor' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Leave without a mentor' }).click();
  await page.locator('.effect dd', { hasText: `${n - 1} of ${of}` }).waitFor();
  // The first pair for which there is another mentor with a place now.
  let changed;
  const many = await rows.count();
  for (let i = 0; i < many; i++) {
    const [mentee, mentor] = await rows.nth(i).locator('.proposed-head b').allInnerTexts();
    await rows.nth(i).getByRole('button', { name: 'Change mentor' }).click();
    const dialog = page.getByRole('dialog', { name: `A mentor for ${mentee}` });
    await dialog.locator('.candidate, .empty').first().waitFor();
    const other = dialog.locator('.candidate button:enabled').first();
    if (await other.count()) {
      const name = (await other.getAttribute('aria-label')).replace(/^Take /, '');
      await other.click();
      await dialog.waitFor({ state: 'detached' });
      changed = { mentee, before: mentor, after: name };
      break;
    }
    await dialog.getByRole('button', { name: 'Close' }).click();
    await dialog.waitFor({ state: 'detached' });
  }
  assert.ok(changed, 'some pair has another mentor to choose');
  const row = rows.filter({ has: page.locator('.proposed-head b', { hasText: changed.mentee }) }).first();
  await row.filter({ hasText: changed.after }).waitFor();
  await row.getByText('chosen by hand').waitFor();
  await page.getByRole('button', { name: 'Undo' }).click();
  await row.filter({ hasText: changed.before }).waitFor();

  await page.getByRole('button', { name: 'Approve' }).click();
  const dialog = page.getByRole('dialog', { name: /^Approve \d+ pairs/ });
  await dialog.getByRole('button', { name: 'Approve' }).click();
  await page.getByText(/^\d+ pairs are made\.$/).waitFor();
  await page.locator('.state-line', { hasText: 'approved' }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Change mentor' }).count(), 0, 'what is approved is not changed any more');
});

world.test('a mentee fills the questionnaire in, and is thanked', async (_, demo) => {
  const mentee = await demo.person('mentee', { size: phone });
  const { page } = mentee;
  await demo.go(mentee, 'questionnaire');
  await page.getByRole('link', { name: 'Begin' }).first().click();
  await demo.settled(mentee);
  const title = await page.getByRole('heading', { level: 1 }).innerText();
  for (let n = 0; n < 20; n++) {
    for (const group of await page.getByRole('group').filter({ has: page.getByRole('radio') }).all()) await group.getByRole('radio').nth(1).check();
    assert.equal(await page.getByText(/^Without an answer on this page/).count(), 0);
    const next = page.getByRole('button', { name: 'Next' });
    if (!(await next.count())) break;
    await next.click();
  }
  await page.getByRole('button', { name: 'Send answers' }).click();
  await page.getByRole('heading', { name: 'Thank you!' }).waitFor();
  assert.match(await page.locator('.result').innerText(), /\S/);
  await demo.go(mentee, 'questionnaire');
  await page.locator('.row', { hasText: title }).getByText(/^answered on/).waitFor();
});

world.test('mentor and mentee write to each other and see it without a reload', async (_, demo) => {
  const { mentor, mentee } = await both(demo);
  for (const one of [mentor, mentee]) await one.page.evaluate(() => (window.never_reloaded = true));
  await say(mentor, 'Ertaga 14:00 da kutubxonadaman.');
  await line(mentee, 'Ertaga 14:00 da kutubxonadaman.').waitFor();
  await say(mentee, 'Rahmat, boraman!!');
  await line(mentor, 'Rahmat, boraman!!').waitFor();
  for (const one of [mentor, mentee]) {
    assert.ok(await one.page.evaluate(() => window.never_reloaded));
    assert.equal(await line(one, 'Rahmat, boraman!!').count(), 1);
    assert.equal(await one.page.locator('.said.pending').count(), 0);
  }
});

world.test('a mentee proposes one of the times when both are free, the mentor accepts; a meeting that was held is logged', async (_, demo) => {
  const { mentor, mentee } = await both(demo);
  await mentee.page.getByRole('button', { name: 'Propose a time' }).click();
  const dialog = mentee.page.getByRole('dialog', { name: 'When shall we meet?' });
  await dialog.getByLabel('Place or link').fill('3-auditoriya');
  const slot = dialog.getByRole('list', { name: 'Times when you are both free' }).getByRole('button').first();
  const when = (await slot.locator('b').innerText()).trim();
  await slot.click();
  await dialog.waitFor({ state: 'detached' });
  const on = (one) => one.page.locator('.meeting', { hasText: when }).filter({ hasText: '3-auditoriya' });
  await on(mentee).getByText('proposed').waitFor();
  assert.equal(await on(mentee).getByRole('button', { name: 'Accept' }).count(), 0, 'who proposed does not answer');
  await on(mentor).getByRole('button', { name: 'Accept' }).click();
  await on(mentor).getByText('agreed').waitFor();
  await on(mentee).getByText('agreed').waitFor();

  await mentor.page.getByRole('button', { name: 'Log a meeting' }).click();
  const log = mentor.page.getByRole('dialog', { name: 'Did you meet?' });
  await log.getByLabel('Topic').fill('Kurs ishi');
  await log.getByRole('button', { name: 'Yesterday' }).click();
  await log.waitFor({ state: 'detached' });
  await mentee.page.getByText('Earlier meetings (2 held)').click();
  const held = mentee.page.locator('.meeting.held', { hasText: 'Kurs ishi' });
  await held.getByText('held').waitFor();
});

world.test('a coordinator sees what changed: the number of people, the mean with its interval, and the table', async (_, demo) => {
  const c = await demo.person('coordinator', { size: wide });
  const { page } = c;
  await demo.go(c, 'changes');
  const table = page.getByRole('region', { name: 'The report as a table' }).getByRole('table');
  await table.waitFor();
  const heads = await table.getByRole('columnheader').allInnerTexts();
  assert.deepEqual(heads, ['Group', 'n', 'Before', 'After', 'Change', '95% interval', 'd']);
  const rows = await table.locator('tbody tr').all();
  assert.ok(rows.length >= 2, 'those with a mentor and those without');
  const cells = await rows[0].locator('th, td').allInnerTexts();
  assert.ok(Number(cells[1]) >= 5, `n is told: ${cells[1]}`);
  assert.match(cells[5], /^[-−]?[\d.]+ to [-−]?[\d.]+$/);
  await page.getByRole('img', { name: 'Mean change with its 95% interval' }).waitFor();
  assert.match(await page.locator('.words').innerText(), /\d/, 'the numbers are told in words');
});
