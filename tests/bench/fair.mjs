// What one institution's trouble does to another: the same light load on a quiet institution, alone, beside a busy one, and beside
// broken ones. To be: p99 at most twice of that alone.
import { lines, load, request, row, seconds } from './measure.mjs';

const broken_plugin = (body) => `
return service {
  id = "noise",
  records = { noise = { key = "uuid", fields = { text = text { required = true } } } },
  methods = { ["noise.make"] = { summary = "noise", access = "signed_in", writes = true, params = {}, run = function(ctx, p) ${body} end } },
}
`;

async function noisy(world, id, body) {
  const place = await world.server.institution(id);
  await place.deploy('service', 'noise', broken_plugin(body));
  const tokens = [];
  for (let i = 0; i < 8; i++) {
    const { mentor } = await import('../protocol/people.mjs');
    await mentor(place, `Noise ${i}`, 1, {}, `noise${i}`);
    const client = await place.client(`noise${i}`);
    tokens.push(client.token);
    client.close();
  }
  return {
    setup: [lines(`${id}-setup`, tokens.map((token) => request('session.resume', { token }, 1)))],
    message: lines(`${id}-noise`, [request('noise.make', {})]),
  };
}

export async function measure_fairness(world) {
  const port = Number(new URL(world.server.http).port);
  const light = { port, connections: 16, depth: 4, rate: 200, seconds: seconds * 2, setup: world.setup };
  const quiet = async () => ({ send: await load('call', { ...light, message: world.send }), get: await load('call', { ...light, message: world.get }) });
  const alone = await quiet();
  const cases = {
    'a busy one (writes as fast as it can)': { body: 'store.put("noise", { data = { text = "x" }, audience = { "institution" } }) return {}', depth: 16, connections: 64 },
    'one whose calls never end': { body: 'while true do end', depth: 4, connections: 16 },
    'one whose calls eat memory': { body: 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end', depth: 4, connections: 16 },
  };
  let n = 0;
  for (const [what, { body, ...options }] of Object.entries(cases)) {
    const noise = await noisy(world, `noise${++n}`, body);
    const making = load('call', { port, ...noise, ...options, seconds: seconds * 4 + 3 }).catch((error) => ({ error }));
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const beside = await quiet();
    const made = await making;
    if (made.error) throw made.error;
    for (const kind of ['get', 'send'])
      row(`${kind === 'get' ? 'record.get' : 'message.send'}, p99, beside ${what}`, 'ms', beside[kind].p99_us / 1000, [{ name: 'alone', value: alone[kind].p99_us / 1000, goal: '<= 2' }],
        `p50 ${(beside[kind].p50_us / 1000).toFixed(2)} beside ${(alone[kind].p50_us / 1000).toFixed(2)} ms`);
  }
}
