// Heads of requests that could be read in two ways, upgrades that are half done or to something else, and the headers that every
// answer has, whoever gives it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Client, serve_for } from './harness.mjs';
import { Raw, exchange, frame, headers_of, key, refused_count, status_of, upgrade } from './raw.mjs';

const world = serve_for(test, { settings: 'return { allowed_origins = "https://portal.example, http://other.example:8443", connections_per_address = 4, limit_loopback = true }' });
const send = (text) => exchange(world.server.http, text);
const body = '{"jsonrpc":"2.0","method":"server.info","id":1}';
const post = (headers, content = body) => `POST /rpc HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n${content}`;
const get = (headers = '', line = 'GET /healthz HTTP/1.1') => `${line}\r\nHost: a\r\n${headers}\r\n`;
const alive = async () => assert.equal((await fetch(`${world.server.http}/healthz`)).status, 200);

// ---- one meaning or none

const requests = [
  ['Content-Length and chunks', post(`Content-Length: ${body.length}\r\nTransfer-Encoding: chunked`), 400],
  ['chunks and Content-Length', post(`Transfer-Encoding: chunked\r\nContent-Length: ${body.length}`), 400],
  ['chunks alone', post('Transfer-Encoding: chunked', `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`), 411],
  ['chunks by another name', post('Transfer-Encoding: xchunked'), 411],
  ['chunks on a GET', get('Transfer-Encoding: chunked\r\n'), 411],
  ['two lengths', post(`Content-Length: ${body.length}\r\nContent-Length: 5`), 400],
  ['the same length twice', post(`Content-Length: ${body.length}\r\nContent-Length: ${body.length}`), 400],
  ['two lengths in one line', post(`Content-Length: ${body.length}, 5`), 400],
  ['a length with a sign', post(`Content-Length: +${body.length}`), 400],
  ['a negative length', post('Content-Length: -1'), 400],
  ['a length in hexadecimal', post('Content-Length: 0x30'), 400],
  ['a length beyond 64 bits', post('Content-Length: 99999999999999999999999'), 400],
  ['a length over the limit', post('Content-Length: 1048577'), 413],
  ['no length', post('Priority: u=1'), 411],
  ['a length with a space before the colon', post(`Content-Length : ${body.length}`), 411],
  ['a compressed body', post(`Content-Encoding: gzip\r\nContent-Length: ${body.length}`), 415],
  ['a body compressed twice', post(`Content-Encoding: gzip, br\r\nContent-Length: ${body.length}`), 415],
  ['a body with a GET', get('Content-Length: 3\r\n') + 'abc', 400],
  ['two hosts', get('Host: b\r\n'), 400],
  ['no host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
  ['HTTP/1.2', 'GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n', 505],
  ['HTTP/2.0 in text', 'GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n', 505],
  ['no version', 'GET /healthz \r\nHost: a\r\n\r\n', 505],
  ['a head over the limit', get(`Cookie: ${'c'.repeat(9000)}\r\n`), 431],
  ['a target over the limit', get('', `GET /${'a'.repeat(9000)} HTTP/1.1`), 431],
  ...['DELETE', 'PUT', 'OPTIONS', 'PATCH'].map((method) => [`the method ${method}`, get('', `${method} /rpc HTTP/1.1`), 405]),
];
for (const [what, text, status] of requests)
  world.test(`a request with ${what} is answered with ${status}, and nothing in it is done`, async () => {
    const before = await refused_count(world.server, 'request');
    const answer = await send(text);
    assert.equal(status_of(answer), status, answer);
    assert.doesNotMatch(answer, /"result"/);
    assert.ok((await refused_count(world.server, 'request')) > before, 'it was not counted');
  });

world.test('what is proper HTTP is answered: version 1.0, HEAD, a length of nothing, identity', async () => {
  assert.equal(status_of(await send('GET /healthz HTTP/1.0\r\n\r\n')), 200);
  const head = await send('HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n');
  assert.equal(status_of(head), 200);
  assert.equal(head.split('\r\n\r\n')[1], '');
  assert.equal(headers_of(head)['content-length'], '3');
  assert.equal(status_of(await send('HEAD /nothing-here HTTP/1.1\r\nHost: a\r\n\r\n')), 404);
  assert.equal(status_of(await send(get('Content-Length: 0\r\n'))), 200);
  assert.match(await send(post(`Content-Encoding: identity\r\nContent-Length: ${body.length}`)), /"result"/);
  assert.match(await send(post('Content-Length: 0', '')), /-32700/);
  assert.equal(headers_of(await send('DELETE / HTTP/1.1\r\nHost: a\r\n\r\n')).allow, 'GET, HEAD');
});

world.test('a head with no end, or with ever more headers, is not collected', async () => {
  for (const text of [`GET /${'a'.repeat(100_000)}`, `GET / HTTP/1.1\r\n${'X'.repeat(100_000)}`, `GET / HTTP/1.1\r\nHost: a\r\n${Array.from({ length: 3000 }, (_, i) => `X-${i}: y`).join('\r\n')}`, `GET / HTTP/1.1\r\n${'Accept: a\r\n'.repeat(500)}`]) {
    const raw = await Raw.open(world.server.http);
    raw.write(text);
    await raw.hung_up(5000);
    assert.ok([0, 400, 403, 431].includes(status_of(raw.text)));
  }
  await alive();
});

world.test('what is not HTTP at all is not answered with anything of worth', async () => {
  for (const text of ['\0\0\0\0\r\n\r\n', 'NONSENSE\r\n\r\n', '\r\n\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/1.1\r\nGET / HTTP/1.1\r\n\r\n', ':\r\n\r\n', 'GET / HTTP/1.1\r\n: x\r\n\r\n', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'TRACE / HTTP/1.1\r\nHost: a\r\n\r\n', 'GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n', 'GET * HTTP/1.1\r\nHost: a\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03']) {
    const raw = await Raw.open(world.server.http);
    raw.write(Buffer.from(text, 'latin1'));
    raw.socket.end();
    await raw.hung_up();
    assert.ok([0, 400, 403, 404, 505].includes(status_of(raw.text)), `${JSON.stringify(text)}: ${raw.text.slice(0, 80)}`);
  }
  await alive();
});

world.test('a second request behind the first is not answered, so that nobody can hide one in another', async () => {
  const smuggled = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
  for (const first of [get(), post(`Content-Length: ${body.length}`), post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), post('Content-Length: 3', 'abc')]) {
    const answer = await send(first + smuggled + smuggled);
    assert.equal(answer.split('HTTP/1.1 ').length, 2, answer);
  }
});

// ---- upgrades

const upgrades = [
  ['to h2c', upgrade({ Upgrade: 'h2c' }), 403],
  ['to h2c with its settings', upgrade({ Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings', 'HTTP2-Settings': 'AAMAAABkAARAAAAAAAIAAAAA' }), 403],
  ['to h2c by POST, with a body', upgrade({ Upgrade: 'h2c', 'Content-Length': '5' }, { method: 'POST' }) + 'abcde', 403],
  ['to h2c or websocket', upgrade({ Upgrade: 'h2c, websocket' }), 403],
  ['to websocket and h2c in two lines', upgrade({ Upgrade: ['websocket', 'h2c'] }), 403],
  ['to TLS', upgrade({ Upgrade: 'TLS/1.0' }), 403],
  ['elsewhere', upgrade({}, { path: '/' }), 404],
  ['elsewhere by dots', upgrade({}, { path: '/rpc/../healthz' }), 404],
  ['by POST', upgrade({}, { method: 'POST' }), 404],
  ['by HEAD', upgrade({}, { method: 'HEAD' }), 404],
  ['by HTTP/1.0', upgrade({}, { version: 'HTTP/1.0' }), 505],
  ['without Connection', upgrade({ Connection: null }), 400],
  ['with another Connection', upgrade({ Connection: 'keep-alive' }), 400],
  ['with a Connection that only begins so', upgrade({ Connection: 'upgrade-insecure' }), 400],
  ['without a key', upgrade({ 'Sec-WebSocket-Key': null }), 400],
  ['with a short key', upgrade({ 'Sec-WebSocket-Key': 'AAAA' }), 400],
  ['with a long key', upgrade({ 'Sec-WebSocket-Key': 'A'.repeat(500) }), 400],
  ['with a key that is not base 64', upgrade({ 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!==' }), 400],
  ['with two keys', upgrade({ 'Sec-WebSocket-Key': [key(), key()] }), 400],
  ['without a version', upgrade({ 'Sec-WebSocket-Version': null }), 426],
  ['with version 8', upgrade({ 'Sec-WebSocket-Version': '8' }), 426],
  ['with two versions', upgrade({ 'Sec-WebSocket-Version': ['13', '13'] }), 426],
  ['with a body', upgrade({ 'Content-Length': '5' }) + 'abcde', 400],
  ['with chunks', upgrade({ 'Transfer-Encoding': 'chunked' }) + '5\r\nabcde\r\n0\r\n\r\n', 411],
  ['with a length and chunks', upgrade({ 'Transfer-Encoding': 'chunked', 'Content-Length': '5' }), 400],
  ['without a host', upgrade({ Host: null }), 400],
  ['to another subprotocol', upgrade({ 'Sec-WebSocket-Protocol': 'mqtt, soap' }), 400],
  ['to ever more subprotocols', upgrade({ 'Sec-WebSocket-Protocol': 'a, '.repeat(500) }), 400],
  ['with a long list of extensions', upgrade({ 'Sec-WebSocket-Extensions': `permessage-deflate; x="${'x'.repeat(400)}"` }), 400],
  ['with a head over the limit', upgrade({ Cookie: 'c'.repeat(9000) }), 431],
];
for (const [what, text, status] of upgrades)
  world.test(`an upgrade ${what} is answered with ${status}, also with frames right behind it`, async () => {
    // What is no known upgrade at all is refused by libwebsockets, as a request like any.
    const count = async () => (await refused_count(world.server, 'upgrade')) + (await refused_count(world.server, 'request'));
    const before = await count();
    for (const more of ['', frame('{}'), get()]) {
      const raw = await Raw.open(world.server.http);
      raw.write(Buffer.concat([Buffer.from(text), Buffer.from(more)]));
      await raw.hung_up();
      assert.equal(status_of(raw.text), status, raw.text);
      assert.equal(raw.text.match(/^HTTP\/1\.\d \d/gm).length, 1, raw.text);
    }
    assert.equal(await count(), before + 3);
  });

world.test('the preface of HTTP/2 opens nothing', async () => {
  const raw = await Raw.open(world.server.http);
  raw.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  await raw.hung_up();
  assert.ok([0, 400, 403].includes(status_of(raw.text)), raw.text);
});

world.test('an upgrade that is cut off anywhere, or sent byte by byte, leaves the server as it was', async () => {
  const whole = upgrade({ 'Sec-WebSocket-Protocol': 'jsonrpc' });
  for (let at = 1; at < whole.length; at += 9) {
    const raw = await Raw.open(world.server.http);
    raw.write(whole.slice(0, at));
    if (at % 2) raw.socket.end();
    else raw.socket.resetAndDestroy();
    await raw.hung_up();
  }
  const bytes = await Raw.open(world.server.http);
  bytes.socket.setNoDelay(true);
  for (const letter of whole) bytes.write(letter);
  assert.equal(await bytes.status(), 101);
  bytes.close();
  await alive();
});

world.test('frames in the same packet as the upgrade are read', async () => {
  const raw = await Raw.open(world.server.http);
  raw.write(Buffer.concat([Buffer.from(upgrade()), frame(body)]));
  await raw.until('the answer', () => raw.text.includes('"result"'));
  raw.close();
});

// ---- origins

const origins = [
  [undefined, 'another.test', 101], // not a browser
  ['http://another.test', 'another.test', 101],
  ['https://another.test', 'another.test', 101], // TLS may end in a proxy
  ['HTTP://ANOTHER.TEST', 'another.test', 101],
  ['http://another.test:81', 'another.test:81', 101],
  ['http://another.test:81', 'another.test', 403],
  ['http://another.test', 'another.test:81', 403],
  ['http://another.test.evil', 'another.test', 403],
  ['http://evil/http://another.test', 'another.test', 403],
  ['http://another.test@evil', 'another.test', 403],
  ['file://another.test', 'another.test', 403],
  ['chrome-extension://another.test', 'another.test', 403],
  ['another.test', 'another.test', 403],
  ['null', 'another.test', 403],
  ['null', 'null', 403],
  ['://another.test', 'another.test', 403],
  [`http://${'a'.repeat(400)}`, 'another.test', 403],
  [['http://another.test', 'http://evil'], 'another.test', 403],
  ['https://portal.example', 'another.test', 101],
  ['http://portal.example', 'another.test', 403],
  ['http://other.example:8443', 'another.test', 101],
  ['http://other.example', 'another.test', 403],
  ['https://portal.example, http://other.example:8443', 'another.test', 403],
];
for (const [origin, host, status] of origins)
  world.test(`a page of ${origin ?? 'nowhere'} at ${host} gets ${status}, for a WebSocket and for a call`, async () => {
    const before = await refused_count(world.server, 'origin');
    const raw = await Raw.open(world.server.http);
    raw.write(upgrade({ Host: host, ...(origin && { Origin: origin }) }));
    assert.equal(await raw.status(), status);
    raw.close();
    const lines = [origin ?? []].flat().map((one) => `Origin: ${one}\r\n`).join('');
    const answer = await send(`POST /rpc HTTP/1.1\r\nHost: ${host}\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`);
    assert.equal(status_of(answer), status === 101 ? 200 : 403);
    assert.equal(await refused_count(world.server, 'origin'), before + (status === 101 ? 0 : 2));
  });

// ---- the headers of every answer

world.test('every answer forbids frames, foreign scripts and guessing of types, and none is kept that should not be', async () => {
  const cases = [get(), get('', 'GET / HTTP/1.1'), get('', 'GET /openrpc.json HTTP/1.1'), get('', 'GET /metrics HTTP/1.1'), get('', 'GET /nothing HTTP/1.1'), get('', 'GET /%zz HTTP/1.1'),
    get('', 'GET /rpc HTTP/1.1'), post(`Content-Length: ${body.length}`), post(`Content-Length: ${body.length}\r\nAuthorization: Bearer x.y`), ...requests.map(([, text]) => text), ...upgrades.map(([, text]) => text),
    upgrade({ Origin: 'null' })];
  for (const text of cases) {
    const answer = await send(text);
    const headers = headers_of(answer);
    const where = `${text.slice(0, 60)} → ${answer.slice(0, 40)}`;
    assert.ok(status_of(answer) > 0, where);
    assert.match(headers['content-security-policy'], /^default-src '(self|none)';.*frame-ancestors 'none'/, where);
    assert.doesNotMatch(headers['content-security-policy'], /unsafe|\*/, where);
    assert.equal(headers['x-content-type-options'], 'nosniff', where);
    assert.equal(headers['x-frame-options'], 'DENY', where);
    assert.equal(headers['referrer-policy'], 'no-referrer', where);
    assert.match(headers['permissions-policy'], /camera=\(\), microphone=\(\), geolocation=\(\)/, where);
    assert.equal(headers['cross-origin-opener-policy'], 'same-origin', where);
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin', where);
    assert.equal(headers.connection, 'close', where);
    assert.equal(headers['strict-transport-security'], undefined, where); // not without TLS
    assert.equal(headers['access-control-allow-origin'], undefined, where);
    assert.equal(headers['set-cookie'], undefined, where);
    if (headers['cache-control'] !== undefined && !text.startsWith('GET / ')) assert.equal(headers['cache-control'], 'no-store', where);
  }
});

world.test('a Host that is no host does not get into the policy', async () => {
  const answer = await send("GET / HTTP/1.1\r\nHost: a; script-src 'unsafe-inline'\r\n\r\n");
  assert.doesNotMatch(headers_of(answer)['content-security-policy'], /unsafe|script-src/);
});

// ---- this machine

world.test('what a proxy brings is not taken for this machine itself', async () => {
  assert.equal((await fetch(`${world.server.http}/metrics`)).status, 200);
  for (const header of ['X-Forwarded-For: 192.0.2.1', 'X-Real-IP: 192.0.2.1', 'Forwarded: for=192.0.2.1', 'X-Forwarded-For: 127.0.0.1'])
    assert.equal(status_of(await send(get(`${header}\r\n`, 'GET /metrics HTTP/1.1'))), 404, header);
});

world.test('sockets are counted by address from the moment they connect, and over the limit not even a head is waited for', async () => {
  const before = await refused_count(world.server, 'address');
  const sockets = await Promise.all(Array.from({ length: 20 }, () => Raw.open(world.server.http))); // 4, and 16 for requests
  const over = await Raw.open(world.server.http).catch((error) => error);
  if (over instanceof Raw) {
    over.write(get());
    await over.hung_up();
    assert.equal(over.text, '');
  }
  for (const socket of sockets) socket.close();
  let count = 0;
  for (let i = 0; i < 100 && !count; i++) count = await refused_count(world.server, 'address').catch(() => 0);
  assert.ok(count > before);
  const clients = await Promise.all(Array.from({ length: 4 }, () => world.server.connect()));
  assert.equal((await world.server.connect().catch((error) => error)).status, 429);
  for (const client of clients) client.close();
});
