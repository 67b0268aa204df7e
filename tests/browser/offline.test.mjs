// What is written without a network is kept, counted, and arrives once and in order.
import assert from 'node:assert/strict';
import test from 'node:test';
import { demo_for, phone, until } from './helper.mjs';

const port = 20000 + (process.pid % 20000);
const world = demo_for(test, { port });

async function pair_screen(demo, login) {
  const one = await demo.person(login, { size: phone });
  await demo.go(one, 'pair');
  await one.page.getByRole('log').waitFor();
  // A socket that is refused is said in the console; nothing else may be.
  one.expected.push(/WebSocket connection to .* failed/, /net::ERR_INTERNET_DISCONNECTED/, /net::ERR_CONNECTION_REFUSED/);
  return one;
}
async function say(one, text) {
  await one.page.getByRole('textbox', { name: /^Message to/ }).fill(text);
  await one.page.getByRole('textbox', { name: /^Message to/ }).press('Enter');
}
const texts = (one) => one.page.locator('.said p').allInnerTexts();
const waits = (one, n) => one.page.getByRole('status').filter({ hasText: `Waiting to be sent: ${n}.` }).waitFor();

async function arrived_once(one, wanted) {
  await until(`${wanted} to arrive`, async () => (await texts(one)).join('\n').includes(wanted.at(-1)) && !(await one.page.locator('.said.pending').count()));
  const got = (await texts(one)).filter((t) => wanted.includes(t));
  assert.deepEqual(got, wanted, `${one.name} sees each message once and in order`);
}
world.test('messages written offline are counted, survive a reload, and arrive once and in order when the network is back', async (_, demo) => {
  const mentor = await pair_screen(demo, 'mentor');
  const mentee = await pair_screen(demo, 'mentee');
  await mentor.page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
  await until('the shell to be kept', () => mentor.page.evaluate(() => caches.keys().then((names) => names.length > 0)));
  await mentor.context.setOffline(true);
  await mentor.page.getByRole('status').filter({ hasText: 'No connection.' }).waitFor();
  const wanted = ['Birinchi, tarmoqsiz', 'Ikkinchi, tarmoqsiz'];
  await say(mentor, wanted[0]);
  await waits(mentor, 1);
  await say(mentor, wanted[1]);
  await waits(mentor, 2);
  assert.equal(await mentor.page.locator('.said.pending').count(), 2);
  await mentor.page.reload();
  await mentor.page.locator('main').waitFor();
  await mentor.page.getByRole('status').filter({ hasText: 'No connection.' }).waitFor();
  assert.ok(!(await texts(mentee)).some((t) => wanted.includes(t)), 'nothing has arrived yet');
  await mentor.context.setOffline(false);
  await mentor.page.getByRole('log').waitFor();
  await arrived_once(mentor, wanted);
  await arrived_once(mentee, wanted);
  await mentor.page.reload();
  await mentor.page.getByRole('log').waitFor();
  await arrived_once(mentor, wanted);
});

world.test('messages written while the server is down arrive once and in order after it is started again', async (_, demo) => {
  const mentor = await pair_screen(demo, 'mentor');
  const mentee = await pair_screen(demo, 'mentee');
  const { server } = world;
  server.control.close();
  server.child.kill('SIGTERM');
  const { code } = await server.exited;
  assert.equal(code, 0, 'the server ends in good order');
  await mentor.page.getByRole('status').filter({ hasText: 'No connection.' }).waitFor();
  const wanted = ['Uchinchi, serversiz', 'Toʻrtinchi, serversiz'];
  for (const [i, text] of wanted.entries()) {
    await say(mentor, text);
    await waits(mentor, i + 1);
  }
  await server.serve();
  await arrived_once(mentor, wanted);
  await arrived_once(mentee, wanted);
  await until('the banner to go', async () => (await mentor.page.locator('.offline.shown').count()) === 0);
  await mentee.page.reload();
  await mentee.page.getByRole('log').waitFor();
  await arrived_once(mentee, wanted);
});
