// A real server for a test: a fresh data folder, `hamroh init`, `hamroh serve` on a free port, a client for its control
// socket and one for its WebSocket. The program is HAMROH_BIN, or the newest under build/.
import { spawn, execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import WebSocket from 'ws';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const shared = process.env.HAMROH_SHARED_DATA ?? path.resolve(root, '../shared/data');

function program() {
  if (process.env.HAMROH_BIN) return path.resolve(process.env.HAMROH_BIN);
  const found = ['release', 'dev', 'asan', 'clang', 'tsan']
    .map((preset) => path.join(root, 'build', preset, 'hamroh'))
    .filter(existsSync)
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!found.length) throw new Error('no hamroh program: build one (cmake --preset dev && cmake --build --preset dev) or set HAMROH_BIN');
  return found[0];
}
export const bin = program();
// Under a sanitizer everything takes several times as long.
export const slow = Number(process.env.HAMROH_TEST_SLOW ?? (/asan|tsan/.test(bin) ? 5 : 1));

// Argon2id at its lowest cost, so that hundreds of accounts can be made; account.create takes it over the control socket only.
export const password = 'hamroh-test';
export const password_hash = '$argon2id$v=19$m=8,t=1,p=1$eML5yK17XDFNPoEbKgf/Mw$SvxX6RgCPlPsnCVNnYSMFzG3iwTUYk7FSELd0L8zBkk';

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class RpcError extends Error {
  constructor(method, error) {
    super(`${method}: ${error.code} ${error.message} ${JSON.stringify(error.data ?? {})}`);
    this.code = error.code;
    this.data = error.data ?? {};
    this.error = error;
  }
}

function timeout(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// What both clients have in common: requests by id.
class Caller {
  pending = new Map();
  next_id = 1;
  call_ms = 30000 * slow;

  request(message) {
    const id = this.next_id++;
    const answer = new Promise((resolve, reject) => this.pending.set(id, { resolve, reject }));
    answer.catch(() => {}); // when writing throws nobody waits for it
    this.write(JSON.stringify({ jsonrpc: '2.0', ...message, id }));
    return timeout(answer, this.call_ms, `the answer to ${message.method}`).then((response) => {
      if (response.error) throw new RpcError(message.method, response.error);
      return response.result;
    });
  }

  settle(response) {
    const waiting = this.pending.get(response.id);
    this.pending.delete(response.id);
    waiting?.resolve(response);
  }

  fail(error) {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}

// The control socket: acts as administrator of options.institution (default cluster), or as options.token.
class Control extends Caller {
  static async open(file) {
    const control = new Control();
    control.socket = net.connect(file);
    await new Promise((resolve, reject) => control.socket.once('connect', resolve).once('error', reject));
    let rest = '';
    control.socket.setEncoding('utf8');
    control.socket.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) control.settle(JSON.parse(line));
    });
    control.socket.on('error', () => {});
    control.socket.on('close', () => control.fail(new Error('the control socket closed')));
    return control;
  }
  write(text) {
    this.socket.write(text + '\n');
  }
  call(method, params = {}, options = {}) {
    return this.request({ method, params, ...options });
  }
  close() {
    this.socket.destroy();
  }
}

// A WebSocket client. `feed` holds every event received, over reconnects; `last` is where to resume.
export class Client extends Caller {
  notices = [];
  feed = [];
  watchers = new Set();

  static async open(url, options = {}) {
    const client = new Client();
    client.url = url;
    client.options = options;
    await client.connect();
    return client;
  }

  async connect() {
    const socket = new WebSocket(this.url, this.options.protocols, { perMessageDeflate: false, ...this.options });
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', (code, why) => resolve({ code, why: String(why) })));
    socket.on('message', (text) => socket === this.socket && this.take(JSON.parse(text)));
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
      socket.once('unexpected-response', (_, response) => {
        const error = new Error(`no upgrade: ${response.statusCode}`);
        error.status = response.statusCode;
        socket.terminate();
        reject(error);
      });
    });
    socket.on('error', () => {});
    socket.on('close', () => socket === this.socket && this.fail(new Error('the connection closed')));
  }

  take(message) {
    if (Array.isArray(message) || 'id' in message) {
      for (const response of [message].flat()) this.settle(response);
      return;
    }
    if (message.method === 'feed.event') {
      this.feed.push(message.params);
      this.last = { epoch: this.epoch, seq: message.params.seq };
    }
    this.notices.push(message);
    for (const watcher of this.watchers) watcher(message);
  }

  write(text) {
    const socket = this.socket;
    // On a closed socket nothing would ever come back. Later, so that who tries again at once does not keep all else waiting.
    socket.send(text, (error) => error && setImmediate(() => socket === this.socket && this.fail(error)));
  }
  call(method, params = {}) {
    return this.request({ method, params });
  }

  // The first notice (past or coming) that the function accepts.
  wait_for(what, accepts, ms = 10000 * slow) {
    const past = this.notices.find(accepts);
    if (past) return Promise.resolve(past);
    let watcher;
    const found = new Promise((resolve) => {
      watcher = (message) => accepts(message) && resolve(message);
      this.watchers.add(watcher);
    });
    return timeout(found, ms, what).finally(() => this.watchers.delete(watcher));
  }
  event(what, accepts, ms) {
    return this.wait_for(what, (m) => m.method === 'feed.event' && accepts(m.params), ms).then((m) => m.params);
  }

  async login(institution, login, words = password) {
    const session = await this.call('session.login', { institution, login, password: words });
    this.token = session.token;
    return session;
  }
  async open_feed(options = {}) {
    const opened = await this.call('feed.open', options);
    this.epoch = opened.epoch;
    if (!options.after || !opened.recovered) this.last = { epoch: opened.epoch, seq: opened.seq };
    return opened;
  }
  // As the web client does after a broken connection.
  async resume() {
    await this.connect();
    await this.call('session.resume', { token: this.token });
    return this.open_feed({ after: this.last });
  }
  close() {
    this.socket.terminate();
  }
}

export class Server {
  static async start(options = {}) {
    const server = new Server();
    server.options = options;
    server.dir = options.dir ?? mkdtempSync(path.join(tmpdir(), 'hamroh-'));
    server.data = path.join(server.dir, 'data');
    server.log = '';
    if (!existsSync(server.data)) {
      const { stdout } = await promisify(execFile)(bin, ['init', '--data', server.data]);
      server.init_output = stdout;
    }
    await server.serve();
    return server;
  }

  async serve() {
    const args = ['serve', '--data', this.data, '--listen', `127.0.0.1:${this.options.port ?? 0}`];
    if (this.options.settings) {
      const file = path.join(this.dir, 'settings.lua');
      writeFileSync(file, this.options.settings);
      args.push('--config', file);
    }
    args.push(...(this.options.args ?? []));
    const begun = performance.now();
    const child = spawn(bin, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...this.options.env } });
    this.child = child;
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.log = (this.log + text).slice(-200000);
    });
    let out = '';
    const url = new Promise((resolve) => {
      child.stdout.setEncoding('utf8').on('data', (text) => {
        out += text;
        const found = /hamroh is serving (https?:\/\/\S+?)\/?\s/.exec(out);
        if (found) resolve(found[1]);
      });
    });
    const died = this.exited.then(({ code, signal }) => {
      throw new Error(`the server ended at once (${signal ?? code}):\n${out}${this.log}`);
    });
    died.catch(() => {});
    this.http = await timeout(Promise.race([url, died]), 20000 * slow, 'the server to listen');
    this.started_ms = performance.now() - begun;
    this.url = this.http.replace('http', 'ws') + '/rpc';
    this.control = await Control.open(path.join(this.data, 'control.sock'));
  }

  get pid() {
    return this.child.pid;
  }
  call(method, params, options) {
    return this.control.call(method, params, options);
  }
  connect(options) {
    return Client.open(this.url, options);
  }
  // Over node:http, which can be told not to check the certificate of a test.
  metrics() {
    const { get } = this.http.startsWith('https') ? https : http;
    return new Promise((resolve, reject) => {
      get(`${this.http}/metrics`, { rejectUnauthorized: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve(text));
      }).on('error', reject);
    });
  }

  // An institution whose accounts all have the test password. Roles as account.create takes them.
  async institution(id, title = id) {
    const made = await this.call('institution.create', { id, title: { en: title }, zone_minutes: 300 });
    const as = { institution: id };
    return {
      id,
      code: made.code,
      call: (method, params) => this.call(method, params, as),
      account: (login, roles, person) => this.call('account.create', { login, password_hash, roles, ...(person && { person }) }, as),
      client: async (login) => {
        const client = await this.connect();
        await client.login(id, login);
        return client;
      },
      deploy: (kind, plugin, source, note = 'test') => this.call('plugin.deploy', { kind, id: plugin, source, note }, as),
    };
  }

  async kill() {
    this.control?.close();
    this.child.kill('SIGKILL');
    await this.exited;
  }
  async stop() {
    if (!this.child) return;
    this.control?.close();
    this.child.kill('SIGTERM');
    const late = setTimeout(() => this.child.kill('SIGKILL'), 10000 * slow);
    this.exit = await this.exited;
    clearTimeout(late);
    if (!this.options.dir) rmSync(this.dir, { recursive: true, force: true });
  }
}

// For a file of tests that share one server: started before the first, stopped after the last, its log printed when one
// of them failed.
export function serve_for(test, options = {}, prepare = async () => ({})) {
  const world = { failed: false };
  test.before(async () => {
    world.server = await Server.start(options);
    try {
      Object.assign(world, await prepare(world.server));
    } catch (error) {
      console.error(world.server.log.slice(-8000));
      await world.server.stop();
      throw error;
    }
  });
  test.after(async () => {
    await world.server?.stop();
    if (world.failed) console.error(`--- log of the server ---\n${world.server.log.slice(-8000)}`);
    const { code, signal } = world.server?.exit ?? {};
    if (code !== 0) throw new Error(`the server ended with ${signal ?? code}:\n${world.server?.log.slice(-8000)}`);
  });
  // A test that marks the world when it fails.
  world.test = (name, ...rest) => {
    const body = rest.pop();
    test(name, ...rest, async (t) => {
      try {
        await body(t);
      } catch (error) {
        world.failed = true;
        throw error;
      }
    });
  };
  return world;
}

// Runs a promise that must fail with an error of the protocol, and gives that error.
export async function refused(promise, code) {
  let result;
  try {
    result = await promise;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (code !== undefined && error.code !== code) throw error;
    return error;
  }
  throw new Error(`expected an error, got ${JSON.stringify(result).slice(0, 300)}`);
}

// The job of a method that answers {job}: waits for its end and gives its result.
export async function job_result(call, started, ms = 60000 * slow) {
  const end = Date.now() + ms;
  for (;;) {
    const job = await call('job.get', { id: started.job });
    const data = job.data ?? job;
    if (data.state === 'done') return data.result;
    if (data.state === 'failed' || data.state === 'cancelled') throw new Error(`job ${data.state}: ${JSON.stringify(data.error)}`);
    if (Date.now() > end) throw new Error(`the job is still ${data.state} after ${ms} ms`);
    await sleep(50);
  }
}
