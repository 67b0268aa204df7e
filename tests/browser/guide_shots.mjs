// Makes the screens of plugins/guide anew: follows each page on a fresh demo and takes each picture where the page shows it.
// `node tests/browser/guide_shots.mjs`. Not a test; tests/protocol/guide.test.mjs looks at their size.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { folder, page_of, screens } from '../protocol/guide.mjs';
import { Demo } from './helper.mjs';
import { follow } from './guide.mjs';
import { small_png } from './small_png.mjs';

const most = 60 * 1024;
const desk = { width: 1280, height: 800 };
const shown = { x: 236, y: 60, width: 1020, height: 620 };
const student = { width: 360, height: 700 };
const demo = await Demo.start();
try {
  for (const name of ['questionnaire', 'matcher', 'activity'].filter((n) => screens(page_of(n)).length)) {
    await follow(demo, page_of(name), {
      size: desk,
      second: name === 'questionnaire' ? student : desk,
      screen: async ({ one }, alt, file) => {
        const { page } = one;
        // A cursor that blinks is no part of what is explained.
        await page.evaluate(() => {
          document.activeElement?.blur();
          scrollTo(0, 0);
        });
        await page.waitForTimeout(400);
        const dialog = page.getByRole('dialog');
        const wide = page.viewportSize().width > 600;
        // A dialog alone; the desk without what stands around it; all of a phone.
        const png = (await dialog.count()) ? await dialog.screenshot() : await page.screenshot(wide ? { clip: shown } : {});
        const bytes = await small_png(one.context, png);
        writeFileSync(path.join(folder, file), bytes);
        console.log(`${file}: ${Math.round(bytes.length / 1024)} KB, ${alt}`);
        if (bytes.length > most) process.exitCode = 1;
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
