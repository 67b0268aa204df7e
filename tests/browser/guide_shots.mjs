// Makes the screens of plugins/guide anew: follows each page on a fresh demo and takes each picture where the page shows it.
// `node tests/browser/guide_shots.mjs`. Not a test; tests/protocol/guide.test.mjs looks at their size.
import { statSync } from 'node:fs';
import path from 'node:path';
import { folder, page_of, screens } from '../protocol/guide.mjs';
import { Demo } from './helper.mjs';
import { follow } from './guide.mjs';

const most = 60 * 1024;
const desk = { width: 1000, height: 640 };
const student = { width: 360, height: 700 };
const demo = await Demo.start();
try {
  for (const name of ['questionnaire', 'matcher', 'activity'].filter((n) => screens(page_of(n)).length)) {
    await follow(demo, page_of(name), {
      size: desk,
      second: name === 'questionnaire' ? student : desk,
      screen: async ({ one }, alt, file) => {
        const { page } = one;
        // Toasts and a blinking cursor are no part of what is explained; the picture shows the top of where one is.
        await page.evaluate(() => document.activeElement?.blur());
        await page.waitForTimeout(400);
        const dialog = page.getByRole('dialog');
        const whole = await dialog.count();
        const to = path.join(folder, file);
        if (whole) await dialog.screenshot({ path: to });
        else {
          await page.evaluate((phone) => {
            if (phone) return scrollTo(0, 0);
            const beside = document.querySelector('.cm-editor');
            scrollTo(0, beside ? beside.getBoundingClientRect().top + scrollY - 130 : 0);
          }, page.viewportSize().width < 600);
          await page.screenshot({ path: to });
        }
        const size = statSync(to).size;
        console.log(`${to}: ${Math.round(size / 1024)} KB, ${alt}`);
        if (size > most) process.exitCode = 1;
      },
    });
    await demo.leave();
  }
} catch (error) {
  await demo.shots('guide');
  throw error;
} finally {
  await demo.stop();
}
