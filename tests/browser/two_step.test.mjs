// The second factor as people meet it: set up with an app, asked for at the next sign-in, recovery codes, turned off; staff for
// whom it is required; and where one is signed in.
import assert from 'node:assert/strict';
import test from 'node:test';
import { code, set_up } from './authenticator.mjs';
import { demo_for, password_in, phone, until, wide, words } from './helper.mjs';

const world = demo_for(test);

async function at_the_second_step(page, text) {
  await page.getByRole('heading', { name: 'One more step' }).waitFor();
  await page.locator('input[name=second]').fill(text);
  await page.keyboard.press('Enter');
}

world.test('a second factor is set up, asked for, replaced by a recovery code and turned off again', async (_, demo) => {
  const one = await demo.visitor({ size: phone });
  const { page } = one;
  await password_in(world, one, 'mentor');
  await page.getByRole('navigation').waitFor();
  await demo.go(one, 'me');
  await page.getByRole('button', { name: 'Set it up' }).click();
  const { secret, codes } = await set_up(page);
  await page.getByText('On since').waitFor();
  await page.getByText('Recovery codes left: 10').waitFor();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();

  await password_in(world, one, 'mentor');
  await at_the_second_step(page, code(secret, 1000));
  await page.getByText('This code is wrong or was used already.').waitFor();
  await at_the_second_step(page, code(secret, 1)); // the present one confirmed the set-up
  await page.getByRole('navigation').waitFor();

  // The phone is lost: on a laptop a recovery code does.
  const laptop = await demo.visitor({ size: wide });
  await password_in(world, laptop, 'mentor');
  await laptop.page.getByRole('button', { name: 'I do not have my phone: use a recovery code' }).click();
  await at_the_second_step(laptop.page, codes[3].toLowerCase());
  await laptop.page.getByText('A recovery code was used. Left: 9.').waitFor();
  await laptop.page.getByRole('navigation').waitFor();

  // The phone sees the laptop, and what was tried.
  await demo.go(one, 'today');
  await demo.go(one, 'me');
  const list = page.getByRole('region', { name: 'Where you are signed in' });
  assert.equal(await list.getByRole('listitem').count(), 2);
  await list.getByText('This device').waitFor();
  await list.getByText('Sign-in history').click();
  await list.getByText('Right password, wrong code').waitFor();
  await list.getByText('Two-step sign-in turned on').waitFor();
  assert.equal(await list.getByText('Signed in', { exact: true }).count(), 4, 'three of these, and one by the script that made the demo');
  await list.getByRole('button', { name: /^Sign it out: Chrome/ }).click();
  await laptop.page.getByLabel('Password').waitFor(); // at once, without a reload
  await until('one sign-in to be left', async () => (await list.locator('.row').count()) === 1);

  await page.getByText('Turn it off').first().click();
  const off = page.getByRole('region', { name: 'Two-step sign-in' }).locator('details').last();
  await off.getByLabel('Password').fill('not the password');
  await off.getByLabel('Code from the app, or a recovery code').fill(codes[4]);
  await page.keyboard.press('Enter');
  await off.getByText('The current password is not right.').waitFor();
  await off.getByLabel('Password').fill(words);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Set it up' }).waitFor();
});

world.test('signing out everywhere else leaves this device alone', async (_, demo) => {
  const phones = [];
  for (let i = 0; i < 3; i++) {
    const one = await demo.visitor({ size: phone });
    await password_in(world, one, 'mentee');
    await one.page.getByRole('navigation').waitFor();
    phones.push(one);
  }
  const [here, ...others] = phones;
  await demo.go(here, 'me');
  await here.page.getByRole('button', { name: 'Sign out everywhere else' }).click();
  for (const one of others) await one.page.getByLabel('Password').waitFor();
  await until('one sign-in to be left', async () => (await here.page.getByRole('region', { name: 'Where you are signed in' }).locator('.row').count()) === 1);
});

world.test('what the server cannot do yet is not offered again', async (_, demo) => {
  const one = await demo.visitor({ size: phone });
  const { page } = one;
  await password_in(world, one, 'mentee');
  await page.getByRole('navigation').waitFor();
  await demo.go(one, 'me');
  const button = page.getByRole('button', { name: 'Download my data' });
  const saved = page.waitForEvent('download').then((d) => d.suggestedFilename());
  await button.click();
  // Either a file, or the words that say so and no button any more.
  const what = await Promise.race([saved, page.getByText('This server cannot do that yet.').waitFor().then(() => 'not yet')]);
  if (what === 'not yet') await button.waitFor({ state: 'detached' });
  else assert.match(what, /\.json$/);
  saved.catch(() => undefined);
});

world.test('staff for whom it is required set it up first, and go on without signing in again', async (_, demo) => {
  const { server } = world;
  server.control.close();
  server.child.kill('SIGTERM');
  await server.exited;
  server.options.settings = 'return { staff_totp_required = true }\n';
  await server.serve();
  const one = await demo.visitor({ size: wide });
  const { page } = one;
  await password_in(world, one, 'coordinator');
  await page.getByText('For staff this is required here.').waitFor();
  assert.equal(await page.getByRole('navigation').count(), 0);
  await page.evaluate(() => (location.hash = '#/people'));
  await page.reload(); // no way around
  await page.getByRole('button', { name: 'Set it up' }).press('Enter');
  await set_up(page);
  await page.getByRole('navigation').waitFor();
  await demo.settled(one);
  await page.getByRole('status').filter({ hasText: 'People: 244' }).waitFor();
});
