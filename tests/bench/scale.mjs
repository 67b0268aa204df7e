// How get, put, list and start grow with the number of records: 10 thousand to 1 million, with --full 10 million (about 15 GB of disk).

import { lines, load, number, request, row, seconds, table } from './measure.mjs';

export async function measure_scale(world) {
  const sizes = [1e4, 1e5, 1e6, ...(process.argv.includes('--full') ? [1e7] : [])];
  const rows = [];
  const server = world.server;
  const text = world.text;
  let have = 0;
  const admin = { institution: 'bench' };
  for (const size of sizes) {
    while (have < size) {
      const batch = Math.min(1000, size - have);
      const calls = [];
      for (let k = 0; k < 16 && have < size; k++) {
        const messages = Array.from({ length: Math.min(batch, size - have) }, (_, i) => ({ to: `pair:${world.pairs[(have + i) % 64].id}`, from: world.pairs[(have + i) % 64].mentor, text }));
        have += messages.length;
        calls.push(server.call('message.import', { messages }, admin));
      }
      await Promise.all(calls);
    }
    const page = await server.call('record.list', { type: 'message', limit: 500 }, admin);
    server.control.close();
    server.child.kill('SIGTERM'); // as an administrator ends it: after a kill the whole store is looked at first
    await server.exited;
    const begun = performance.now();
    await server.serve();
    const start = performance.now() - begun;
    const port = Number(new URL(server.http).port);
    const one = { port, connections: 1, depth: 1, seconds: Math.min(seconds, 3), setup: [world.setup[0]] };
    const mine = page.items.filter((m) => m.audience[0] === `pair:${world.pairs[0].id}`);
    const get = await load('call', { ...one, message: lines('scale-get', [request('record.get', { type: 'message', id: mine[0].id })]) });
    const list = await load('call', { ...one, message: lines('scale-list', [request('record.list', { type: 'message', index: 'by_to', equals: [`pair:${world.pairs[0].id}`], order: 'desc', limit: 20 })]) });
    const put = await load('call', { ...one, message: world.send });
    for (const result of [get, list, put]) if (result.errors) throw new Error(result.trouble);
    rows.push({ size, start, get: get.p50_us, list: list.p50_us, put: put.p50_us });
    console.log(`${number(size).padStart(12)} records: start ${start.toFixed(0)} ms, get ${get.p50_us} µs, list of 20 ${list.p50_us} µs, put ${put.p50_us} µs (medians, one at a time)`);
  }
  const first = rows[0];
  const last = rows.at(-1);
  for (const what of ['get', 'list', 'put', 'start']) row(`${what}, ${number(last.size)} records`, what === 'start' ? 'ms' : 'µs', last[what], [{ name: `${number(first.size)} records`, value: first[what], goal: `<= ${(Math.log(last.size) / Math.log(first.size)).toFixed(2)}`, note: 'the bound is the ratio of the logarithms' }]);
  table.push({ what: 'scale', rows });
}
