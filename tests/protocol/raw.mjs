// Sockets for tests that send what no client library would: bytes as they are, frames with any bit set.
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { slow } from './harness.mjs';

// A connection with all that came over it. `closed` is settled when the server has hung up.
export class Raw {
  static async open(url, options = {}) {
    const { hostname, port, protocol } = new URL(url);
    const raw = new Raw();
    raw.bytes = Buffer.alloc(0);
    raw.waiting = new Set();
    const at = { host: hostname, port: Number(port) };
    raw.socket = protocol === 'https:' && !options.plain ? tls.connect({ ...at, rejectUnauthorized: false, ...options }) : net.connect({ ...at, ...options });
    raw.closed = new Promise((resolve) => raw.socket.once('close', resolve));
    raw.socket.on('data', (part) => {
      raw.bytes = Buffer.concat([raw.bytes, part]);
      for (const check of raw.waiting) check();
    });
    raw.socket.on('close', () => {
      raw.gone = true;
      for (const check of raw.waiting) check();
    });
    await new Promise((resolve, reject) => {
      raw.socket.once(raw.socket instanceof tls.TLSSocket ? 'secureConnect' : 'connect', resolve);
      raw.socket.once('error', reject);
    });
    raw.socket.on('error', () => {});
    return raw;
  }

  get text() {
    return this.bytes.toString('latin1');
  }
  write(data) {
    if (!this.gone) this.socket.write(data);
  }
  // Until found gives something, or the server hangs up (then what found gives at the end).
  until(what, found, ms = 15000 * slow) {
    return new Promise((resolve, reject) => {
      const end = setTimeout(() => done(() => reject(new Error(`waited ${ms} ms for ${what}; came: ${this.text.slice(0, 300)}`))), ms);
      const done = (settle) => {
        clearTimeout(end);
        this.waiting.delete(check);
        settle();
      };
      const check = () => {
        const value = found();
        if (value || this.gone) done(() => resolve(value));
      };
      this.waiting.add(check);
      check();
    });
  }
  hung_up(ms = 15000 * slow) {
    return this.until('the server to hang up', () => this.gone, ms);
  }
  // The status line's number, 0 when the server hung up without an answer.
  status() {
    return this.until('an answer', () => /^HTTP\/1\.[01] (\d+) [^\r]*\r\n/.exec(this.text)?.[1]).then((found) => Number(found ?? 0));
  }
  close() {
    this.socket.destroy();
  }
}

// One exchange: the text is sent, everything until the server hangs up comes back.
export async function exchange(url, text, options = {}) {
  const raw = await Raw.open(url, options);
  raw.write(text);
  await raw.until('the answer and its end', () => raw.gone, options.ms);
  raw.close();
  return raw.text;
}

export const status_of = (answer) => Number(/^HTTP\/1\.[01] (\d+) /.exec(answer)?.[1] ?? 0);

// Header lines of an answer, names in small letters.
export function headers_of(answer) {
  const [head] = answer.split('\r\n\r\n');
  return Object.fromEntries(head.split('\r\n').slice(1).map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
}

export const key = () => randomBytes(16).toString('base64');

// The head of an upgrade; a header set to null is left out.
export function upgrade(headers = {}, { method = 'GET', path = '/rpc', version = 'HTTP/1.1' } = {}) {
  const all = { Host: 'test', Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key(), ...headers };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [value].flat().map((one) => `${name}: ${one}`)));
  return `${method} ${path} ${version}\r\n${lines.join('\r\n')}\r\n\r\n`;
}

// A frame as RFC 6455, 5.2 has it, every part of which may be wrong. length: what the header claims; wide: bits of the length field.
export function frame(payload, { fin = true, rsv = 0, opcode = 1, masked = true, length, wide } = {}) {
  const body = Buffer.from(payload);
  const claimed = BigInt(length ?? body.length);
  const bits = wide ?? (claimed < 126n ? 7 : claimed < 65536n ? 16 : 64);
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10);
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (bits === 7 ? Number(claimed) : bits === 16 ? 126 : 127);
  if (bits === 16) head.writeUInt16BE(Number(claimed), 2);
  if (bits === 64) head.writeBigUInt64BE(claimed, 2);
  if (!masked) return Buffer.concat([head, body]);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, body.map((byte, i) => byte ^ mask[i & 3])]);
}
export const close_frame = (code, reason = '') => frame(code === undefined ? '' : Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]), { opcode: 8 });

// Whole frames in what a server sent (never masked), without the answer to the upgrade.
export function frames_of(bytes) {
  const frames = [];
  let at = bytes.indexOf('\r\n\r\n') + 4;
  if (at < 4) return frames;
  while (at + 2 <= bytes.length) {
    let length = bytes[at + 1] & 127;
    let head = 2;
    if (length === 126 && at + 4 <= bytes.length) [length, head] = [bytes.readUInt16BE(at + 2), 4];
    else if (length === 127 && at + 10 <= bytes.length) [length, head] = [Number(bytes.readBigUInt64BE(at + 2)), 10];
    if (at + head + length > bytes.length) break;
    frames.push({ opcode: bytes[at] & 15, payload: bytes.subarray(at + head, at + head + length) });
    at += head + length;
  }
  return frames;
}

// An upgraded connection on which frames are written by hand.
export class RawSocket {
  static async open(url, headers, options) {
    const it = new RawSocket();
    it.raw = await Raw.open(url, options);
    it.raw.write(upgrade(headers));
    const status = await it.raw.status();
    if (status !== 101) throw new Error(`no upgrade: ${it.raw.text.slice(0, 200)}`);
    return it;
  }
  get frames() {
    return frames_of(this.raw.bytes);
  }
  write(...parts) {
    for (const part of parts) this.raw.write(part);
  }
  call(id, method = 'server.info') {
    this.write(frame(JSON.stringify({ jsonrpc: '2.0', method, id })));
    return this.answer(id);
  }
  // The answer with this id, or undefined when the server closes first.
  answer(id) {
    return this.raw.until(`the answer to ${id}`, () => this.frames.filter((f) => f.opcode === 1).map((f) => JSON.parse(f.payload)).find((m) => m.id === id));
  }
  // The code in the server's close frame; 0: it hung up without one.
  async close_code() {
    const code = () => this.frames.find((f) => f.opcode === 8);
    const found = await this.raw.until('a close', code);
    if (!found) return 0;
    return found.payload.length >= 2 ? found.payload.readUInt16BE(0) : 1005;
  }
  close() {
    this.raw.close();
  }
}

// A counter of /metrics, by its whole name.
export async function metric(server, name) {
  const text = await server.metrics();
  const line = text.split('\n').find((l) => l.startsWith(`${name} `));
  return line ? Number(line.slice(name.length + 1)) : 0;
}
export const refused_count = (server, reason) => metric(server, `hamroh_connections_refused_total{reason="${reason}"}`);
export const late_count = (server, what) => metric(server, `hamroh_connections_timed_out_total{waited_for="${what}"}`);
