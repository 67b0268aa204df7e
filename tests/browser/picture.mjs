// Writes web/picture.png (1600 px wide, under 400 KB): the coordinator's workbench and, before it, a mentor's phone, both of the
// demo. `node tests/browser/picture.mjs [FILE]`. Not a test.
import { statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Demo } from './helper.mjs';

const file = process.argv[2] ?? path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../web/picture.png');
const most = 400 * 1024;
const demo = await Demo.start();
try {
  const coordinator = await demo.person('coordinator', { size: { width: 1136, height: 824 } });
  await demo.go(coordinator, 'match');
  await coordinator.page.getByRole('link', { name: /draft/ }).first().click();
  const rows = coordinator.page.locator('.proposed');
  await rows.first().waitFor();
  await demo.settled(coordinator);
  await rows.nth(1).getByText('How the points add up').click();
  await coordinator.page.mouse.move(10, 700);
  await coordinator.page.waitForTimeout(500);
  await coordinator.page.evaluate(() => (document.activeElement.blur(), scrollTo(0, 0)));
  const bench = await coordinator.page.screenshot();

  // The first sign-in of a mentee is in English; the picture shows the phone of somebody who reads Uzbek.
  await demo.person('mentee', { size: { width: 390, height: 844 } });
  const mentee = await demo.person('mentee', { size: { width: 390, height: 844 }, language: 'uz', deviceScaleFactor: 2 });
  await demo.go(mentee, 'pair');
  await mentee.page.getByRole('log').waitFor();
  await demo.settled(mentee);
  // What a conversation looks like once a time is agreed and the question after the first meeting is answered.
  await mentee.page.getByRole('button', { name: 'Roziman' }).click();
  await mentee.page.locator('.meeting.accepted').waitFor();
  await mentee.page.getByRole('button', { name: 'Mos', exact: true }).click();
  await mentee.page.locator('.toast').getByRole('button').click();
  await mentee.page.locator('.toast').waitFor({ state: 'detached' });
  await mentee.page.evaluate(() => {
    document.activeElement.blur();
    scrollTo(0, document.querySelector('.meetings').offsetTop - 10);
    document.querySelector('.log').scrollTop = 1e6;
  });
  await mentee.page.waitForTimeout(300);
  const chat = await mentee.page.screenshot();

  const { page } = await demo.visitor({ size: { width: 1600, height: 960 } });
  const image = (png) => `data:image/png;base64,${png.toString('base64')}`;
  await page.setContent(`<!doctype html><style>
    body { margin: 0; width: 1600px; height: 960px; background: #dfe9e6; position: relative; overflow: hidden; }
    img { display: block; }
    .wide { position: absolute; left: 56px; top: 72px; border-radius: 14px; box-shadow: 0 0 0 1px #c9c2b3, 0 18px 50px rgb(30 50 50 / 20%); }
    .phone { position: absolute; right: 56px; top: 96px; padding: 12px; background: #22282a; border-radius: 42px; box-shadow: 0 20px 60px rgb(20 35 35 / 38%); }
    .phone img { width: 356px; border-radius: 31px; }
  </style><img class="wide" width="1136" src="${image(bench)}"><div class="phone"><img src="${image(chat)}"></div>`);
  await page.evaluate(() => Promise.all([...document.images].map((i) => i.decode())));
  await page.screenshot({ path: file });
  const size = statSync(file).size;
  console.log(`${file}: ${Math.round(size / 1024)} KB`);
  if (size > most) process.exitCode = 1;
} finally {
  await demo.stop();
}
