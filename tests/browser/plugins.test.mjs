// The administrator's page of plugins: the list, the editor, problems at their line, deploys with a note, history and the way back,
// drafts, two at once, and what other methods of the server bring to it. A part whose method the server does not have is skipped, and
// says so; when there is the method, it must work.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { demo_for, phone, until, wide, words } from './helper.mjs';

const world = demo_for(test);
const narrow = { ...phone, width: 360 };
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const RULE = 'matcher/successful-unsuccessful';

async function as_admin(fn) {
  const client = await world.server.connect();
  try {
    await client.login('demo', 'administrator', words);
    return await fn(client);
  } finally {
    client.close();
  }
}
const source_of = (id) => as_admin(async (c) => (await c.call('plugin.get', { kind: id.split('/')[0], id: id.split('/')[1] })).source);
let catalogue;
async function has(method) {
  catalogue ??= new Set((await as_admin((c) => c.call('rpc.discover', {}))).methods.map((m) => m.name));
  return catalogue.has(method);
}
async function needs(t, ...methods) {
  for (const method of methods) if (!(await has(method))) return t.skip(`the server has no ${method}`), false;
  return true;
}

/** The plugin's page, with its editor there and the first check answered. */
async function desk(demo, one, id) {
  await demo.go(one, `admin/plugins/${id}`);
  await one.page.locator('.cm-content').waitFor();
  await verdict(one);
}
const verdict = (one) => one.page.locator('.verdict:not(:empty)').waitFor();
// The lines that are drawn: of a short source all of them, of a long one those around where one looks.
const text_of = (one) => one.page.locator('.cm-content').evaluate((e) => [...e.querySelectorAll('.cm-line')].map((l) => l.textContent).join('\n'));
async function write(one, text, { end = true } = {}) {
  await one.page.locator('.cm-content').click();
  await one.page.keyboard.press(end ? 'Control+End' : 'Control+Home');
  await one.page.keyboard.insertText(text);
}
async function replace_all(one, text) {
  await one.page.locator('.cm-content').click();
  await one.page.keyboard.press('Control+a');
  await one.page.keyboard.insertText(text);
}
async function deploy(one, note) {
  await one.page.getByRole('button', { name: 'Put in force…' }).click();
  const dialog = one.page.getByRole('dialog');
  await dialog.getByLabel('What did you change, and why?').fill(note);
  await dialog.getByRole('button', { name: 'Put in force' }).click();
  return dialog;
}
const deployed = (one) => one.page.getByText('It is in force.').waitFor();
const override = (lines) => `local base = inherit()\n${lines}\nreturn base\n`;

world.test('a rule is found, overridden, mended at the line of its problem, put in force with a note, and taken back', async (_, demo) => {
  const one = await demo.person('administrator', { size: wide });
  const { page } = one;
  await demo.go(one, 'admin');
  await page.getByRole('link', { name: 'Plugins' }).click();
  await page.getByRole('heading', { level: 1, name: 'Plugins' }).waitFor();
  await page.getByRole('heading', { name: 'Matching rules' }).waitFor();
  await page.getByLabel('Name or kind').fill('nothing of this name');
  await page.getByText('Nothing found.').waitFor();
  await page.getByLabel('Name or kind').fill('questionnaire');
  assert.ok((await page.locator('.rows .row').count()) >= 3, 'a kind is found by its name');
  await page.getByLabel('Name or kind').fill('successful');
  await page.getByRole('link', { name: /Help with studies/ }).click();
  await page.locator('.cm-content').waitFor();
  await verdict(one);

  // As it is shipped it is read, not written.
  await page.locator('.layers .now', { hasText: 'shipped with Hamroh' }).waitFor();
  assert.equal(await page.locator('.cm-content').getAttribute('contenteditable'), 'false');
  assert.ok((await page.locator('.tests .passed').count()) >= 3, 'its tests are told');
  await page.getByRole('button', { name: 'Change a few things' }).click();
  await until('the editor to be open', async () => (await page.locator('.cm-content').getAttribute('contenteditable')) === 'true');
  assert.match(await text_of(one), /local base = inherit\(\)/);

  // A problem stands at its line as one types, in the editor, in the list and in words.
  await replace_all(one, 'local base = inherit()\nbase.keep = { points = }\nreturn base\n');
  await page.locator('.verdict.bad', { hasText: 'Problems: 1' }).waitFor();
  await page.locator('.cm-lintRange-error', { hasText: 'base.keep' }).waitFor();
  const at = page.getByRole('tabpanel').getByRole('button', { name: 'line 2' });
  await at.waitFor();
  await page.locator('.cm-lint-marker-error').waitFor();
  await page.getByRole('tabpanel').getByText('unexpected symbol').waitFor();
  // It is not put in force, and the old one goes on.
  await deploy(one, 'broken');
  await page.getByText('It was not put in force; nothing has changed.').waitFor();
  assert.match(await source_of(RULE), /^-- Help with studies/);
  await at.click();
  assert.ok(await page.locator('.cm-activeLine', { hasText: 'base.keep' }).count(), 'the cursor is in that line');
  await page.locator('.toast').getByRole('button', { name: 'Close' }).click();

  await replace_all(one, override('base.keep = { points = 250 }'));
  await page.locator('.verdict.good').waitFor();
  assert.equal(await page.locator('.cm-lintRange-error').count(), 0);
  await deploy(one, 'Old pairs are broken sooner');
  await deployed(one);
  await page.locator('.layers .now', { hasText: "your institution's" }).waitFor();
  assert.match(await source_of(RULE), /points = 250/);

  // And once more, for a history.
  await replace_all(one, override('base.keep = { points = 200 }'));
  await page.locator('.verdict.good').waitFor();
  await deploy(one, 'Even sooner');
  await page.getByText('It is in force.').waitFor();
  await page.getByRole('tab', { name: 'History' }).click();
  const versions = page.locator('.version');
  await until('two versions', async () => (await versions.count()) === 2);
  assert.match(await versions.first().innerText(), /Ortiqov Shavkat[\s\S]*in force[\s\S]*Even sooner/);
  await versions.last().getByText('Old pairs are broken sooner').waitFor();
  await versions.last().getByRole('button', { name: 'Go back to this' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Go back' }).click();
  await page.getByText('The earlier version is in force again.').waitFor();
  await until('the editor to show it', async () => /points = 250/.test(await text_of(one)));
  assert.match(await source_of(RULE), /points = 250/);
  await page.locator('.version.active', { hasText: 'Old pairs are broken sooner' }).waitFor();
  await page.getByRole('button', { name: 'Take our version away' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Take our version away' }).click();
  await page.getByText('The version below is in force again.').waitFor();
  await until('what is shipped to be shown', async () => /Help with studies/.test(await text_of(one)));
  await page.locator('.layers .now', { hasText: 'shipped with Hamroh' }).waitFor();
});

world.test('a new plugin begins with a template that loads, on a phone; its draft outlives the page', async (_, demo) => {
  const one = await demo.person('administrator', { size: narrow });
  const { page } = one;
  await demo.go(one, 'admin/plugins');
  await page.getByRole('button', { name: 'New plugin' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Kind').selectOption('questionnaire');
  await dialog.getByLabel('Short name').fill('adaptation');
  await dialog.getByRole('button', { name: 'Begin to write' }).click();
  await dialog.getByText('There is one of this kind with this name.').waitFor();
  await dialog.getByLabel('Short name').fill('Birinchi hafta');
  await dialog.getByText('birinchi-hafta').waitFor();
  await dialog.getByRole('button', { name: 'Begin to write' }).click();
  await page.getByRole('heading', { level: 1, name: 'birinchi-hafta' }).waitFor();
  await page.locator('.verdict.good').waitFor();
  await page.locator('.tests .passed', { hasText: 'a reversed item counts the other way' }).waitFor();
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 360, 'nothing is wider than the phone');

  await write(one, '\n-- a thought\n');
  await page.getByText('Draft kept on this device').waitFor({ state: 'attached' });
  // Leaving asks; staying keeps the page as it is.
  await page.getByRole('link', { name: 'Today' }).click();
  const leave = page.getByRole('dialog', { name: 'Leave without putting it in force?' });
  await leave.getByRole('button', { name: 'Stay here' }).click();
  await leave.waitFor({ state: 'detached' });
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End');
  assert.match(await text_of(one), /a thought/);
  await page.getByRole('link', { name: 'Today' }).click();
  await leave.getByRole('button', { name: 'Leave, keep the draft' }).click();
  await page.locator('.screen-today h1').waitFor();
  await page.reload();
  await page.getByRole('navigation').waitFor();
  await demo.go(one, 'admin/plugins');
  await page.locator('.row', { hasText: 'birinchi-hafta' }).getByText('draft').waitFor();
  await page.getByRole('link', { name: /birinchi-hafta/ }).click();
  await page.locator('.cm-content').waitFor();
  await verdict(one);
  await page.locator('.cm-content').click();
  await page.keyboard.press('Control+End'); // only what one sees is drawn
  await until('the draft', async () => /a thought/.test(await text_of(one)));
  await deploy(one, 'A first one');
  await deployed(one);
  await demo.go(one, 'admin/plugins');
  await page.locator('.row', { hasText: 'birinchi-hafta' }).getByText('yours').waitFor();
  assert.equal(await page.locator('.row', { hasText: 'birinchi-hafta' }).getByText('draft').count(), 0);
});

world.test('every template loads and passes its test on the server', async () => {
  await as_admin(async (client) => {
    for (const kind of ['matcher', 'questionnaire', 'activity', 'report', 'service']) {
      const file = readFileSync(path.join(root, `web/src/ui/plugins/templates/${kind}.lua`), 'utf8');
      const answer = await client.call('plugin.check', { kind, id: 'a-template', source: file.replaceAll('@ID@', 'a-template').replaceAll('@WORD@', 'a_template') });
      assert.equal(answer.ok, true, kind);
    }
    for (const row of (await client.call('plugin.list', {})).items.filter((r) => r.layer === 'shipped'))
      if (row.kind === 'matcher' || row.kind === 'questionnaire')
        assert.equal((await client.call('plugin.check', { kind: row.kind, id: row.id, source: readFileSync(path.join(root, 'web/src/ui/plugins/templates/inherit.lua'), 'utf8') })).ok, true, row.id);
  });
});

world.test('two who write at once: the second is told who was first and why, and loses nothing', async (_, demo) => {
  const id = 'matcher/passive-leader';
  const one = await demo.person('administrator', { size: wide });
  const { page } = one;
  await desk(demo, one, id);
  await page.getByRole('button', { name: 'Change a few things' }).click();
  await replace_all(one, override('base.keep = { points = 111 }'));
  await page.locator('.verdict.good').waitFor();
  await as_admin((c) => c.call('plugin.deploy', { kind: 'matcher', id: 'passive-leader', source: override('base.keep = { points = 222 }'), note: 'The dean asked for it' }));
  // Told by the feed, without a reload.
  const card = page.locator('.meanwhile');
  await card.getByText('The dean asked for it').waitFor();
  await card.getByText(/^By Ortiqov Shavkat/).waitFor();
  if (await has('plugin.diff')) await card.locator('tr.added', { hasText: 'points = 222' }).waitFor();
  // Even so, a deploy over it is refused.
  const dialog = await deploy(one, 'mine');
  await dialog.waitFor({ state: 'detached' });
  assert.match(await source_of(id), /points = 222/);
  assert.match(await text_of(one), /points = 111/);
  await card.getByRole('button', { name: 'Go on with mine, on top of theirs' }).click();
  await card.waitFor({ state: 'detached' });
  await deploy(one, 'mine, knowing of theirs');
  await deployed(one);
  assert.match(await source_of(id), /points = 111/);
});

world.test('the keyboard gets into the editor and out of it; words are offered; the find panel speaks the reader\'s language', async (_, demo) => {
  const one = await demo.person('administrator', { size: wide });
  const { page } = one;
  await desk(demo, one, 'matcher/passive-leader');
  if (await page.getByRole('button', { name: 'Change a few things' }).count()) await page.getByRole('button', { name: 'Change a few things' }).click();
  const inside = () => page.evaluate(() => !!document.activeElement?.closest('.plugin-editor'));
  await page.getByRole('textbox', { name: /^Source of passive-leader/ }).focus();
  await page.keyboard.press('Control+End');
  const before = await text_of(one);
  await page.keyboard.press('Tab');
  assert.ok(await inside(), 'Tab indents');
  assert.notEqual(await text_of(one), before);
  await page.keyboard.press('Escape');
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 60000;
  });
  await page.keyboard.press('Tab');
  assert.ok(!(await inside()), 'Escape, then Tab, leaves, however long one thinks between them');
  await page.keyboard.press('Shift+Tab');
  assert.ok(await inside());
  await page.keyboard.type('\nstring.gm');
  const list = page.getByRole('listbox');
  await list.getByRole('option', { name: 'gmatch' }).waitFor();
  await page.keyboard.press('Escape'); // the list
  await list.waitFor({ state: 'detached' });
  if (await has('plugin.api')) {
    await page.keyboard.type('\nstore.ge');
    await list.getByRole('option', { name: /^get/ }).first().waitFor();
    await page.keyboard.press('Escape');
  }
  await page.keyboard.press('Control+f');
  await page.getByRole('textbox', { name: 'Find' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('tab', { name: 'Check' }).focus();
  await page.keyboard.press('End');
  await page.locator('[role=tab][aria-selected=true]').filter({ hasNotText: 'Check' }).waitFor();
  await demo.go(one, 'today');
  await page.getByRole('button', { name: 'Leave, throw the draft away' }).click();
  await page.locator('.screen-today h1').waitFor();
  await demo.go(one, 'admin/plugins/matcher/passive-leader');
  await page.locator('.cm-content').waitFor();
  assert.doesNotMatch(await text_of(one), /string\.gm/);
});

world.test('nobody else loads the editor: not a mentee at first, not an administrator before the page is opened', async (_, demo) => {
  for (const login of ['mentee', 'administrator']) {
    const one = await demo.visitor({ size: phone, serviceWorkers: 'block' });
    const { page } = one;
    const loaded = [];
    page.on('request', (request) => loaded.push(new URL(request.url())));
    await page.goto(world.server.http);
    await page.getByLabel('Institution').selectOption('demo');
    await page.getByLabel('Login').fill(login);
    await page.getByLabel('Password').fill(words);
    await page.keyboard.press('Enter');
    await page.getByRole('navigation').waitFor();
    await demo.settled(one);
    const editor = () => loaded.some((url) => /\/editor-\w+\.js$/.test(url.pathname));
    assert.ok(!editor(), `${login}: ${loaded.map((u) => u.pathname).join(' ')}`);
    if (login === 'administrator') {
      await demo.go(one, 'admin/plugins');
      assert.ok(!editor());
      await desk(demo, one, 'report/before-after');
      assert.ok(editor());
    }
    assert.deepEqual([...new Set(loaded.map((url) => url.host))], [new URL(world.server.http).host], 'nothing comes from elsewhere');
  }
  // What the worker of the shell fetches for everybody is without it, too.
  const shell = await (await fetch(`${world.server.http}/sw.js`)).text();
  const all = /\[("\/"[^\]]*)\]/.exec(shell)[1];
  assert.ok(/\/app-/.test(all) && !/\/editor-/.test(all), all);
});

world.test('a version that the server took back is told on Today and on the page, until one has seen it', async (_, demo) => {
  const one = await demo.visitor({ size: narrow });
  const { page } = one;
  let tell;
  await page.routeWebSocket(/\/rpc$/, (socket) => {
    const server = socket.connectToServer();
    tell = (method, params) => socket.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
    socket.onMessage((message) => server.send(message));
    server.onMessage((message) => socket.send(message));
  });
  await page.goto(world.server.http);
  await page.getByLabel('Institution').selectOption('demo');
  await page.getByLabel('Login').fill('administrator');
  await page.getByLabel('Password').fill(words);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await demo.settled(one);
  await page.locator('.returned-all').waitFor({ state: 'attached' });
  tell('plugin.returned', { kind: 'matcher', id: 'passive-leader', from: 'b', to: 'a', reason: '5 of 8 calls failed' });
  const told = page.getByText('The new version of passive-leader was taken back, since it failed: 5 of 8 calls failed.');
  await told.waitFor();
  await page.getByRole('link', { name: 'Look at it' }).click();
  await page.locator('.cm-content').waitFor();
  await told.waitFor();
  await page.locator('.returned').getByRole('button', { name: 'Close' }).click();
  await told.waitFor({ state: 'detached' });
  await demo.go(one, 'today');
  assert.equal(await told.count(), 0);
});

world.test('a change that would lose data is put in force only after it was named and confirmed', async (_, demo) => {
  // The server's answers are played, so that this page's part is tried whatever the store can say of losses.
  const one = await demo.visitor({ size: wide });
  const { page } = one;
  const asked = [];
  await page.routeWebSocket(/\/rpc$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      const call = JSON.parse(message);
      if (call.method !== 'plugin.deploy') return server.send(message);
      asked.push(call.params);
      socket.send(
        JSON.stringify(
          call.params.confirm
            ? { jsonrpc: '2.0', id: call.id, result: { ok: true, version: '01a20e1d-3d86-7139-b2ad-322180f4ed14' } }
            : { jsonrpc: '2.0', id: call.id, error: { code: -32004, message: 'conflict', data: { reason: 'lossy', changes: [{ type: 'note', field: 'text', what: 'dropped_field', records: 12, text: { en: '12 records have a text, which is lost.' } }, 'and one more'] } } },
        ),
      );
    });
    server.onMessage((message) => socket.send(message));
  });
  await page.goto(world.server.http);
  await page.getByLabel('Institution').selectOption('demo');
  await page.getByLabel('Login').fill('administrator');
  await page.getByLabel('Password').fill(words);
  await page.keyboard.press('Enter');
  await page.getByRole('navigation').waitFor();
  await desk(demo, one, 'service/measure');
  await page.getByRole('button', { name: 'Start from a copy' }).click();
  await write(one, '\n-- less\n');
  const dialog = await deploy(one, 'less');
  await dialog.getByText('12 records have a text, which is lost.').waitFor();
  const go = dialog.getByRole('button', { name: 'Put in force and lose this data' });
  assert.ok(await go.isDisabled());
  await dialog.getByRole('checkbox').check();
  await go.click();
  await deployed(one);
  assert.deepEqual(asked.map((p) => !!p.confirm), [false, true]);
});

world.test('history shows what each version changed', async (t, demo) => {
  if (!(await needs(t, 'plugin.diff'))) return;
  const one = await demo.person('administrator', { size: wide });
  const { page } = one;
  for (const points of [310, 320]) await as_admin((c) => c.call('plugin.deploy', { kind: 'matcher', id: 'successful-unsuccessful', source: override(`base.keep = { points = ${points} }`), note: `${points}` }));
  await desk(demo, one, RULE);
  await page.getByRole('tab', { name: 'History' }).click();
  await page.locator('.version').first().getByRole('button', { name: 'What changed' }).click();
  await page.locator('.diff .removed', { hasText: 'points = 310' }).waitFor();
  await page.locator('.diff .added', { hasText: 'points = 320' }).waitFor();
  await replace_all(one, override('base.keep = { points = 330 }'));
  await page.getByRole('button', { name: 'My text against what is in force' }).click();
  await page.locator('.mine .added', { hasText: 'points = 330' }).waitFor();
});

world.test('what a rule would change is told person by person before it is in force', async (t, demo) => {
  if (!(await needs(t, 'plugin.try'))) return;
  const one = await demo.person('administrator', { size: wide });
  const { page } = one;
  const before = await source_of(RULE);
  await desk(demo, one, RULE);
  const begin = page.getByRole('button', { name: 'Start from a copy' });
  if (await begin.count()) await begin.click();
  const changed = before.includes('inherit()') ? override('base.mentee = { where = { status = "active", gpa = below(2.5) } }') : before.replace('below(3.0)', 'below(2.5)');
  await replace_all(one, changed);
  await page.locator('.verdict.good').waitFor();
  await page.getByRole('tab', { name: 'What would change' }).click();
  await page.getByRole('button', { name: 'Show what would change' }).click();
  const table = page.getByRole('table', { name: 'For whom something changes' });
  await table.getByRole('row').nth(1).waitFor();
  assert.ok((await page.locator('.effect dd').count()) >= 4);
  assert.equal(await source_of(RULE), before, 'nothing is in force');
});

world.test('answers are scored by what stands in the editor, and nothing is kept', async (t, demo) => {
  if (!(await needs(t, 'plugin.try'))) return;
  const one = await demo.person('administrator', { size: narrow });
  const { page } = one;
  await desk(demo, one, 'questionnaire/gad7');
  await page.getByRole('tab', { name: 'Try it' }).click();
  await page.locator('.answers input').nth(6).waitFor(); // its seven items
  for (const field of await page.locator('.answers input').all()) await field.fill('3');
  await page.getByRole('button', { name: 'Score it' }).click();
  const row = page.locator('.tried').getByRole('row', { name: /GAD7/ });
  await row.waitFor();
  assert.match(await row.innerText(), /21/);
});

world.test('what a plugin says appears while one looks', async (t, demo) => {
  if (!(await needs(t, 'plugin.log', 'plugin.log_open'))) return;
  const one = await demo.person('administrator', { size: narrow });
  const { page } = one;
  const source = `return service {
  id = "talker", title = { en = "Talker", uz = "Talker", ["uz-Cyrl"] = "Talker", ru = "Talker" },
  methods = { ["talker.say"] = { summary = "Says it", access = "signed_in", params = { what = text { required = true } },
    run = function(_, p) log.warn("heard " .. p.what) return {} end } },
}`;
  await as_admin((c) => c.call('plugin.deploy', { kind: 'service', id: 'talker', source, note: '' }));
  await as_admin((c) => c.call('talker.say', { what: 'before' }));
  await desk(demo, one, 'service/talker');
  await page.getByRole('tab', { name: 'Log' }).click();
  const lines = page.getByRole('log', { name: 'Log' });
  await lines.getByText('heard before').waitFor();
  await as_admin((c) => c.call('talker.say', { what: 'now' }));
  await lines.getByText('heard now').waitFor();
  assert.equal(await lines.getByText('heard now').count(), 1);
  await page.getByLabel('From level').selectOption('error');
  await page.getByText('Nothing was said yet.').waitFor();
});
