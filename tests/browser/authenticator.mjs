// The dialogs of the second factor, with the authenticator app of the tests.
import assert from 'node:assert/strict';
import { code } from '../protocol/totp.mjs';

export { code };

/** The dialog that shows recovery codes this once, to its end. */
export async function keep_codes(page) {
  const shown = page.getByRole('dialog', { name: 'Recovery codes' });
  await shown.getByRole('listitem').first().waitFor();
  const codes = await shown.getByRole('listitem').allInnerTexts();
  assert.equal(new Set(codes).size, 10);
  // They are shown this once, so the dialog does not go by a slip.
  await page.keyboard.press('Escape');
  const kept = shown.getByLabel('I have kept the codes');
  await kept.waitFor();
  assert.ok(await shown.getByRole('button', { name: 'Done' }).isDisabled());
  await page.keyboard.press('Space'); // Escape led to the box
  assert.ok(await kept.isChecked());
  await shown.getByRole('button', { name: 'Done' }).press('Enter');
  await shown.waitFor({ state: 'detached' });
  return codes.map((c) => c.trim());
}

/** From the open dialog to its end. Gives the secret and the recovery codes. */
export async function set_up(page) {
  const dialog = page.getByRole('dialog', { name: 'Two-step sign-in' });
  await dialog.getByRole('img', { name: /QR code/ }).waitFor();
  const secret = (await dialog.locator('.secret code').innerText()).replace(/ /g, '');
  assert.match(secret, /^[A-Z2-7]{32}$/);
  const link = await dialog.getByRole('link', { name: 'Open in the app on this phone' }).getAttribute('href');
  assert.equal(new URL(link).searchParams.get('secret'), secret);
  const field = dialog.getByLabel('The six digits that the app shows');
  // One that the app shows at no time near.
  await field.fill(code(secret, 1000));
  await page.keyboard.press('Enter');
  await dialog.getByText('This is not the present code.').waitFor();
  await field.fill(code(secret).replace(/(...)/, '$1 '));
  await page.keyboard.press('Enter');
  return { secret, codes: await keep_codes(page) };
}
