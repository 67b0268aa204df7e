// Node as an institution's programmer would have it: `ws` for the connections, `lmdb` for the records, JSON everywhere, the check
// in JavaScript. Argument: a folder. Methods: session.resume (any token: the person is its text), record.get, message.send.
// A write is answered when it is flushed to the disk.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { open } from 'lmdb';
import { WebSocketServer } from 'ws';

const root = open({ path: process.argv[2], mapSize: 16 * 2 ** 30, maxDbs: 4, overlappingSync: false });
const pairs = root.openDB('pair', { encoding: 'json' });
const messages = root.openDB('message', { encoding: 'json' });
const by_to = root.openDB('by_to', { encoding: 'json' });
const log = root.openDB('log', { encoding: 'json' });
let seq = 0;
const listeners = new Map(); // by pair

function member_of(id, person) {
  const pair = pairs.get(id);
  return pair && pair.members.includes(`person:${person}`) ? pair : null;
}

const methods = {
  'session.resume'(socket, { token }) {
    socket.person = token;
    return { person: token };
  },
  async 'fill'(socket, { id, record }) {
    await pairs.put(id, record);
    return {};
  },
  'feed.open'(socket, { pair }) {
    if (!listeners.has(pair)) listeners.set(pair, new Set());
    listeners.get(pair).add(socket);
    return {};
  },
  'record.get'(socket, { id }) {
    const found = member_of(id, socket.person);
    if (!found) throw new Error('not found');
    return found;
  },
  async 'message.send'(socket, { to, text }) {
    if (typeof to !== 'string' || typeof text !== 'string' || !text || text.length > 4000) throw new Error('params');
    if (!member_of(to.slice(5), socket.person)) throw new Error('forbidden');
    const now = Date.now();
    const id = randomUUID();
    const number = ++seq;
    const record = { type: 'message', id, version: number, created: now, updated: now, by: socket.person, audience: [to], members: [], data: { to, from: socket.person, text, sent: now } };
    await root.batch(() => {
      messages.put(id, record);
      by_to.put([to, id], null);
      log.put(number, { by: socket.person, record });
    });
    const event = JSON.stringify({ jsonrpc: '2.0', method: 'feed.event', params: { seq: number, record } });
    for (const other of listeners.get(to.slice(5)) ?? []) other.send(event);
    return { id, sent: now };
  },
};

const server = createServer();
new WebSocketServer({ server, perMessageDeflate: false }).on('connection', (socket) => {
  socket.on('message', async (bytes) => {
    const request = JSON.parse(bytes);
    let answer;
    try {
      answer = { jsonrpc: '2.0', result: await methods[request.method](socket, request.params), id: request.id };
    } catch (error) {
      answer = { jsonrpc: '2.0', error: { code: -32000, message: error.message }, id: request.id };
    }
    socket.send(JSON.stringify(answer));
  });
});
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
