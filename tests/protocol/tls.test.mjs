// TLS of the server's own: what is spoken and what is not, whole answers over it, and a certificate that is replaced while
// everybody stays connected.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { certificate, expired, replace } from './certificate.mjs';
import { bin, serve_for, sleep, slow } from './harness.mjs';
import { Raw, exchange, headers_of, late_count, metric, status_of } from './raw.mjs';

const folder = mkdtempSync(path.join(tmpdir(), 'hamroh-tls-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const served = certificate(folder, 'served', { type: 'rsa2048' });
const settings = (files, more = '') => `return { tls_certificate = "${files.certificate}", tls_key = "${files.key}", ${more} }`;

const world = serve_for(test, { settings: settings(served, 'header_timeout_ms = 1500') }, async (server) => {
  const place = await server.institution('tls');
  await place.account('one', ['student']);
});
const connect = () => world.server.connect({ rejectUnauthorized: false });
const secure = (options = {}) => Raw.open(world.server.http, options);

async function fingerprint() {
  const raw = await secure();
  const found = raw.socket.getPeerCertificate();
  raw.close();
  return found.fingerprint256;
}
async function becomes(what, probe, ms = 15000 * slow) {
  for (const end = Date.now() + ms; ; await sleep(100)) {
    if (await probe()) return;
    if (Date.now() > end) throw new Error(`waited ${ms} ms until ${what}`);
  }
}

world.test('https and wss are served, and every response tells browsers to come by TLS only', async () => {
  const client = await connect();
  assert.ok((await client.call('server.info')).version);
  client.close();
  for (const line of ['GET / HTTP/1.1', 'GET /nothing HTTP/1.1', 'DELETE / HTTP/1.1', 'GET /%zz HTTP/1.1']) {
    const answer = await exchange(world.server.http, `${line}\r\nHost: a\r\n\r\n`);
    assert.equal(headers_of(answer)['strict-transport-security'], 'max-age=31536000', line);
  }
});

world.test('TLS 1.2 and 1.3 are spoken, older ones are not, and neither is a cipher without forward secrecy', async () => {
  for (const version of ['TLSv1.2', 'TLSv1.3']) {
    const raw = await secure({ minVersion: version, maxVersion: version });
    assert.equal(raw.socket.getProtocol(), version);
    raw.close();
  }
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' };
  await assert.rejects(secure(old), /alert protocol version|unsupported protocol/i);
  await assert.rejects(secure({ maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }), /handshake failure/i);
});

world.test('a client that offers HTTP/2 gets HTTP/1.1, and one that insists gets nothing', async () => {
  const both = await secure({ ALPNProtocols: ['h2', 'http/1.1'] });
  assert.equal(both.socket.alpnProtocol, 'http/1.1');
  both.close();
  const only = await secure({ ALPNProtocols: ['h2'] });
  assert.equal(only.socket.alpnProtocol, false);
  only.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0');
  await only.hung_up();
  assert.ok([0, 400, 403].includes(status_of(only.text)), only.text);
  const session = http2.connect(world.server.http, { rejectUnauthorized: false });
  await new Promise((resolve) => session.once('error', resolve).once('close', resolve));
  session.destroy();
});

world.test('a client may not negotiate again', async () => {
  const { port } = new URL(world.server.http);
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2'], { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('latin1').on('data', (part) => {
      if (!text.includes('Extended master secret') && (text + part).includes('Extended master secret')) child.stdin.write('R\n');
      text += part;
    });
  await new Promise((resolve) => child.once('close', resolve));
  assert.match(text, /RENEGOTIATING[^]*no renegotiation/);
});

world.test('plain HTTP on the TLS port is not answered', async () => {
  const raw = await Raw.open(world.server.http, { plain: true });
  raw.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  await raw.hung_up();
  assert.equal(raw.text.includes('HTTP/1.1 200'), false);
});

world.test('a TLS handshake that is begun and not ended is hung up and counted', async () => {
  const before = await late_count(world.server, 'head');
  const nothing = await Raw.open(world.server.http, { plain: true });
  const half = await Raw.open(world.server.http, { plain: true });
  half.write(Buffer.from('160301', 'hex'));
  await Promise.all([nothing.hung_up(), half.hung_up()]);
  assert.equal(await late_count(world.server, 'head'), before + 2);
});

// The answers wait in the server until the client reads again, over more than one record and more than one send.
world.test('a client that reads late gets every answer whole and in order', async () => {
  const client = await connect();
  const size = JSON.stringify(await client.call('rpc.discover')).length;
  client.socket._socket.pause();
  const calls = Array.from({ length: Math.ceil(6e6 / size) }, (_, i) => client.call(i % 7 ? 'rpc.discover' : 'server.info'));
  await sleep(300);
  client.socket._socket.resume();
  for (const [i, answer] of (await Promise.all(calls)).entries()) {
    if (i % 7) assert.equal(JSON.stringify(answer).length, size);
    else assert.ok(answer.version);
  }
  assert.ok(size * calls.length > 4e6);
  client.close();
});

world.test('messages of almost the largest size come in over TLS, in one frame and in many', async () => {
  const client = await connect();
  await client.login('tls', 'one');
  const text = 'a'.repeat(900_000);
  const call = JSON.stringify({ jsonrpc: '2.0', method: 'server.info', params: { text }, id: 'x' });
  const answer = (id) => new Promise((resolve) => client.pending.set(id, { resolve }));
  const one = answer('x');
  client.write(call);
  assert.equal((await one).error.code, -32602); // read to its end, whatever server.info makes of it
  const many = answer('x');
  for (let at = 0; at < call.length; at += 50_000) client.socket.send(call.slice(at, at + 50_000), { fin: at + 50_000 >= call.length, binary: false });
  assert.equal((await many).error.code, -32602);
  client.close();
});

world.test('a new certificate is given to new connections, of another kind even, and nobody is disconnected', async () => {
  const client = await connect();
  const before = await fingerprint();
  const reloads = await metric(world.server, 'hamroh_tls_reloads_total');
  replace(certificate(folder, 'second', { type: 'ec' }), served);
  await becomes('the new certificate is served', async () => (await fingerprint()) !== before);
  assert.equal(await metric(world.server, 'hamroh_tls_reloads_total'), reloads + 1);
  const raw = await secure({ maxVersion: 'TLSv1.2' });
  assert.equal(raw.socket.getPeerCertificate().subject.CN, 'second');
  raw.close();
  assert.ok(await client.call('server.info'));
  assert.equal(client.socket.readyState, 1);
  client.close();
});

world.test('a certificate that cannot be served is not taken, the log says why, and a good one is taken after it', async () => {
  const good = certificate(folder, 'good');
  const other = certificate(folder, 'other');
  const broken = { ...good, certificate: path.join(folder, 'broken.crt') };
  writeFileSync(broken.certificate, '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n');
  const bad = [
    [{ certificate: good.certificate, key: other.key }, /is not the key of the certificate/],
    [broken, /holds no certificate/],
    [expired(folder, 'ended', good), /out of date/],
    [certificate(folder, 'weak', { type: 'rsa1024' }), /key too small/],
  ];
  const before = await fingerprint();
  for (const [files, why] of bad) {
    const failures = await metric(world.server, 'hamroh_tls_reload_failures_total');
    replace(files, served);
    // It may have been looked at between the one file and the other: what counts is what is said in the end.
    await becomes(`the log says ${why}`, async () => {
      const line = world.server.log.split('\n').filter((l) => l.includes('tls.reload_failed')).at(-1);
      return line && why.test(JSON.parse(line).why) && (await metric(world.server, 'hamroh_tls_reload_failures_total')) > failures;
    });
    assert.equal(await fingerprint(), before);
  }
  replace(good, served);
  await becomes('the good one is served', async () => (await fingerprint()) !== before);
});

world.test('the metrics tell when the certificate ends', async () => {
  const ends = await metric(world.server, 'hamroh_tls_certificate_expires_seconds');
  assert.ok(Math.abs(ends - (Date.now() / 1000 + 30 * 86400)) < 86400, String(ends));
});

// ---- settings

async function check_config(text) {
  const file = path.join(folder, 'checked.lua');
  writeFileSync(file, text);
  return promisify(execFile)(bin, ['check-config', file]).then(({ stdout, stderr }) => ({ code: 0, stdout, stderr }), ({ code, stdout, stderr }) => ({ code, stdout, stderr }));
}

test('check-config looks into the files of the certificate', async () => {
  const one = certificate(folder, 'one');
  const two = certificate(folder, 'two');
  assert.equal((await check_config(settings(one))).code, 0);
  const cases = [
    [settings({ certificate: one.certificate, key: two.key }), /is not the key of the certificate/],
    [settings({ certificate: '/nowhere.crt', key: one.key }), /\/nowhere\.crt: cannot be read: No such file/],
    [settings({ certificate: one.key, key: one.key }), /holds no certificate/],
    [`return { tls_certificate = "${one.certificate}" }`, /set both, or neither/],
  ];
  for (const [text, why] of cases) {
    const { code, stderr } = await check_config(text);
    assert.equal(code, 1);
    assert.match(stderr, why);
  }
  execFileSync('openssl', ['pkey', '-in', one.key, '-aes256', '-passout', 'pass:secret', '-out', `${one.key}.locked`]);
  assert.match((await check_config(settings({ certificate: one.certificate, key: `${one.key}.locked` }))).stderr, /locked with a password/);
  const late = await check_config(settings(expired(folder, 'late', one)));
  assert.equal(late.code, 0);
  assert.match(late.stderr, /out of date/);
});

test('listening to other machines without TLS and without a named proxy is warned of', async () => {
  const open = 'return { listen = "0.0.0.0:8080"';
  assert.match((await check_config(`${open} }`)).stderr, /nothing encrypts/);
  assert.doesNotMatch((await check_config(`${open}, trusted_proxy = "10.0.0.1" }`)).stderr, /encrypts/);
  const files = certificate(folder, 'outside');
  assert.doesNotMatch((await check_config(settings(files, 'listen = "0.0.0.0:8080"'))).stderr, /encrypts/);
  assert.doesNotMatch((await check_config('return {}')).stderr, /encrypts/);
});

test('the server does not start with a certificate that it cannot serve', async () => {
  const files = certificate(folder, 'wrong');
  writeFileSync(path.join(folder, 'wrong.lua'), settings({ ...files, key: '/nowhere.key' }));
  const child = spawn(bin, ['serve', '--data', folder, '--config', path.join(folder, 'wrong.lua')]);
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (part) => (text += part));
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.notEqual(code, 0);
  assert.match(text, /nowhere\.key: cannot be read/);
});
