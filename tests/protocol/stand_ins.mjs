// What the server sends to, on this machine: a mail server (SMTP with STARTTLS and AUTH, RFC 5321, 3207, 4954), Telegram's bot
// API, and a program that receives webhooks. Each keeps what came and lets a test wait for it; each can be told to misbehave.
import crypto from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import { readFileSync } from 'node:fs';
import { slow } from './harness.mjs';

// What has come, and who waits for it.
class Arrivals {
  all = [];
  waiting = new Set();
  add(one) {
    this.all.push(one);
    for (const look of [...this.waiting]) look();
  }
  // The first that is accepted, past or coming.
  get(what, accepts = () => true, ms = 20000 * slow) {
    return this.count(what, 1, accepts, ms).then((list) => list[0]);
  }
  // At least n of them.
  count(what, n, accepts = () => true, ms = 20000 * slow) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.all.filter(accepts);
        if (found.length < n) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(found);
      };
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`waited ${ms} ms for ${what}; there came ${JSON.stringify(this.all).slice(0, 1500)}`));
      }, ms);
      this.waiting.add(look);
      look();
    });
  }
}

const listen = (server, port = 0, host = '127.0.0.1') => new Promise((resolve, reject) => server.once('error', reject).listen(port, host, () => resolve(server.address().port)));

// ---- mail ----------------------------------------------------------------------------------------------------------------

export class MailServer {
  mails = new Arrivals();
  attempts = new Arrivals(); // RCPT commands, also those that are refused
  answer = () => null; // to a receiver: null, or a line such as "450 later"
  sockets = new Set();

  // keys: {certificate, key} (files). starttls: whether it is offered.
  static async start(keys, { user = 'hamroh', password = 'a secret of the mail server', starttls = true, port = 0 } = {}) {
    const s = new MailServer();
    Object.assign(s, { user, password, starttls });
    s.context = tls.createSecureContext({ cert: readFileSync(keys.certificate), key: readFileSync(keys.key) });
    s.server = net.createServer((socket) => {
      s.sockets.add(socket);
      socket.on('close', () => s.sockets.delete(socket));
      new Session(s, socket);
    });
    s.port = await listen(s.server, port);
    return s;
  }
  stop() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

class Session {
  constructor(server, socket) {
    this.server = server;
    this.take(socket);
    this.say('220 stand-in ESMTP');
  }
  take(socket) {
    this.socket = socket;
    this.rest = '';
    this.feed = (bytes) => this.read(bytes.toString('latin1'));
    socket.on('data', this.feed).on('error', () => {});
  }
  say(line) {
    this.socket.write(line + '\r\n');
  }
  read(text) {
    this.rest += text;
    for (;;) {
      if (this.data) {
        const end = this.rest.indexOf('\r\n.\r\n');
        if (end < 0) return;
        this.arrived(this.rest.slice(0, end + 2));
        this.rest = this.rest.slice(end + 5);
        this.data = false;
      } else {
        const end = this.rest.indexOf('\r\n');
        if (end < 0) return;
        const line = this.rest.slice(0, end);
        this.rest = this.rest.slice(end + 2);
        this.command(line);
      }
    }
  }
  command(line) {
    const { server } = this;
    const word = line.slice(0, 4).toUpperCase();
    if (this.login) return this.log_in(line);
    if (word === 'EHLO') {
      this.say('250-stand-in');
      if (server.starttls && !this.secure) this.say('250-STARTTLS');
      if (this.secure || !server.starttls) this.say('250-AUTH PLAIN');
      this.say('250 8BITMIME');
    } else if (word === 'STAR' && server.starttls && !this.secure) {
      this.say('220 go on');
      const plain = this.socket;
      plain.off('data', this.feed);
      this.secure = true;
      this.take(new tls.TLSSocket(plain, { isServer: true, secureContext: server.context }));
    } else if (word === 'AUTH') {
      const given = line.split(' ')[2];
      if (given) return this.log_in(given);
      this.login = true;
      this.say('334 ');
    } else if (word === 'MAIL') {
      if (!this.in && server.starttls) return this.say('530 who are you?');
      this.from = /<(.*)>/.exec(line)?.[1];
      this.to = [];
      this.say('250 ok');
    } else if (word === 'RCPT') {
      const to = /<(.*)>/.exec(line)?.[1];
      server.attempts.add({ to, secure: !!this.secure });
      const refusal = server.answer(to);
      if (!refusal) this.to.push(to);
      this.say(refusal ?? '250 ok');
    } else if (word === 'DATA') {
      this.say('354 go on');
      this.data = true;
    } else if (word === 'QUIT') {
      this.say('221 bye');
      this.socket.end();
    } else {
      this.say(word === 'RSET' || word === 'NOOP' ? '250 ok' : '502 what?');
    }
  }
  log_in(text) {
    const [, user, password] = Buffer.from(text, 'base64').toString().split('\0');
    this.login = false;
    this.in = user === this.server.user && password === this.server.password;
    this.say(this.in ? '235 welcome' : '535 no');
  }
  arrived(text) {
    const [head, body] = text.split(/\r\n\r\n/s);
    const headers = Object.fromEntries(
      head
        .replace(/\r\n[ \t]+/g, ' ')
        .split('\r\n')
        .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
    );
    const subject = headers.subject.replace(/=\?UTF-8\?B\?(.*?)\?=\s*/g, (_, b) => Buffer.from(b, 'base64').toString('latin1'));
    this.server.mails.add({
      from: this.from,
      to: this.to,
      headers,
      secure: !!this.secure,
      subject: Buffer.from(subject, 'latin1').toString('utf8'),
      text: Buffer.from(body, 'base64').toString('utf8'),
      raw: text,
    });
    this.say('250 kept');
  }
}

// ---- HTTP ----------------------------------------------------------------------------------------------------------------

const body_of = (request) =>
  new Promise((resolve) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => resolve(text));
  });

class HttpStandIn {
  came = new Arrivals();
  async start(port, host = '127.0.0.1') {
    this.server = http.createServer((request, response) => void this.serve(request, response));
    this.port = await listen(this.server, port, host);
    this.url = `http://${host}:${this.port}`;
    return this;
  }
  stop() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }
}

// Telegram's bot API: sendMessage, and getUpdates with long polling and confirmation by offset.
export class Telegram extends HttpStandIn {
  updates = [];
  next_update = 700;
  polls = new Set();
  answer = () => null; // to a message: null, or {status, body}
  paths = []; // of what was asked
  // On an address that webhooks may not reach.
  static start(token, port) {
    const t = new Telegram();
    t.token = token;
    return t.start(port, '127.0.0.3');
  }
  // Somebody writes to the bot.
  write(chat, text, type = 'private') {
    this.updates.push({ update_id: this.next_update++, message: { message_id: this.next_update, chat: { id: chat, type }, text } });
    for (const look of [...this.polls]) look();
  }
  async serve(request, response) {
    const params = JSON.parse((await body_of(request)) || '{}');
    this.paths.push(request.url.replace(this.token, 'TOKEN'));
    const say = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    const [, token, method] = /^\/bot([^/]+)\/(\w+)$/.exec(request.url) ?? [];
    if (token !== this.token) return say(404, { ok: false, error_code: 404, description: 'Not Found' });
    if (method === 'getUpdates') {
      this.updates = this.updates.filter((u) => u.update_id >= (params.offset ?? 0));
      const look = () => {
        if (!this.updates.length) return;
        this.polls.delete(look);
        say(200, { ok: true, result: this.updates });
      };
      this.polls.add(look);
      response.on('close', () => this.polls.delete(look));
      return look();
    }
    const other = this.answer(params);
    this.came.add({ ...params, refused: !!other });
    if (other) return say(other.status, other.body);
    say(200, { ok: true, result: { message_id: this.came.all.length } });
  }
}

// Receives webhooks and checks them as standardwebhooks.com says.
export class Receiver extends HttpStandIn {
  secret = null; // whsec_…; null: nothing is checked
  answer = () => ({ status: 204 }); // or {status, headers}, or null: no answer at all
  static start(port) {
    return new Receiver().start(port);
  }
  async serve(request, response) {
    const text = await body_of(request);
    const id = request.headers['webhook-id'];
    const time = request.headers['webhook-timestamp'];
    const key = Buffer.from((this.secret ?? 'whsec_').slice(6), 'base64');
    const mac = crypto.createHmac('sha256', key).update(`${id}.${time}.${text}`).digest('base64');
    const right = (request.headers['webhook-signature'] ?? '').split(' ').includes(`v1,${mac}`);
    const hook = { id, time: Number(time), path: request.url, right, body: JSON.parse(text), headers: request.headers };
    const answer = this.answer(hook, this.came.all.length);
    this.came.add({ ...hook, status: answer?.status });
    if (answer) response.writeHead(answer.status, answer.headers).end();
  }
}
