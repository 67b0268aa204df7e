// What clients wrote and what they were told, and whether the records agree. The invariant of every test here:
// no acknowledged write is lost, none is there twice, none is there that nobody sent or that was refused with the word
// that nothing was stored, and everybody is told (an answer, or a closed connection; never silence).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { openSync, closeSync, writeSync, readSync, rmSync, mkdtempSync } from 'node:fs';
import path from 'node:path';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { bin, Client, RpcError, Server, slow } from '../protocol/harness.mjs';

const run = promisify(execFile);

export class Ledger {
  acknowledged = new Map(); // text -> id
  sent = new Set();
  refused = new Map(); // text -> error with a reason that says nothing was stored
  errors = []; // of all kinds
  silent = []; // nobody was told anything
  number = 0;

  // One write; resolves when it has been answered or its connection has closed. Gives the error, if any.
  async write(client, words = 'write') {
    const text = `${words} ${this.number++}`;
    this.sent.add(text);
    try {
      const made = await client.call('probe.put', { text });
      assert.ok(!this.acknowledged.has(text));
      this.acknowledged.set(text, made.id);
      return null;
    } catch (error) {
      if (/^waited/.test(error.message)) this.silent.push(text);
      if (error instanceof RpcError && /nothing was stored/.test(error.message)) this.refused.set(text, error);
      this.errors.push(error);
      return error;
    }
  }

  // Keeps `flight` writes under way on each client until stop() is called, which waits for the last answers.
  start(clients, flight = 8, words = 'write') {
    let going = true;
    const stream = async (client) => {
      while (going) {
        const error = await this.write(client, words);
        if (error && !(error instanceof RpcError)) return; // its connection is gone
        if (error) await new Promise((resolve) => setTimeout(resolve, 5)); // refused: not in a tight circle
      }
    };
    const all = Promise.all(clients.flatMap((client) => Array.from({ length: flight }, () => stream(client))));
    return async () => {
      going = false;
      await all;
    };
  }

  // Resolves when so many more have been acknowledged.
  async more(count, ms = 60000 * slow) {
    const until = this.acknowledged.size + count;
    await eventually(() => this.acknowledged.size >= until, `${count} more writes to be acknowledged`, ms);
  }

  async check(client) {
    assert.deepEqual(this.silent, [], 'nobody was told what became of these');
    const there = new Map();
    for (let cursor; cursor !== null; ) {
      const part = await client.call('record.list', { type: 'probe', limit: 500, ...(cursor && { cursor }) });
      for (const record of part.items) {
        const { text } = record.data;
        assert.ok(!there.has(text), `${text} is there twice`);
        assert.ok(this.sent.has(text), `${text} is there, and nobody sent it`);
        assert.ok(!this.refused.has(text), `${text} is there, though its sender was told that nothing was stored`);
        there.set(text, record.id);
      }
      cursor = part.cursor ?? null;
    }
    for (const [text, id] of this.acknowledged) assert.equal(there.get(text), id, `${text} was acknowledged and is lost`);
    return there;
  }
}

export async function eventually(holds, what, ms = 30000 * slow) {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited ${ms} ms for ${what}`);
}

export const verify = (data) => run(bin, ['verify', '--data', data], { maxBuffer: 1 << 24 }).catch((error) => error);

export async function metric(server, name, labels = '') {
  const text = await (await fetch(`${server.http}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(`${name}${labels} `));
  return line === undefined ? undefined : Number(line.slice(name.length + labels.length + 1));
}
export const ready = async (server) => {
  const response = await fetch(`${server.http}/readyz`);
  return { status: response.status, text: await response.text() };
};

// More clients with one sign-in.
export async function clients(server, token, count) {
  const all = [];
  for (let i = 0; i < count; i++) {
    const client = await Client.open(server.url);
    await client.call('session.resume', { token });
    all.push(client);
  }
  return all;
}

// Runs fn with a server; what went wrong is shown with the server's log.
export async function with_server(options, fn) {
  const server = await Server.start(options);
  try {
    await fn(server);
    await server.stop();
  } catch (error) {
    console.error(`--- log of the server ---\n${server.log.slice(-8000)}`);
    await server.kill().catch(() => {});
    if (!options.dir) rmSync(server.dir, { recursive: true, force: true });
    throw error;
  }
}

// Faults of disk and clock that a test decides while the server runs: see fault_shim.c.
export class Faults {
  static shim = process.env.HAMROH_FAULT_SHIM ?? path.join(path.dirname(bin), 'libfault_shim.so');

  constructor() {
    this.dir = mkdtempSync(path.join(tmpdir(), 'hamroh-faults-'));
    this.file = path.join(this.dir, 'faults');
    this.fd = openSync(this.file, 'w+');
    writeSync(this.fd, Buffer.alloc(64));
    this.env = {
      LD_PRELOAD: Faults.shim,
      HAMROH_FAULTS: this.file,
      ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0`,
    };
  }
  put(at, value, big = false) {
    const bytes = Buffer.alloc(big ? 8 : 4);
    if (big) bytes.writeBigInt64LE(BigInt(value));
    else bytes.writeInt32LE(value);
    writeSync(this.fd, bytes, 0, bytes.length, at);
  }
  get(at) {
    const bytes = Buffer.alloc(4);
    readSync(this.fd, bytes, 0, 4, at);
    return bytes.readUInt32LE();
  }
  sync_fails(errno) {
    this.put(0, errno);
  }
  heads_fail(errno) {
    this.put(4, errno);
  }
  clock(ms) {
    this.put(8, ms, true);
  }
  get synced() {
    return this.get(16);
  }
  get syncs_failed() {
    return this.get(20);
  }
  get heads_failed() {
    return this.get(24);
  }
  close() {
    closeSync(this.fd);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
export const EIO = 5;
export const ENOSPC = 28;
