// Whoever follows the pages of plugins/guide to the letter, on a fresh demo, has a new questionnaire, matching rule and activity type
// in force: each numbered step is done as it stands there, with the block that stands there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { page_of } from '../protocol/guide.mjs';
import { demo_for, phone, wide, words } from './helper.mjs';
import { follow } from './guide.mjs';

const world = demo_for(test);

async function as(login, method, params) {
  const client = await world.server.connect();
  try {
    await client.login('demo', login, words);
    return await client.call(method, params);
  } finally {
    client.close();
  }
}

world.test('the questionnaire page: three questions of one\'s own, answered by a student on a phone', async (_, demo) => {
  const before = await as('mentee', 'questionnaire.list', {});
  assert.ok(!before.items.some((q) => q.id === 'first-week'));
  const { text } = await follow(demo, page_of('questionnaire'), { size: wide, second: phone });
  const [version] = (await as('administrator', 'plugin.history', { kind: 'questionnaire', id: 'first-week' })).items;
  assert.equal(version.note, 'Three questions for the first week');
  assert.equal((await as('administrator', 'plugin.get', { kind: 'questionnaire', id: 'first-week' })).source.trim(), text.trim(), 'what is in force is the block of the page');
  const [mine] = (await as('mentee', 'questionnaire.mine', { questionnaire: 'first-week' })).items;
  assert.equal((mine.data ?? mine).scores.settled, (2 + 4 + 1) / 3, 'the answers of the page');
});

world.test('the matching rule page: what would change, then a proposal by one\'s own rule', async (_, demo) => {
  const { one } = await follow(demo, page_of('matcher'), { size: wide, second: wide });
  await one.page.locator('.proposed').first().waitFor();
  const [newest] = (await as('coordinator', 'record.list', { type: 'proposal', order: 'desc', limit: 1 })).items;
  assert.equal(newest.data.rule, 'same-faculty');
});

world.test('the activity page: reading circles may be announced', async (_, demo) => {
  await follow(demo, page_of('activity'), { size: wide });
  assert.ok((await as('coach', 'activity.kinds', {})).items.some((k) => k.id === 'reading-circle'));
});
