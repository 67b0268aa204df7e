// A picture of every screen, phone and wide, into the folder given (default /tmp/hamroh-browser/screens). For eyes, not a test.
import { mkdirSync } from 'node:fs';
import { Demo, phone, wide } from './helper.mjs';

const folder = process.argv[2] ?? '/tmp/hamroh-browser/screens';
mkdirSync(folder, { recursive: true });
const demo = await Demo.start();
const schemes = (process.env.SCHEMES ?? 'light').split(',');
const only = process.env.ONLY;
try {
  for (const scheme of schemes)
    for (const [shape, size] of [['phone', phone], ['wide', wide]]) {
      const take = async (one, name, full = true) => {
        if (only && !name.includes(only)) return;
        await one.page.waitForTimeout(300);
        await one.page.screenshot({ path: `${folder}/${name}-${shape}-${scheme}.png`, fullPage: full });
      };
      const visitor = await demo.visitor({ size, scheme });
      await visitor.page.goto(demo.server.http);
      await demo.settled(visitor);
      await take(visitor, 'sign-in');
      const coordinator = await demo.person('coordinator', { size, scheme });
      for (const screen of ['today', 'people', 'match', 'changes', 'me']) {
        await demo.go(coordinator, screen);
        await take(coordinator, screen);
      }
      await demo.go(coordinator, 'match');
      await coordinator.page.getByRole('link', { name: /draft/ }).first().click();
      await demo.settled(coordinator);
      await take(coordinator, 'bench', false);
      await coordinator.page.getByText('How the points add up').first().click();
      await coordinator.page.getByRole('button', { name: 'Change mentor' }).first().click();
      await coordinator.page.getByRole('dialog').getByRole('button', { name: /^Take/ }).first().waitFor();
      await take(coordinator, 'bench-dialog', false);
      await coordinator.page.keyboard.press('Escape');
      await demo.go(coordinator, 'people');
      await coordinator.page.getByRole('button', { name: 'Import a roster' }).click();
      await take(coordinator, 'import-dialog', false);
      await demo.go(coordinator, 'me');
      await coordinator.page.getByRole('button', { name: 'Set it up' }).click();
      await coordinator.page.getByRole('img', { name: /QR code/ }).waitFor();
      await take(coordinator, 'two-step-dialog', false);
      await coordinator.page.keyboard.press('Escape');
      for (const login of ['mentor', 'mentee']) {
        const one = await demo.person(login, { size, scheme });
        for (const screen of ['today', 'pair', 'questionnaire', 'questionnaire/adaptation', 'me']) {
          await demo.go(one, screen);
          await take(one, `${login}-${screen.replace('/', '-')}`, screen !== 'pair');
        }
        await demo.go(one, 'pair');
        await one.page.getByRole('button', { name: 'Propose a time' }).click();
        await one.page.getByRole('dialog').getByRole('listitem').first().waitFor();
        await take(one, `${login}-propose`, false);
      }
      const psychologist = await demo.person('psychologist', { size, scheme });
      for (const screen of ['today', 'people', 'questionnaire']) {
        await demo.go(psychologist, screen);
        await take(psychologist, `psychologist-${screen}`);
      }
      const administrator = await demo.person('administrator', { size, scheme });
      await demo.go(administrator, 'admin/plugins');
      await take(administrator, 'plugins');
      await demo.go(administrator, 'admin/plugins/matcher/successful-unsuccessful');
      await administrator.page.locator('.verdict:not(:empty)').waitFor();
      await take(administrator, 'plugin');
      await administrator.page.getByRole('button', { name: 'Change a few things' }).click();
      await administrator.page.locator('.cm-content').click();
      await administrator.page.keyboard.press('Control+End');
      await administrator.page.keyboard.type('x = = 1');
      await administrator.page.locator('.verdict.bad').waitFor();
      await take(administrator, 'plugin-problem');
      for (const tab of await administrator.page.getByRole('tab').all()) {
        await tab.click();
        await demo.settled(administrator);
        await take(administrator, `plugin-${(await tab.getAttribute('id')).replace('desk-tab-', '')}`);
      }
      console.log(demo.trouble().join('\n'));
      await demo.leave();
    }
} catch (error) {
  await demo.shots('shots');
  throw error;
} finally {
  await demo.stop();
}
