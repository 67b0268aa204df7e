// What a reload of thirty plugins does to the calls of its institution: all of them changed at once (one trial, one commit), again
// and again while a steady load runs, and one after the other. To be: no call lost, p99 at most twice of that before.
import { lines, load, middle, request, row, seconds } from './measure.mjs';

const COUNT = 30;

// As long as a small service of an author is: a record type, two methods, two tests.
const plugin = (i, round) => `
-- round ${round}
return service {
  id = "part${i}",
  records = { part${i} = { key = "uuid", title = { en = "Part ${i}", uz = "Qism ${i}", ["uz-Cyrl"] = "Қисм ${i}", ru = "Часть ${i}" },
    fields = { name = text { required = true, max_length = 200 }, points = integer { min = 0, max = 100, default = 0 }, tags = list { of = text {} } },
    indexes = { by_name = { fields = { "name" } } } } },
  methods = {
    ["part${i}.add"] = { summary = { en = "Adds one", uz = "Qoʻshadi", ["uz-Cyrl"] = "Қўшади", ru = "Добавляет" }, access = { "coordinator" }, writes = true,
      params = { name = text { required = true }, points = integer {} },
      run = function(ctx, p) return store.put("part${i}", { data = { name = p.name, points = p.points }, audience = { "institution" } }).data end },
    ["part${i}.best"] = { summary = { en = "The best", uz = "Eng yaxshisi", ["uz-Cyrl"] = "Энг яхшиси", ru = "Лучшее" }, access = "signed_in",
      run = function(ctx)
        local best
        for r in store.each("part${i}", { index = "by_name" }) do
          if not best or r.data.points > best.data.points then best = r end
        end
        return best and best.data or { round = ${round} }
      end },
  },
  tests = {
    ["one is added"] = function(t) t:equal(t:call("part${i}.add", { name = "a", points = 3 }).points, 3) end,
    ["there is none yet"] = function(t) t:equal(t:call("part${i}.best").round, ${round}) end,
  },
}
`;
const items = (round) => Array.from({ length: COUNT }, (_, i) => ({ kind: 'service', id: `part${i}`, source: plugin(i, round) }));

export async function measure_reload(world) {
  const port = Number(new URL(world.server.http).port);
  const light = { port, connections: 64, depth: 4, setup: world.setup };
  let round = 0;
  await world.place.call('plugin.import', { items: items(++round) });
  const full = await load('call', { ...light, seconds: 2, depth: 16, message: world.send });
  const ways = {
    'all at once': async () => world.place.call('plugin.import', { items: items(++round) }),
    'one after the other': async () => {
      for (const item of items(++round)) await world.place.call('plugin.deploy', item);
    },
  };
  for (const [what, reload] of Object.entries(ways)) {
    for (const [kind, message] of [['message.send', world.send], ['record.get', world.get]]) {
      const options = { ...light, message, rate: Math.round(full.per_second / 10), seconds: seconds * 2 };
      const before = await load('call', options);
      let running = true;
      const times = [];
      const reloading = (async () => {
        while (running) {
          const begun = performance.now();
          await reload();
          times.push(performance.now() - begun);
        }
      })();
      const during = await load('call', options);
      running = false;
      await reloading;
      if (during.errors || before.errors) throw new Error(`${during.errors + before.errors} calls were lost: ${during.trouble}`);
      row(`${kind} at ${options.rate}/s, p99, while ${COUNT} plugins are reloaded ${what}`, 'ms', during.p99_us / 1000,
        [{ name: 'before', value: before.p99_us / 1000, goal: '<= 2' }],
        `p50 ${(during.p50_us / 1000).toFixed(2)} beside ${(before.p50_us / 1000).toFixed(2)} ms; ${times.length} reloads, ${middle(times).toFixed(0)} ms each, no call lost`);
    }
  }
}
