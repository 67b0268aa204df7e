// Does in Chromium what the numbered steps of a page of plugins/guide say, word by word (tests/protocol/guide.mjs reads them). A
// step that names something that is not on the screen fails.
import assert from 'node:assert/strict';
import { phone, until, wait_ms } from './helper.mjs';
import { blocks, steps, whole } from '../protocol/guide.mjs';

const visible = (locator) => locator.locator('visible=true');
// Where one looks: the dialog, while one is open.
async function place(page) {
  const dialog = visible(page.getByRole('dialog'));
  return (await dialog.count()) ? dialog.last() : page;
}
async function first_of(what, locators) {
  let found;
  await until(what, async () => {
    for (const make of locators) {
      const locator = visible(await make());
      if (await locator.count()) return ((found = locator.first()), true);
    }
    return false;
  });
  return found;
}

// A field by what stands above it. (The words of a label around a list of choices are those of the choices, too.)
const field_of = ({ one: { page } }, label) =>
  first_of(label, [
    async () => (await place(page)).locator('label').filter({ has: page.getByText(label, { exact: true }) }).locator('input, select, textarea'),
  ]);

const does = {
  async open(world, to) {
    assert.equal(to, 'http://127.0.0.1:8080/', 'the address that scripts/start prints');
    await world.one.page.goto(world.demo.server.http);
  },
  async window(world) {
    world.one = await world.demo.visitor({ size: world.second ?? phone });
  },
  async choose(world, label, option) {
    const field = await field_of(world, label);
    await until(`${option} at ${label}`, () => field.evaluate((e, o) => [...(e.options ?? [])].some((x) => x.label === o), option));
    await field.selectOption({ label: option });
  },
  async type(world, label, text) {
    await (await field_of(world, label)).fill(text);
  },
  async paste({ one, text }) {
    await one.page.locator('.cm-content[contenteditable=true]').click();
    await one.page.keyboard.press('Control+a');
    await one.page.keyboard.press('Delete');
    // As the clipboard does it: a paste, not keys one by one.
    await one.page.locator('.cm-content').evaluate((e, source) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', source);
      e.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
    }, text);
  },
  async click({ one }, name) {
    const exact = { name, exact: true };
    const target = await first_of(name, [
      ...['button', 'link', 'tab'].map((role) => async () => (await place(one.page)).getByRole(role, exact)),
      async () => (await place(one.page)).getByRole('link', { name }),
    ]);
    await target.click();
  },
  async answer({ one }, question, answer) {
    await one.page.getByRole('group', { name: question, exact: true }).getByRole('radio', { name: answer, exact: true }).check();
  },
  // Not in the editor: what one has pasted there oneself tells nothing.
  async see({ one: { page } }, text) {
    const outside = page.locator(':not(.cm-editor *)');
    await first_of(text, [() => page.getByText(text).and(outside), () => page.getByRole('heading', { name: text })]);
  },
};

/** The page's steps on a demo. `screen(world, alt, file)` is called where the page shows one; `told` before each. */
export async function follow(demo, file, { size, second, screen, told } = {}) {
  const saved = blocks(file).find((b) => b.language === 'lua' && !b.mark).path;
  const world = { demo, one: await demo.visitor({ size }), second, text: whole(file, saved), saved };
  for (const { step, verb, words } of steps(file)) {
    told?.(step, verb, words);
    if (verb === 'screen') {
      await screen?.(world, ...words);
      continue;
    }
    try {
      await does[verb](world, ...words);
    } catch (error) {
      throw new Error(`step ${step}, ${verb} ${words.join(', ')}: ${error.message} (waited ${wait_ms} ms)`, { cause: error });
    }
  }
  return world;
}
