// Frames as RFC 6455 forbids them, and those it only asks to bear with: what is wrong is answered with the right close code,
// and whatever comes, the server serves the next client.
import assert from 'node:assert/strict';
import test from 'node:test';
import { serve_for } from './harness.mjs';
import { Raw, RawSocket, close_frame, frame, refused_count, upgrade } from './raw.mjs';

const world = serve_for(test, { settings: 'return { message_bytes = 65536 }' });
const open = (headers) => RawSocket.open(world.server.http, headers);
const call = (id) => JSON.stringify({ jsonrpc: '2.0', method: 'server.info', id });

// Each on a connection of its own; several codes where the RFC leaves a choice, 0: hung up without a word.
const wrong = [
  ['a reserved bit is set', () => [frame('{}', { rsv: 4 })], [1002]],
  ['all reserved bits are set', () => [frame('{}', { rsv: 7 })], [1002]],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode} is used`, () => [frame('{}', { opcode })], [1002]]),
  ['a ping is in fragments', () => [frame('a', { opcode: 9, fin: false }), frame('b', { opcode: 0 })], [1002]],
  ['a close is in fragments', () => [frame('\x03\xe8', { opcode: 8, fin: false })], [1002]],
  ['a ping has more than 125 bytes', () => [frame('p'.repeat(126), { opcode: 9 })], [1002, 0]],
  ['a close has more than 125 bytes', () => [frame('\x03\xe8' + 'r'.repeat(124), { opcode: 8 })], [1002, 0]],
  ['a ping claims its length in 64 bits', () => [frame('p', { opcode: 9, wide: 64 })], [1002, 0]],
  ['a length has its highest bit set', () => [frame('x', { length: 1n << 63n, wide: 64 })], [1002, 1009, 0]],
  ['a length is 2^63 - 1', () => [frame('x'.repeat(600), { length: (1n << 63n) - 1n, wide: 64 })], [1009]],
  ['a length is 2^40', () => [frame('x'.repeat(600), { length: 1n << 40n, wide: 64 })], [1009]],
  ['a continuation follows nothing', () => [frame('{}', { opcode: 0 })], [1002]],
  ['a continuation follows a whole message', () => [frame('{}'), frame('{}', { opcode: 0 })], [1002]],
  ['a new message begins inside a fragmented one', () => [frame('{', { fin: false }), frame('}')], [1002]],
  ['binary data comes', () => [frame('{}', { opcode: 2 })], [1003]],
  ['one frame is over the limit', () => [frame('x'.repeat(65537))], [1009]],
  ['fragments together are over the limit', () => [frame('x'.repeat(40000), { fin: false }), frame('x'.repeat(40000), { opcode: 0 })], [1009]],
  ['text is not UTF-8', () => [frame(Buffer.from([0x22, 0xff, 0x22]))], [1007]],
  ['text is not UTF-8 across two fragments', () => [frame(Buffer.from([0x22, 0xe2, 0x82]), { fin: false }), frame(Buffer.from([0x41, 0x22]), { opcode: 0 })], [1007]],
  ['text ends inside a character', () => [frame(Buffer.from([0x22, 0xe2, 0x82]))], [1007]],
  ['text has a surrogate', () => [frame(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))], [1007]],
  ['a close has one byte', () => [frame('\x03', { opcode: 8 })], [1002]],
  ['the reason of a close is not UTF-8', () => [frame(Buffer.from([0x03, 0xe8, 0xff]), { opcode: 8 })], [1002, 1007]],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999].map((code) => [`a close has code ${code}`, () => [close_frame(code)], [1002]]),
];
for (const [what, frames, codes] of wrong)
  world.test(`when ${what} the connection ends with ${codes.map((code) => code || 'nothing').join(' or ')}`, async () => {
    const socket = await open();
    socket.write(...frames());
    const code = await socket.close_code();
    assert.ok(codes.includes(code), `closed with ${code}`);
    socket.close();
  });

for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999])
  world.test(`a close with code ${code} is answered with the same`, async () => {
    const socket = await open();
    socket.write(close_frame(code, 'so long'));
    assert.equal(await socket.close_code(), code);
    await socket.raw.hung_up();
  });

world.test('a close without a code is answered', async () => {
  const socket = await open();
  socket.write(close_frame());
  assert.equal(await socket.close_code(), 1005);
  await socket.raw.hung_up();
});

world.test('a message in fragments of one byte, with pings between them, is put together', async () => {
  const socket = await open();
  const text = call(1);
  for (const [i, letter] of [...text].entries()) {
    socket.write(frame(letter, { opcode: i ? 0 : 1, fin: i === text.length - 1 }));
    if (i % 10 === 0) socket.write(frame(`ping ${i}`, { opcode: 9 }));
  }
  assert.ok((await socket.answer(1)).result.version);
  await socket.raw.until('a pong', () => socket.frames.some((f) => f.opcode === 10));
  socket.close();
});

world.test('a frame may come one byte a packet, and many frames in one packet', async () => {
  const socket = await open();
  for (const byte of frame(call(1))) socket.write(Buffer.from([byte]));
  assert.ok((await socket.answer(1)).result);
  socket.write(Buffer.concat(Array.from({ length: 200 }, (_, i) => frame(call(`many ${i}`)))));
  for (let i = 0; i < 200; i++) assert.ok((await socket.answer(`many ${i}`)).result);
  socket.close();
});

world.test('empty fragments, empty messages and pongs nobody asked for harm nobody', async () => {
  const socket = await open();
  socket.write(frame('', { fin: false }), ...Array.from({ length: 500 }, () => frame('', { opcode: 0, fin: false })), frame(call(1), { opcode: 0 }));
  socket.write(frame(''), frame('', { opcode: 10 }), frame('pong', { opcode: 10 }), frame(call(2)));
  assert.ok((await socket.answer(1)).result);
  assert.ok((await socket.answer(2)).result);
  assert.ok(socket.frames.some((f) => f.opcode === 1 && JSON.parse(f.payload).error?.code === -32700)); // the empty one
  socket.close();
});

world.test('text that is UTF-8 only when its fragments are put together is accepted', async () => {
  const socket = await open();
  const bytes = Buffer.from(call('сўз 🙂'));
  const at = bytes.indexOf(Buffer.from('🙂')) + 2;
  socket.write(frame(bytes.subarray(0, at), { fin: false }), frame(bytes.subarray(at), { opcode: 0 }));
  assert.ok((await socket.answer('сўз 🙂')).result);
  socket.close();
});

// libwebsockets 4.1.6 tells its user neither whether a frame was masked nor how its length was written. Both are the client's
// duty for others' sake (a proxy between that could be misled), and neither gives a client more than it has.
world.test('a frame without a mask, or with a longer length than it needs, gives its sender nothing but an answer', async () => {
  for (const options of [{ masked: false }, { wide: 16 }, { wide: 64 }]) {
    const socket = await open();
    socket.write(frame(call(1), options));
    const answer = await socket.answer(1);
    assert.ok(answer === undefined || answer.result.version);
    socket.close();
  }
});

world.test('nothing is compressed, whatever a client offers', async () => {
  for (const offer of ['permessage-deflate', 'permessage-deflate; client_max_window_bits; server_no_context_takeover', 'x-webkit-deflate-frame', 'permessage-bzip2, permessage-deflate']) {
    const raw = await Raw.open(world.server.http);
    raw.write(upgrade({ 'Sec-WebSocket-Extensions': offer }));
    assert.equal(await raw.status(), 101);
    await raw.until('the end of the head', () => raw.text.includes('\r\n\r\n'));
    assert.doesNotMatch(raw.text, /Sec-WebSocket-Extensions/i);
    raw.write(frame('{}', { rsv: 4 })); // "compressed"
    await raw.until('a close', () => raw.bytes.includes(Buffer.from([0x03, 0xea])));
    raw.close();
  }
});

world.test('JSON that is deeper than any message, or a batch of too many calls, is one error and no work', async () => {
  const socket = await open();
  for (const [i, text] of ['['.repeat(30000), '{"a":'.repeat(10000), `{"jsonrpc":"2.0","id":1,"method":"server.info","params":${'['.repeat(20000)}${']'.repeat(20000)}}`].entries()) {
    socket.write(frame(text));
    await socket.raw.until('an error', () => socket.frames.filter((f) => f.opcode === 1).length === i + 1);
    assert.equal(JSON.parse(socket.frames.filter((f) => f.opcode === 1)[i].payload).error.code, -32700);
  }
  socket.write(frame(JSON.stringify(Array.from({ length: 51 }, (_, i) => JSON.parse(call(i))))));
  const error = await socket.raw.until('an error', () => socket.frames.filter((f) => f.opcode === 1)[3]);
  assert.deepEqual([JSON.parse(error.payload).error.code, JSON.parse(error.payload).error.data.limit], [-32008, 50]);
  assert.ok((await socket.call('after')).result);
  socket.close();
});

world.test('what is refused is counted', async () => {
  const before = await refused_count(world.server, 'frame');
  const socket = await open();
  socket.write(frame('{}', { opcode: 2 }));
  await socket.close_code();
  assert.equal(await refused_count(world.server, 'frame'), before + 1);
  socket.close();
});
