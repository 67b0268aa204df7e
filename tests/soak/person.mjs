// One of the people of the soak: signed in, with a feed, writing now and then. Whatever breaks, they connect again, resume the
// feed, and repeat the call that got no answer with the same key.
import { Client, RpcError, sleep } from '../protocol/harness.mjs';

export class Person {
  answered = new Map(); // text -> id
  seen = new Map(); // text -> seq
  number = 0;
  last_seq = 0;
  reloaded = false; // the feed could not be resumed once: then a client reads lists, and its feed proves nothing any more

  constructor(options) {
    Object.assign(this, options);
  }

  async sign_in() {
    this.client = await Client.open(this.url);
    this.client.call_ms = 60000;
    await this.client.login(this.institution, this.login);
    this.resumed = true;
    this.watch();
    await this.client.open_feed({ types: ['message'] });
  }

  watch() {
    this.client.watchers.clear();
    this.client.watchers.add((message) => this.take(message));
  }

  take(message) {
    this.client.notices.length = 0; // they are not looked at again
    this.client.feed.length = 0;
    if (message.method === 'feed.resync') {
      this.count.resyncs++;
      this.resync = true;
      this.client.close();
      return;
    }
    if (message.method !== 'feed.event') return;
    const { seq, record, action } = message.params;
    if (seq <= this.last_seq) this.note('doubled', `${this.login}@${this.institution}: the feed brought seq ${seq} after ${this.last_seq}`);
    this.last_seq = seq;
    if (action !== 'created' || record.type !== 'message') return;
    this.count.deliveries++;
    if (this.seen.has(record.data.text)) this.note('doubled', `${this.login}@${this.institution}: the feed brought ${record.data.text} twice`);
    this.seen.set(record.data.text, seq);
  }

  async reconnect() {
    for (let tries = 0; ; tries++) {
      this.resumed = false;
      try {
        this.client.url = this.url;
        await this.client.connect();
        await this.client.call('session.resume', { token: this.client.token });
        this.resumed = true;
        const opened = await this.client.open_feed({ after: this.client.last, types: ['message'] });
        if (!opened.recovered) {
          this.reloaded = true;
          this.note('unexplained', `${this.login}@${this.institution}: the feed could not be resumed after ${JSON.stringify(this.client.last)}`);
        }
        return;
      } catch (error) {
        const expected = !(error instanceof RpcError) || error.code === -32009 || error.code === -32005;
        if (!expected) this.note('unexplained', `${this.login}@${this.institution}: reconnecting: ${error.message}`);
        if (this.over) return;
        await sleep(100 + this.random(Math.min(2000, 200 * 2 ** tries)));
      }
    }
  }

  async keep_connected() {
    while (!this.over) {
      await this.client.closed;
      if (this.over) return;
      await this.reconnect();
    }
  }

  begin(pause) {
    this.connected = this.keep_connected();
    this.writing = (async () => {
      await sleep(this.random(pause));
      while (!this.finishing) {
        await this.send();
        await sleep(pause / 2 + this.random(pause));
      }
      this.done = true;
    })();
  }

  async send() {
    const text = `${this.institution} ${this.login} ${++this.number}`;
    const params = { to: `pair:${this.pair}`, text, idem: text };
    this.count.sent++;
    this.waiting_for = text;
    for (let tries = 0; ; tries++) {
      const signed_in = this.resumed;
      try {
        const made = await this.client.call('message.send', params);
        this.answered.set(text, made.id);
        this.count.answered++;
        this.waiting_for = null;
        return;
      } catch (error) {
        this.last_error = error.message;
        // A connection that broke, a server that is away, a queue that is full, a worker that was stopped or killed: repeat.
        // Who was signed in is not told that they are not. How often each was met stands in the figures at the end.
        const codes = signed_in ? [-32009, -32005, -32007, -32006] : [-32009, -32005, -32007, -32006, -32001];
        const expected = !(error instanceof RpcError) || codes.includes(error.code);
        if (error instanceof RpcError) this.count.met[error.code] = (this.count.met[error.code] ?? 0) + 1;
        if (!expected) this.note('unexplained', `${text}: ${error.message}`);
        if (this.over) return;
        this.count.repeated++;
        await sleep(100 + this.random(500));
      }
    }
  }

  async expect_error(method, codes) {
    try {
      await this.client.call(method, {});
      this.note('unexplained', `${method} gave a result`);
    } catch (error) {
      if (error instanceof RpcError && ![...codes, -32009, -32005].includes(error.code)) this.note('unexplained', `${method}: ${error.message}`);
    }
  }

  // All messages of the pair, as the server has them.
  async messages() {
    const items = [];
    let cursor;
    do {
      const page = await this.client.call('record.list', { type: 'message', index: 'by_to', equals: [`pair:${this.pair}`], limit: 500, ...(cursor && { cursor }) });
      items.push(...page.items);
      cursor = page.cursor;
    } while (cursor);
    return items;
  }

  cut() {
    this.client.socket.terminate();
  }
  stop_reading(ms) {
    const socket = this.client.socket._socket;
    socket?.pause();
    setTimeout(() => socket?.resume(), ms);
  }
  send_garbage(kind) {
    const socket = this.client.socket;
    if (socket.readyState !== 1) return;
    if (kind === 0) socket.send('{"jsonrpc":"2.0","method":');
    else if (kind === 1) socket.send(Buffer.from([1, 2, 3]));
    else if (kind === 2) socket._socket?.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    else socket.send('[' + '[],'.repeat(10000) + '[]]');
  }

  finish() {
    this.finishing = true;
  }
  settled() {
    return this.done === true;
  }
  trouble() {
    return `${this.waiting_for} after: ${this.last_error}`;
  }
  close() {
    this.over = true;
    this.client.close();
  }
}
