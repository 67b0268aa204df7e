// What plugins do at times: in the institution's zone, once for each time, also through kill -9; missed times are made up for
// once; a job; what keeps failing is given up until its next time. The clock is moved by hand.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Server, refused, sleep, slow } from './harness.mjs';

const settings = 'return { clock = "manual", reaction_tries = 3, reaction_retry_ms = 20 }';
const MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

const clock = (every, more = '') => `
local function ran(name)
  return function(ctx, due)
    store.put("ran", { data = { name = name, due = due, at = ctx.now } })
  end
end
return service {
  id = "clock",
  records = { ran = { fields = { name = text {}, due = time {}, at = time {} }, indexes = { by_name = { fields = { "name", "due" } } } } },
  methods = { ["clock.ran"] = { access = "public", params = { name = text {} }, run = function(ctx, p)
    local out = store.array {}
    for r in store.each("ran", { index = "by_name", equals = { p.name } }) do
      local l = calendar.local_time(r.data.due)
      out[#out + 1] = { due = r.data.due, at = r.data.at, text = ("%s %02d:%02d"):format(calendar.date(r.data.due), l.hour, l.minute) }
    end
    return out
  end } },
  every = { ${every} },
  ${more}
}`;

async function eventually(what, holds, ms = 20000 * slow) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
  }
}

const all_timers = async (place) => (await place.call('plugin.timers')).items; // shipped services have some, too
const timers = async (place) => (await all_timers(place)).filter((t) => t.plugin === 'clock');
const ran = (place, name) => place.call('clock.ran', { name });
// Every timer's next time is ahead, and none is being retried: all that was due has been done.
const settled = (server, place) =>
  eventually('the timers have settled', async () => {
    const { time: now } = await server.call('clock.advance', { ms: 0 });
    return (await all_timers(place)).every((t) => t.next > now && t.tries === 0);
  });
const advance = async (server, place, ms) => {
  await server.call('clock.advance', { ms });
  await settled(server, place);
};

function with_server(name, body) {
  test(name, { timeout: 120000 * slow }, async () => {
    const server = await Server.start({ settings });
    try {
      const place = await server.institution('school');
      await body(server, place);
      await server.stop();
    } catch (error) {
      console.error(`--- log of the server ---\n${server.log.slice(-8000)}`);
      await server.kill().catch(() => {});
      throw error;
    }
  });
}

with_server('a time comes once a day, in the zone of the institution', async (server, place) => {
  await place.deploy('service', 'clock', clock('["30 8 * * *"] = ran("daily"), ["0 0 * * sun"] = ran("weekly")'));
  assert.deepEqual((await timers(place)).map((t) => [t.plugin, t.cron, t.job]).sort(), [['clock', '0 0 * * sun', false], ['clock', '30 8 * * *', false]]);
  for (let hour = 0; hour < 24 * 8; hour += 2) await advance(server, place, 2 * HOUR);
  const daily = await ran(place, 'daily');
  assert.equal(daily.length, 8);
  for (const { text, at, due } of daily) {
    assert.match(text, / 08:30$/);
    assert.ok(at >= due && at < due + 2 * HOUR);
  }
  for (let i = 1; i < 8; i++) assert.equal(daily[i].due - daily[i - 1].due, DAY);
  const weekly = await ran(place, 'weekly');
  assert.ok(weekly.length === 1 || weekly.length === 2);
  for (const { due } of weekly) assert.equal(new Date(due + 5 * HOUR).getUTCDay(), 0);
});

with_server('kill -9 at any moment makes a time come neither twice nor not at all', async (server, place) => {
  await place.deploy('service', 'clock', clock('["*/10 * * * *"] = ran("tens")'));
  let expected = 0;
  for (let round = 0; round < 6; round++) {
    const before = (await timers(place))[0].last;
    const { time: now } = await server.call('clock.advance', { ms: 10 * MINUTE });
    await sleep((round * 37) % 130); // another moment each time
    await server.kill();
    await server.serve();
    // The manual clock begins with the machine's; it is put where it was.
    const started = await server.call('clock.advance', { ms: 0 });
    if (started.time < now) await server.call('clock.advance', { ms: now - started.time });
    await settled(server, place);
    assert.ok((await timers(place))[0].last > before);
    expected++;
  }
  const tens = await ran(place, 'tens');
  assert.equal(new Set(tens.map((r) => r.due)).size, tens.length, 'a time came twice');
  assert.ok(tens.length >= expected, `${tens.length} of ${expected}`);
  for (let i = 1; i < tens.length; i++) assert.equal((tens[i].due - tens[i - 1].due) % (10 * MINUTE), 0);
});

with_server('of times that were missed the last alone is made up for', async (server, place) => {
  await place.deploy('service', 'clock', clock('["0 8 * * *"] = ran("daily")'));
  await advance(server, place, 20 * DAY);
  const daily = await ran(place, 'daily');
  assert.equal(daily.length, 1);
  assert.ok(daily[0].at - daily[0].due < DAY);
  await advance(server, place, DAY);
  assert.equal((await ran(place, 'daily')).length, 2);
});

with_server('a job is begun once, and writes in its short part', async (server, place) => {
  await place.deploy('service', 'clock', clock(`["0 3 * * *"] = { job = true,
    run = function(ctx, due) local n = 0 for _ in store.each("ran") do n = n + 1 end return { n = n } end,
    done = function(ctx, due, result)
      store.put("ran", { data = { name = "job" .. result.n, due = due, at = ctx.now } })
      return { counted = result.n }
    end }`));
  assert.equal((await timers(place))[0].job, true);
  await advance(server, place, DAY);
  const [one] = await eventually('the job', async () => {
    const found = await ran(place, 'job0');
    return found.length && found;
  });
  assert.match(one.text, / 03:00$/);
  const { items } = await place.call('job.list');
  assert.equal(items.length, 1);
  await eventually('its end', async () => (await place.call('job.list')).items[0].data.state === 'done');
  assert.deepEqual((await place.call('job.list')).items[0].data.result, { counted: 0 });
});

with_server('a time that keeps failing is given up until it comes again, and another version is tried at once', async (server, place) => {
  await place.deploy('service', 'clock', clock('["0 8 * * *"] = function() error("no") end, ["5 8 * * *"] = ran("after")'));
  await advance(server, place, DAY);
  const [failed] = (await timers(place)).filter((t) => t.cron === '0 8 * * *');
  assert.ok(failed.failed > 0 && failed.failed === failed.last);
  assert.equal(failed.code, -32006);
  assert.equal((await ran(place, 'after')).length, 1, 'the other one ran');
  assert.match(await server.metrics(), /hamroh_timer_failures_total 3/);
  assert.match(server.log, /"event":"timer\.given_up","institution":"school","plugin":"service\/clock"/);
  await place.deploy('service', 'clock', clock('["0 8 * * *"] = ran("daily"), ["5 8 * * *"] = ran("after")'));
  await advance(server, place, DAY);
  assert.equal((await ran(place, 'daily')).length, 1);
  assert.equal((await timers(place)).find((t) => t.cron === '0 8 * * *').failed, undefined);
});

with_server('a wrong time is refused at the deploy, with what is wrong with it', async (server, place) => {
  const error = await refused(place.deploy('service', 'clock', clock('["0 8 * * funday"] = ran("daily")')), -32006);
  assert.match(error.data.errors[0].message, /every\.0 8 \* \* funday: day of the week "funday"/);
  assert.equal(error.data.errors[0].file, 'services/clock.lua');
  const never = await refused(place.deploy('service', 'clock', clock('["0 0 31 2 *"] = ran("daily")')), -32006);
  assert.match(never.data.errors[0].message, /never comes/);
});
