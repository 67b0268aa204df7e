// A real server with the demo institution, and people who look at it in Chromium. What always holds: a test fails when a page
// logged an error or threw one, and a test that failed leaves a picture of every open page in the folder it names.
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { Server, bin, serve_for, slow } from '../protocol/harness.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const words = 'hamroh-demo';
export const wait_ms = 20000 * slow;
const failures = process.env.HAMROH_TEST_SHOTS ?? '/tmp/hamroh-browser';

export const wide = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

// The client as it is built now, though somebody may build again while the test runs.
function client() {
  const dist = path.join(root, 'web/dist');
  if (!existsSync(path.join(dist, 'index.html'))) throw new Error('no web client: cd web && npm ci && npm run build');
  const copy = mkdtempSync(path.join(tmpdir(), 'hamroh-web-'));
  process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
  cpSync(dist, copy, { recursive: true });
  return ['--web', copy];
}

export function open_browser() {
  return chromium.launch({
    executablePath: process.env.HAMROH_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}

export class Demo {
  people = [];
  kept = new Map();

  /** The demo on a server that runs; `browser` is opened with it. */
  static async on(server) {
    const demo = new Demo();
    demo.server = server;
    await promisify(execFile)(bin, ['run', '--data', server.data, path.join(root, 'scripts/demo.lua')], { cwd: root, maxBuffer: 1 << 24 });
    demo.browser = await open_browser();
    return demo;
  }
  /** For a script that is no test. */
  static async start() {
    return Demo.on(await Server.start({ args: client() }));
  }
  async stop() {
    await this.browser?.close();
    await this.server.stop();
  }

  /** Somebody without a session. */
  async visitor({ size = wide, scheme = 'light', language = 'en', state, ...more } = {}) {
    const context = await this.browser.newContext({
      viewport: size,
      colorScheme: scheme,
      locale: 'en-GB',
      timezoneId: 'Asia/Tashkent',
      hasTouch: size.width < 600,
      storageState: state,
      ...more,
    });
    context.setDefaultTimeout(wait_ms);
    await context.addInitScript((code) => localStorage.getItem('hamroh-language') ?? localStorage.setItem('hamroh-language', code), language);
    const page = await context.newPage();
    const one = { name: 'visitor', context, page, errors: [], expected: [] };
    page.on('console', (message) => message.type() === 'error' && one.errors.push(`console: ${message.text()} (${message.location().url})`));
    page.on('pageerror', (error) => one.errors.push(`page: ${error.stack ?? error}`));
    this.people.push(one);
    return one;
  }

  /** Somebody of the demo, signed in: through the screen the first time, with the session of that time afterwards. */
  async person(login, options = {}) {
    const one = await this.visitor({ ...options, state: this.kept.get(login) });
    one.name = login;
    await one.page.goto(this.server.http);
    if (!this.kept.has(login)) {
      const { page } = one;
      await page.getByLabel('Institution').selectOption('demo');
      await page.getByLabel('Login').fill(login);
      await page.getByLabel('Password').fill(words);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('navigation').waitFor();
      const state = await one.context.storageState();
      for (const origin of state.origins) origin.localStorage = origin.localStorage.filter((item) => item.name !== 'hamroh-language');
      this.kept.set(login, state);
    }
    await one.page.getByRole('navigation').waitFor();
    return one;
  }

  /** A screen by its address, when what it loads is there. */
  async go(one, address) {
    await one.page.evaluate((hash) => (location.hash = hash), '#/' + address);
    await this.settled(one);
  }
  async settled(one) {
    // Asked from here: the page's own policy forbids the eval that waitForFunction needs, and it stays in force.
    await until('the screen', () => one.page.evaluate(() => !document.querySelector('.skeleton') && !!document.querySelector('main h1')));
    await one.page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
  }

  async shots(name) {
    mkdirSync(failures, { recursive: true });
    const file = name.replace(/\W+/g, '-').slice(0, 60);
    for (const [i, one] of this.people.entries())
      await one.page.screenshot({ path: path.join(failures, `${file}-${i}-${one.name}.png`) }).then(
        () => console.error(`picture: ${path.join(failures, `${file}-${i}-${one.name}.png`)}`),
        () => undefined,
      );
  }
  trouble() {
    return this.people.flatMap((one) => one.errors.filter((e) => !one.expected.some((pattern) => pattern.test(e))).map((e) => `${one.name}: ${e}`));
  }
  async leave() {
    for (const one of this.people) await one.context.close();
    this.people = [];
  }
}

/** Login and password typed in, of the demo. */
export async function password_in(world, one, login) {
  const { page } = one;
  await page.goto(world.server.http);
  await page.getByLabel('Institution').selectOption('demo');
  await page.getByLabel('Login').fill(login);
  await page.getByLabel('Password').fill(words);
  await page.keyboard.press('Enter');
}

/** For a file of tests: world.test(name, body) and world.demo. */
export function demo_for(test, options = {}) {
  // Before the hooks of the server, so that the browser is gone when it stops.
  test.after(() => world.demo?.browser.close());
  const world = serve_for(test, { ...options, args: client() }, async (server) => ({ demo: await Demo.on(server) }));
  const plain = world.test;
  world.test = (name, body) =>
    plain(name, { timeout: 600000 * slow }, async (t) => {
      try {
        await body(t, world.demo);
        const trouble = world.demo.trouble();
        if (trouble.length) throw new Error(`errors in the page:\n${trouble.join('\n')}`);
      } catch (error) {
        await world.demo.shots(name);
        throw error;
      } finally {
        await world.demo.leave();
      }
    });
  return world;
}

/** Waits for an assertion on the page: tried again until it holds. */
export async function until(what, holds, ms = wait_ms) {
  const end = Date.now() + ms;
  for (;;) {
    if (await holds()) return;
    if (Date.now() > end) throw new Error(`waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
