// What the server tells its operators: the log and the figures, and that neither tells anything of people.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import test from 'node:test';
import { refused, RpcError, serve_for, slow, sleep } from './harness.mjs';
import { exposition, value } from './exposition.mjs';
import { hostile, probe } from './probe.mjs';

// Planted wherever a person's data goes; each is looked for in everything the server says.
const marks = {
  name: 'Zulfiyaxon', login: 'zlogin-marker', other_login: 'zother-marker', text: 'ztext-marker', params: 'zparams-marker', method: 'zmethod.marker',
  password: 'zpassword-marker', url: 'zurl-marker', header: 'zheader-marker', error: 'zerror-marker', logged: 'zlogged-marker', person: 'zperson-marker',
  key: 'zkey-marker', group: 'zgroup-marker', token: 'ztoken-marker', job: 'zjob-marker', raw: 'zraw-marker',
};

const talkative = `
return service {
  id = "talkative",
  methods = {
    ["talk.log"] = { summary = "logs what it is given", access = "signed_in", params = { text = text {} },
      run = function(ctx, p) log.info("saw " .. p.text) log.warn("\\"" .. p.text) return {} end },
    ["talk.fail"] = { summary = "fails with what it is given", access = "signed_in", params = { text = text {} },
      run = function(ctx, p) error(p.text) end },
    ["talk.job"] = { summary = "a job that fails so", access = "signed_in", params = { text = text {} }, job = true,
      run = function(ctx, p) error(p.text) end },
    ["talk.long"] = { summary = "a job that takes its time", access = "signed_in", job = true, run = function() while true do end end },
  },
}
`;

const settings = `return { log_level = "debug", queue_max = 40, connections_max = 30, cpu_ms = 20000, deadline_ms = 60000,
  job_cpu_ms = 600000, job_deadline_ms = 600000, workers_max = 1 }`;
const world = serve_for(test, { settings }, async (server) => {
  // serve_for keeps the end of the log only.
  world.all = '';
  server.child.stderr.on('data', (text) => (world.all += text));
  const place = await server.institution('home');
  await place.deploy('service', 'probe', probe);
  await place.deploy('service', 'hostile', hostile);
  await place.deploy('service', 'talkative', talkative);
  const made = await place.call('person.create', { kind: 'student', name: marks.name, year: 1, languages: ['uz'] });
  await place.account(marks.login, ['student', 'administrator'], made.id ?? made.person);
  await place.account('plain', ['student'], 'plain-person');
  return { place };
});

const metrics = async () => {
  const response = await fetch(`${world.server.http}/metrics`);
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return response.text();
};
const families = async () => exposition(await metrics());
const here = { institution: 'home' };
async function until(what, fn, ms = 30000 * slow) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const found = await fn();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
  }
}
const gauge = (name, accepts, labels = here) => until(`${name} to be so`, async () => accepts(value(await families(), name, labels)));

// The worker processes of the server that answer calls; those of jobs are nicer.
function workers() {
  const rows = execFileSync('ps', ['-o', 'pid=,ni=,stat=', '--ppid', String(world.server.pid)]).toString().trim().split('\n');
  return rows.map((row) => row.trim().split(/\s+/)).filter(([, nice, state]) => ['5', '12'].includes(nice) && !state.startsWith('Z')).map(([pid]) => Number(pid));
}
// Ends every worker that runs the call, until the call is given up.
async function kill_until(settled) {
  let done = false;
  settled.finally(() => (done = true)).catch(() => {});
  while (!done) {
    if (value(await families(), 'hamroh_running_calls', here) >= 1) for (const pid of workers()) try { process.kill(pid, 'SIGKILL'); } catch {}
    await sleep(20);
  }
}
const raw = (text) =>
  new Promise((resolve) => {
    const socket = net.connect(Number(new URL(world.server.http).port), '127.0.0.1', () => socket.write(text));
    socket.setTimeout(300, () => socket.destroy()); // some are waited for more
    socket.on('data', () => {}).on('error', () => {}).on('close', resolve);
  });

test('the check of the exposition finds what it is there for', () => {
  const good = '# HELP hamroh_x_total x\n# TYPE hamroh_x_total counter\nhamroh_x_total{reason="a\\"b\\\\\\n"} 1\n';
  assert.equal(value(exposition(good), 'hamroh_x_total', { reason: 'a"b\\\n' }), 1);
  const histogram = (a, b, count) =>
    `# HELP hamroh_t_seconds x\n# TYPE hamroh_t_seconds histogram\nhamroh_t_seconds_bucket{le="0.1"} ${a}\nhamroh_t_seconds_bucket{le="1"} ${b}\nhamroh_t_seconds_bucket{le="+Inf"} ${b}\nhamroh_t_seconds_sum 1\nhamroh_t_seconds_count ${count}\n`;
  exposition(histogram(1, 2, 2));
  const bad = {
    'a counter without _total': good.replaceAll('x_total', 'x'),
    'a gauge with _total': good.replace('counter', 'gauge'),
    'no base unit': good.replaceAll('x_total', 'x_ms_total'),
    'a unit in the middle': good.replaceAll('x_total', 'seconds_x_total'),
    'a family twice': good + good,
    'a series twice': good + good.split('\n')[2] + '\n',
    'no HELP': good.replace(/^.*\n/, ''),
    'a sample of another family': good + 'hamroh_y_total 1\n',
    'a quotation mark not escaped': good.replace('\\"', '"'),
    'a label that names people': good.replace('reason=', 'login='),
    'no value': good.replace('} 1', '} one'),
    'no line end': good.slice(0, -1),
    'buckets that are not cumulative': histogram(3, 2, 2),
    'a count that is not the last bucket': histogram(1, 2, 3),
  };
  for (const [what, text] of Object.entries(bad)) assert.throws(() => exposition(text), undefined, what);
});

world.test('a busy hour leaves nothing of anybody in the log, the figures, or what stands in an error of the figures', { timeout: 120000 * slow }, async () => {
  const { server, place } = world;
  const client = await server.connect();
  const fail = (promise) => promise.catch((error) => { if (!(error instanceof RpcError)) throw error; });
  const session = await client.login('home', marks.login);
  marks.real_token = session.token;
  marks.person_id = session.person;
  await client.open_feed();
  await client.call('probe.put', { text: marks.text, to: ['institution'] });
  await client.call('probe.put', { text: marks.text, idem: marks.key });
  await fail(client.call('session.login', { institution: 'home', login: marks.other_login, password: marks.password }));
  await fail(client.call('session.login', { institution: 'home', login: marks.login, password: marks.password }));
  await fail(client.call(marks.method, { text: marks.params }));
  await fail(client.call('probe.put', { text: { [marks.params]: marks.params } }));
  await fail(client.call('record.get', { type: marks.params, id: marks.params }));
  await fail(client.call('record.list', { type: 'probe', index: marks.params, equals: [marks.params] }));
  await fail(client.call('session.change_password', { old: marks.password, new: marks.password }));
  await fail(client.call('talk.log', { text: marks.logged }));
  await fail(client.call('talk.fail', { text: marks.error }));
  await fail(client.call('hostile.memory', { text: marks.params }));
  await fail(client.call('account.invite', { person: marks.person, roles: ['student'], name: marks.name }));
  await fail(client.call('person.create', { kind: 'student', name: `${marks.name} "${marks.group}"`, year: 99, group: marks.group }));
  await fail(client.call('roster.preview', { csv: `name;group\n${marks.name};${marks.group}\n`, map: {} }));
  const { job } = await client.call('talk.job', { text: marks.job });
  await until('the job to fail', async () => ['failed'].includes(((j) => j.data?.state ?? j.state)(await client.call('job.get', { id: job }))));
  // A worker that dies with calls on its hands.
  const dying = fail(client.call('hostile.loop', { text: marks.params }));
  await gauge('hamroh_running_calls', (n) => n >= 1);
  await kill_until(dying);
  await gauge('hamroh_workers_ended_total', (n) => n >= 2, { reason: 'killed' });
  // What is no protocol.
  for (const text of [
    `GET /${marks.url}?${marks.url}=1 HTTP/1.1\r\nHost: ${marks.header}\r\nCookie: ${marks.header}\r\n\r\n`,
    `GET /rpc HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${marks.header}\r\nSec-WebSocket-Protocol: ${marks.header}\r\n\r\n`,
    `GET /rpc HTTP/1.1\r\nHost: a\r\nOrigin: http://${marks.header}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${marks.header}\r\n\r\n`,
    `${marks.raw} /${marks.raw} ${marks.raw}\r\n${marks.raw}: ${marks.raw}\r\n\r\n`,
    `POST /rpc HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n${marks.raw}`,
    `GET /%zz${marks.url}%00 HTTP/1.1\r\n${'x: ' + marks.raw + '\r\n'}`.repeat(3) + '\r\n',
    `GET /${marks.url.repeat(1000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `\x16\x03\x01\x02${marks.raw}\r\n\r\n`,
  ]) await raw(text);
  await fetch(`${server.http}/rpc`, { method: 'POST', body: marks.raw, headers: { authorization: `Bearer home.${marks.token}` } });
  await fetch(`${server.http}/rpc`, { method: 'POST', body: `{"jsonrpc":"2.0","method":"${marks.method}","params":["${marks.raw}"],"id":"${marks.raw}"}` });
  const odd = await server.connect();
  odd.socket.send(`{${marks.raw}`);
  odd.socket.send(Buffer.from([0x22, 0xff, 0xfe]), { binary: false });
  await odd.closed;
  const large = await server.connect();
  large.socket.send(`"${marks.raw.repeat(100000)}"`);
  assert.equal((await large.closed).code, 1009);
  await place.call('plugin.list');
  await client.call('session.logout');
  client.close();

  const said = await metrics();
  exposition(said);
  // Each line is JSON of the agreed form; the scenario has come to every kind of line it was to come to.
  const lines = world.all.trim().split('\n').map((line) => JSON.parse(line));
  for (const line of lines) {
    assert.deepEqual(Object.keys(line).slice(0, 3), ['time', 'level', 'event']);
    assert.match(line.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(line.level, /^(debug|info|warn|error)$/);
    assert.match(line.event, /^[a-z]+(\.[a-z_]+)?$/);
  }
  const events = new Set(lines.map((line) => line.event));
  for (const event of ['call', 'plugin.log', 'plugin.error', 'worker.ended', 'call.worker_died_twice', 'catalogue.active'])
    assert.ok(events.has(event), `no line of ${event} among ${[...events]}`);
  assert.ok(lines.some((line) => line.event === 'call' && line.method === 'probe.put' && line.code === 0));
  assert.ok(lines.some((line) => line.event === 'call' && line.method === '' && line.code === -32601));
  for (const [what, mark] of Object.entries({ ...marks, address: '127.0.0.1' })) {
    const at = world.all.indexOf(mark);
    assert.equal(at, -1, `${what} in the log: …${world.all.slice(Math.max(0, at - 200), at + 100)}`);
    assert.ok(!said.includes(mark), `${what} in the figures`);
  }
});

world.test('promtool has nothing to say about the figures', async (t) => {
  const said = await metrics();
  const checked = spawnSync('promtool', ['check', 'metrics'], { input: said, encoding: 'utf8' });
  if (checked.error?.code === 'ENOENT') return t.skip('no promtool here; the rules were checked by exposition.mjs');
  assert.deepEqual([checked.status, checked.stdout, checked.stderr], [0, '', '']);
});

world.test('series are bounded: institutions are named, and nothing else that grows', async () => {
  const institutions = new Set();
  const all = await families();
  for (const family of Object.values(all)) for (const sample of family.samples) if (sample.labels.institution) institutions.add(sample.labels.institution);
  assert.deepEqual([...institutions].sort(), ['cluster', 'home']);
  const count = Object.values(all).reduce((n, f) => n + f.samples.length, 0);
  for (let i = 0; i < 5; i++) await refused(world.place.call(`unknown.method${i}`, {}), -32601);
  await world.place.account('one-more', ['student'], 'person-one-more');
  assert.equal(Object.values(await families()).reduce((n, f) => n + f.samples.length, 0), count);
});

world.test('writes are counted and timed: the commit, the wait for it, the call', async () => {
  const client = await world.place.client('plain');
  const before = await families();
  const grown = async (name, labels) => value(await families(), name, labels) - value(before, name, labels);
  await Promise.all(Array.from({ length: 30 }, (_, i) => client.call('probe.put', { text: `${i}` })));
  assert.ok((await grown('hamroh_commit_wait_seconds_count')) >= 30);
  assert.ok((await grown('hamroh_call_duration_seconds_count')) >= 30);
  const commits = await grown('hamroh_commits_total');
  assert.ok(commits >= 1 && commits <= 30);
  assert.equal(await grown('hamroh_commit_duration_seconds_count'), commits);
  assert.equal(await grown('hamroh_commit_batch_calls_count'), commits);
  assert.equal(await grown('hamroh_commit_batch_calls_sum'), await grown('hamroh_commit_calls_total'));
  assert.ok((await grown('hamroh_calls_total', { outcome: 'ok' })) >= 30);
  assert.ok((await grown('hamroh_log_seq', here)) >= 30);
  assert.ok(value(before, 'process_start_time_seconds') > Date.now() / 1000 - 3600);
  client.close();
});

world.test('a worker that stands still shows: in flight, waiting, the age of the oldest, and what the queue refuses', async () => {
  const client = await world.place.client('plain');
  await client.call('sum', [1]);
  const [pid] = workers();
  process.kill(pid, 'SIGSTOP');
  const answers = [];
  try {
    for (let i = 0; i < 64 + 40 + 7; i++) answers.push(client.call('sum', [1]).then(() => 'ok', (error) => error.code));
    await gauge('hamroh_worker_calls_most', (n) => n === 64);
    await gauge('hamroh_running_calls', (n) => n === 64);
    await gauge('hamroh_queue_calls', (n) => n === 40);
    await gauge('hamroh_queue_oldest_seconds', (n) => n > 0.05);
    await gauge('hamroh_worker_call_oldest_seconds', (n) => n > 0.05);
    assert.equal(value(await families(), 'hamroh_calls_refused_total', { limit: 'queue' }), 7);
    assert.equal(value(await families(), 'hamroh_open_calls'), 104);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const ended = await Promise.all(answers);
  assert.equal(ended.filter((e) => e === 'ok').length, 104);
  assert.equal(ended.filter((e) => e === -32005).length, 7);
  for (const name of ['hamroh_queue_calls', 'hamroh_queue_oldest_seconds', 'hamroh_running_calls']) assert.equal(value(await families(), name, here), 0);
  client.close();
});

world.test('a reader that is stuck on an old snapshot shows, with the commits it lags behind, and is gone when it lets go', async () => {
  const client = await world.place.client('plain');
  assert.equal(value(await families(), 'hamroh_oldest_reader_lag_commits', here), 0);
  const loop = client.call('hostile.loop').catch((error) => error);
  await gauge('hamroh_readers_reading', (n) => n === 1);
  const [pid] = workers();
  process.kill(pid, 'SIGSTOP');
  try {
    for (let i = 0; i < 5; i++) await world.place.account(`beside${i}`, ['student'], `person-beside${i}`);
    await gauge('hamroh_oldest_reader_lag_commits', (n) => n >= 5);
    await gauge('hamroh_oldest_reader_seconds', (n) => n > 0.1);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
  await kill_until(loop);
  await gauge('hamroh_oldest_reader_lag_commits', (n) => n === 0);
  await gauge('hamroh_oldest_reader_seconds', (n) => n === 0);
  client.close();
});

world.test('what waits for a slow client, feeds, jobs, sessions, memory of workers: each has its gauge', async () => {
  const client = await world.place.client('plain');
  await client.open_feed();
  assert.equal(value(await families(), 'hamroh_feed_subscriptions'), 1);
  assert.ok(value(await families(), 'hamroh_sessions', here) >= 1);
  await client.call('sum', [1]);
  assert.ok(value(await families(), 'hamroh_workers_memory_bytes', here) > 1e6);
  const large = await client.call('probe.put', { text: 'x'.repeat(20000) });
  client.socket.pause();
  for (let i = 0; i < 800; i++) client.socket.send(JSON.stringify({ jsonrpc: '2.0', method: 'record.get', params: { type: 'probe', id: large.id }, id: `g${i}` }));
  await gauge('hamroh_out_queue_bytes', (n) => n > 1e5, {});
  assert.ok(value(await families(), 'hamroh_out_queue_most_bytes') > 1e5);
  assert.ok(value(await families(), 'hamroh_out_queue_frames') >= 1);
  client.socket.resume();
  await gauge('hamroh_out_queue_bytes', (n) => n === 0, {});
  const { job } = await client.call('talk.long');
  await gauge('hamroh_jobs_running', (n) => n === 1);
  await client.call('job.cancel', { id: job });
  await gauge('hamroh_jobs_running', (n) => n === 0);
  await gauge('hamroh_workers_ended_total', (n) => n >= 1, { reason: 'cancelled' });
  client.close();
});

world.test('what a limit refuses is counted: messages too large, sign-ins too often, connections too many', async () => {
  const before = await families();
  const grown = async (name, labels) => value(await families(), name, labels) - value(before, name, labels);
  const large = await world.server.connect();
  large.socket.send('x'.repeat((1 << 20) + 1));
  await large.closed;
  assert.match((await fetch(`${world.server.http}/rpc`, { method: 'POST', body: 'x'.repeat((1 << 20) + 1) }).catch(() => ({ status: 413 }))).status.toString(), /413/);
  assert.equal(await grown('hamroh_messages_too_large_total'), 2);
  // Last of those that sign in: the guesses count against this address.
  const guesser = await world.server.connect();
  await until('a guess too many', async () => {
    const error = await refused(guesser.call('session.login', { institution: 'home', login: 'nobody', password: 'wrong password' }));
    return error.code === -32005;
  });
  assert.ok((await grown('hamroh_calls_refused_total', { limit: 'rate' })) >= 1);
  assert.equal(await grown('hamroh_calls_refused_total', { limit: 'queue' }), 0);
  const many = [];
  let full;
  while (!full && many.length < 40) many.push(await world.server.connect().catch((error) => ((full = error), { close() {} })));
  assert.equal(full.status, 503);
  assert.ok((await grown('hamroh_connections_refused_total', { reason: 'full' })) >= 1);
  await gauge('hamroh_connections', (n) => n === 30, {});
  for (const client of [guesser, ...many]) client.close();
  await gauge('hamroh_connections', (n) => n < 5, {});
});

world.test('the figures are for this machine, or for who has the token', async () => {
  assert.equal((await fetch(`${world.server.http}/metrics`, { headers: { 'x-forwarded-for': '203.0.113.7' } })).status, 404, 'through a proxy');
  const file = `${world.server.dir}/settings.lua`;
  writeFileSync(file, readFileSync(file, 'utf8').replace('{', '{ metrics_token = "0123456789abcdef",'));
  world.server.child.kill('SIGHUP');
  const status = async (authorization) => (await fetch(`${world.server.http}/metrics`, authorization ? { headers: { authorization } } : {})).status;
  await until('the token to be asked for', async () => (await status()) === 404);
  assert.equal(await status('Bearer 0123456789abcdeF'), 404);
  assert.equal(await status('Bearer 0123456789abcdef0'), 404);
  assert.equal(await status('Basic 0123456789abcdef'), 404);
  assert.equal(await status('Bearer 0123456789abcdef'), 200);
  assert.ok(!world.all.includes('0123456789abcdef'));
});
