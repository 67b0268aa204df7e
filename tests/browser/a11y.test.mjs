// Every screen of every role, light and dark, against the machine-checkable part of WCAG 2.2 AA.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test from 'node:test';
import { demo_for, phone, wide } from './helper.mjs';

const world = demo_for(test);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

// In the page: empty room below the end, and words of buttons and table heads that are broken over lines.
function look() {
  const broken = [];
  for (const box of document.querySelectorAll('button, .button, th, .state, nav a')) {
    const walk = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      for (const word of walk.currentNode.data.matchAll(/[\p{L}\p{N}ʻʼ‘’']+/gu)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, word.index);
        range.setEnd(walk.currentNode, word.index + word[0].length);
        const lines = new Set([...range.getClientRects()].map((r) => Math.round(r.top)));
        if (lines.size > 1) broken.push(`${word[0]} in ${box.tagName.toLowerCase()}.${box.className}`);
      }
    }
  }
  const end = document.querySelector('main').getBoundingClientRect().bottom + scrollY;
  return { below: Math.round(document.documentElement.scrollHeight - Math.max(end, innerHeight)), broken: [...new Set(broken)] };
}

async function check(one, name, found) {
  // A page at rest: what moves or fades has another contrast for a moment.
  await one.page.evaluate(() => Promise.all(document.getAnimations().filter((a) => a.effect?.getComputedTiming().iterations !== Infinity).map((a) => a.finished)));
  await one.page.evaluate(axe);
  const { violations } = await one.page.evaluate((values) => axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] }), tags);
  for (const v of violations)
    for (const node of v.nodes) found.push(`${name}: ${v.id} (${v.impact}) ${node.target.join(' ')}\n    ${node.html.slice(0, 160)}\n    ${node.failureSummary.replace(/\s+/g, ' ')}`);
  const overflow = await one.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (overflow > 0) found.push(`${name}: wider than the window by ${overflow} px`);
  const { below, broken } = await one.page.evaluate(look);
  if (below > 1) found.push(`${name}: the page goes on for ${below} px below its end`);
  for (const b of broken) found.push(`${name}: a word is broken: ${b}`);
}

// The page of plugins in its states: read, written, with a problem, every panel beside it, its dialogs.
async function plugins(demo, one, found) {
  const { page } = one;
  await demo.go(one, 'admin/plugins');
  await page.getByRole('button', { name: 'New plugin' }).click();
  await check(one, 'plugins/new', found);
  await page.keyboard.press('Escape');
  await demo.go(one, 'admin/plugins/matcher/successful-unsuccessful');
  await page.locator('.verdict.good').waitFor();
  await check(one, 'plugins/read', found);
  await page.getByRole('button', { name: 'Start from a copy' }).click();
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.type('return = 1\n');
  await page.locator('.verdict.bad').waitFor();
  await check(one, 'plugins/problem', found);
  for (const tab of await page.getByRole('tab').all()) {
    await tab.click();
    await demo.settled(one);
    await check(one, `plugins/${await tab.innerText()}`, found);
  }
  await page.getByText('With the keyboard').click();
  await page.getByRole('button', { name: 'Find', exact: true }).click();
  await page.getByRole('textbox', { name: 'Find' }).waitFor();
  await check(one, 'plugins/find', found);
  await page.getByRole('button', { name: 'Put in force…' }).click();
  await check(one, 'plugins/deploy', found);
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('link', { name: 'Today' }).click();
  await page.getByRole('button', { name: 'Stay here' }).waitFor();
  await check(one, 'plugins/leave', found);
  await page.getByRole('button', { name: 'Leave, throw the draft away' }).click();
  await page.locator('.screen-today h1').waitFor();
}

for (const scheme of ['light', 'dark'])
  for (const [shape, size] of [['wide', wide], ['phone', phone]])
    world.test(`no screen has a violation, ${scheme}, ${shape}`, async (_, demo) => {
      const found = [];
      const options = { scheme, size };
      const visitor = await demo.visitor(options);
      await visitor.page.goto(demo.server.http);
      await demo.settled(visitor);
      await visitor.page.getByRole('option', { name: 'Sample University' }).waitFor({ state: 'attached' });
      await check(visitor, 'sign-in', found);
      await visitor.page.getByRole('button', { name: 'I have an invitation code' }).click();
      await check(visitor, 'invitation', found);

      const screens = {
        coordinator: ['today', 'people', 'match', 'changes', 'me'],
        mentor: ['today', 'pair', 'questionnaire', 'me'],
        mentee: ['today', 'pair', 'questionnaire', 'questionnaire/adaptation', 'me'],
        psychologist: ['today', 'people', 'questionnaire', 'me'],
        administrator: ['people', 'admin', 'admin/plugins', 'admin/audit', 'admin/backup'],
      };
      for (const [login, names] of Object.entries(screens)) {
        const one = await demo.person(login, options);
        const { page } = one;
        for (const name of names) {
          await demo.go(one, name);
          await check(one, `${login}/${name}`, found);
        }
        if (login === 'coordinator') {
          await demo.go(one, 'match');
          await page.getByRole('link', { name: /draft/ }).first().click();
          await page.locator('.proposed').first().waitFor();
          await page.getByText('How the points add up').first().click();
          await check(one, 'coordinator/workbench', found);
          await page.getByRole('button', { name: 'Change mentor' }).first().click();
          await page.locator('.candidate').first().waitFor();
          await check(one, 'coordinator/workbench, another mentor', found);
          await page.keyboard.press('Escape');
          await page.getByRole('dialog').waitFor({ state: 'detached' });
          await demo.go(one, 'people');
          await page.getByRole('button', { name: 'Import a roster' }).click();
          await page.getByLabel('CSV file').setInputFiles({ name: 'r.csv', mimeType: 'text/csv', buffer: Buffer.from('ID;Name;Year\nX-1;Somebody New;1\nX-2;Another;one\n') });
          await page.getByRole('button', { name: 'Preview' }).click();
          await page.getByText('The first lines').waitFor();
          await check(one, 'coordinator/import', found);
        }
        if (login === 'mentee') {
          await page.getByText('Sign-in history').click();
          await page.locator('.history li').first().waitFor();
          await check(one, 'mentee/history', found);
          await page.getByRole('button', { name: 'Set it up' }).click();
          await page.getByRole('img', { name: /QR code/ }).waitFor();
          await check(one, 'mentee/two-step', found);
          await page.keyboard.press('Escape');
          await page.getByRole('dialog').waitFor({ state: 'detached' });
          await demo.go(one, 'pair');
          await page.getByRole('button', { name: 'Propose a time' }).click();
          await page.locator('.slot').first().waitFor();
          await check(one, 'mentee/propose', found);
        }
        if (login === 'administrator') {
          if ((scheme === 'light') === (shape === 'wide')) await plugins(demo, one, found); // each scheme and each shape once
          await demo.go(one, 'admin');
          await page.getByLabel('Name, login or role').fill('coach');
          await page.getByRole('link', { name: /Hakimov Alisher/ }).click();
          await page.getByText('Change roles').click();
          await demo.settled(one);
          await check(one, 'administrator/person', found);
          await page.getByRole('button', { name: "Export this person's data" }).click();
          await page.locator('.entries li').first().waitFor();
          await check(one, 'administrator/person with entries', found);
          await page.getByRole('button', { name: 'Erase this person' }).click();
          await page.getByRole('button', { name: 'Erase for good' }).waitFor();
          await check(one, 'administrator/erase', found);
        }
        if (login === 'mentor') {
          await demo.go(one, 'pair');
          await page.getByRole('button', { name: 'Log a meeting' }).click();
          await check(one, 'mentor/log', found);
        }
      }
      assert.equal(found.length, 0, `\n${found.join('\n')}`);
    });

world.test('the check itself finds a fault that is put in', async (_, demo) => {
  const one = await demo.visitor();
  await one.page.goto(demo.server.http);
  await demo.settled(one);
  await one.page.evaluate(() => document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button><p class="fault">Pale</p>'));
  await one.page.evaluate(() => document.querySelector('.fault').style.setProperty('color', '#ddd'));
  const found = [];
  await check(one, 'sign-in', found);
  assert.deepEqual(found.map((f) => f.split(' ')[1]).sort(), ['button-name', 'color-contrast'], found.join('\n'));
});

world.test('the whole of a sign-in and of a message is done with the keyboard alone', async (_, demo) => {
  const one = await demo.visitor();
  const { page } = one;
  await page.goto(demo.server.http);
  await demo.settled(one);
  await page.getByRole('option', { name: 'Sample University' }).waitFor({ state: 'attached' });
  const tab_to = async (locator) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press('Tab');
      if (await locator.evaluate((e) => e === document.activeElement).catch(() => false)) return;
    }
    throw new Error(`the keyboard does not reach ${locator}`);
  };
  await tab_to(page.getByLabel('Login'));
  await page.keyboard.type('mentor');
  await tab_to(page.getByLabel('Password'));
  await page.keyboard.type('hamroh-demo');
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await demo.settled(one);
  await tab_to(page.getByRole('link', { name: 'My pair' }));
  await page.keyboard.press('Enter');
  await page.getByRole('log').waitFor();
  await demo.settled(one);
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'H1', 'the heading of the new screen has the focus');
  await tab_to(page.getByRole('textbox', { name: /^Message to/ }));
  await page.keyboard.type('Klaviatura bilan');
  await page.keyboard.press('Enter');
  await page.getByRole('log').getByText('Klaviatura bilan').waitFor();
});
