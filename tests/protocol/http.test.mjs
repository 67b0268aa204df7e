// HTTP beside the WebSocket: POST /rpc, what every response carries, which upgrades are refused, files, health, metrics.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { password, serve_for, Client } from './harness.mjs';
import { probe } from './probe.mjs';

const world = serve_for(test, {}, async (server) => {
  const place = await server.institution('web');
  await place.deploy('service', 'probe', probe);
  await place.account('someone', ['student']);
  return { place };
});

async function post(body, headers = {}) {
  const response = await fetch(`${world.server.http}/rpc`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text && JSON.parse(text) };
}

// A request as raw bytes, since fetch would not send such ones.
function raw(text, ms = 2000) {
  const { hostname, port } = new URL(world.server.http);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname, () => socket.write(text));
    let answer = '';
    const end = setTimeout(() => socket.destroy(), ms);
    socket.setEncoding('latin1').on('data', (part) => (answer += part));
    socket.on('error', () => {}).on('close', () => {
      clearTimeout(end);
      resolve(answer);
    });
  });
}

world.test('POST /rpc answers with and without a token, and a notification with 204', async () => {
  const login = { jsonrpc: '2.0', method: 'session.login', params: { institution: 'web', login: 'someone', password }, id: 1 };
  const { body } = await post(login);
  assert.ok(body.result.token);
  const bearer = { authorization: `Bearer ${body.result.token}` };
  assert.deepEqual((await post({ jsonrpc: '2.0', method: 'sum', params: [1, 2], id: 7 }, bearer)).body, { jsonrpc: '2.0', result: 3, id: 7 });
  const silent = await post({ jsonrpc: '2.0', method: 'update', params: [1] }, bearer);
  assert.deepEqual([silent.status, silent.body], [204, '']);
  const without = await post({ jsonrpc: '2.0', method: 'record.list', params: { type: 'probe' }, id: 1 });
  assert.equal(without.body.error.code, -32001);
  const batch = await post([{ jsonrpc: '2.0', method: 'sum', params: [1], id: 1 }, 5], bearer);
  assert.equal(batch.body.length, 2);
});

world.test('a token that is not good is answered with 401', async () => {
  const answer = await post({ jsonrpc: '2.0', method: 'server.info', id: 1 }, { authorization: 'Bearer web.nonsense' });
  assert.equal(answer.status, 401);
  assert.equal(answer.body.error.code, -32001);
  assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
});

world.test('text that is not JSON is a parse error, and a body over the limit is refused with 413', async () => {
  assert.equal((await post('{nonsense')).body.error.code, -32700);
  assert.match(await raw(`POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: ${(1 << 20) + 1}\r\n\r\n`), /^HTTP\/1.1 413 /);
  assert.match(await raw('POST /rpc HTTP/1.1\r\nHost: a\r\n\r\n{}'), /^HTTP\/1.1 411 /);
});

world.test('every page forbids frames, foreign scripts and guessing of types', async () => {
  for (const path of ['/', '/nothing-here', '/healthz']) {
    const { headers } = await fetch(world.server.http + path);
    assert.match(headers.get('content-security-policy'), /default-src 'self';.*frame-ancestors 'none'/);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('referrer-policy'), 'no-referrer');
    assert.match(headers.get('permissions-policy'), /camera=\(\)/);
    assert.doesNotMatch(headers.get('content-security-policy'), /unsafe/);
  }
});

world.test('an upgrade to h2c is refused, and so is any other but websocket', async () => {
  const h2c = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n';
  assert.match(await raw(h2c), /^HTTP\/1.1 403 /);
  assert.match(await raw('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n'), /^HTTP\/1.. 403 /);
  assert.doesNotMatch(await raw('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^HTTP\/2|^\0/);
});

world.test('half an upgrade, many times over, leaves the server alive', async () => {
  const start = 'GET /rpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
  await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      raw([start, start + '\r\n', start + 'Sec-WebSocket-Version: 13\r\n\r\n', start + 'Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n\r\n',
           'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n'][i % 6], 300)));
  assert.equal((await fetch(`${world.server.http}/healthz`)).status, 200);
});

world.test('a request behind another one in the same packet is not read, and harms nobody', async () => {
  const body = '{"jsonrpc":"2.0","method":"sum","params":[1,2],"id":"first"}';
  const post = `POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const get = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n';
  for (const text of [get + post, get + get, post + post, post + get, `PUT /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${post}`]) {
    const answer = await raw(text, 1000);
    assert.ok(answer.split('HTTP/1.1 ').length <= 2, answer);
  }
  assert.equal((await fetch(`${world.server.http}/healthz`)).status, 200);
});

world.test('a page of another origin may not connect, one of the same host may', async () => {
  const foreign = await Client.open(world.server.url, { origin: 'https://elsewhere.example' }).catch((error) => error);
  assert.equal(foreign.status, 403);
  const own = await Client.open(world.server.url, { origin: world.server.http });
  assert.ok(await own.call('server.info'));
  own.close();
});

world.test('the subprotocol jsonrpc is accepted, and another one is refused', async () => {
  const client = await Client.open(world.server.url, { protocols: ['jsonrpc'] });
  assert.equal(client.socket.protocol, 'jsonrpc');
  client.close();
  const other = await Client.open(world.server.url, { protocols: ['mqtt'] }).catch((error) => error);
  assert.equal(other.status, 400);
});

world.test('no path leads out of the folder of the web client', async () => {
  for (const path of ['/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2fetc/passwd', '//etc/passwd', '/.git/config', '/a/../../x']) {
    const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1.. (404|403|400) /, path);
    assert.doesNotMatch(answer, /root:/);
  }
});

world.test('the root page is the web client, or says how to build it', async () => {
  const response = await fetch(world.server.http + '/');
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/html/);
  assert.match(await response.text(), /<title>.*Hamroh/is);
});

world.test('health, readiness and metrics tell what they are asked for', async () => {
  assert.equal((await fetch(`${world.server.http}/healthz`)).status, 200);
  assert.equal((await fetch(`${world.server.http}/readyz`)).status, 200);
  const metrics = await (await fetch(`${world.server.http}/metrics`)).text();
  assert.match(metrics, /^hamroh_connections \d+$/m);
  assert.match(metrics, /^hamroh_messages_in_total \d+$/m);
  assert.doesNotMatch(metrics, /someone/);
  assert.equal((await fetch(`${world.server.http}/rpc`)).status, 405);
});
