// The whole job, once, through the protocol, on 395 real students of two schools (two institutions): import with preview
// and report, match by the shipped rule, approve, talk live, measure again, read what changed.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { job_result, refused, serve_for, shared, slow } from './harness.mjs';
import { programme } from './people.mjs';

const file = path.join(shared, 'student-mat.csv');
const skip = !existsSync(file) && `no ${file} (set HAMROH_SHARED_DATA)`;
const here = path.dirname(fileURLToPath(import.meta.url));

if (skip) test('the whole job on 395 real students', { skip }, () => {});
else main();

function main() {
  const csv = readFileSync(file, 'utf8');
  const map = JSON.parse(readFileSync(path.join(here, 'student-mat.map.json'), 'utf8'));
  const rows = csv.trim().split(/\r?\n/).slice(1).map((line, i) => {
    const cells = line.split(';').map((c) => c.replaceAll('"', ''));
    return { line: i + 2, school: cells[0], g1: Number(cells[30]), g3: Number(cells[32]) };
  });
  const schools = ['GP', 'MS'].map((school) => ({
    school,
    id: school.toLowerCase(),
    map: { ...map, where: { school } },
    rows: rows.filter((r) => r.school === school),
  }));

  const world = serve_for(test, {}, async (server) => {
    for (const s of schools) {
      s.place = await server.institution(s.id, `School ${s.school}`);
      await s.place.account('lead', ['coordinator'], 'staff-lead');
      s.lead = await s.place.client('lead');
      s.call = s.lead.call.bind(s.lead);
      s.lead.call_ms = 120000 * slow;
    }
    return {};
  });
  test.after(() => schools.forEach((s) => s.lead?.close()));

  const apply = (s, text) => s.call('roster.apply', { csv: text, map: s.map }).then((started) => job_result(s.call, started));

  for (const s of schools) {
    const n = s.rows.length;

    world.test(`${s.school}: the preview says what an import would do, and writes nothing`, async () => {
      const preview = await s.call('roster.preview', { csv, map: s.map });
      assert.deepEqual([preview.total, preview.outside], [n, rows.length - n]);
      assert.equal(preview.created, n);
      assert.equal(preview.updated, 0);
      assert.deepEqual(preview.skipped, []);
      assert.ok(preview.columns.includes('G1'));
      assert.ok(preview.sample.length > 0);
      assert.equal(preview.sample[0].line, s.rows[0].line);
      assert.equal((await s.call('record.count', { type: 'person' })).count, 0);
    });

    world.test(`${s.school}: unreadable rows are skipped and named with line and reason, the rest is taken`, async () => {
      const lines = csv.trimEnd().split('\n');
      const bad = s.rows[3].line;
      lines[bad - 1] = lines[bad - 1].replace(/;"?\d+"?;"?\d+"?;(\d+)\s*$/, ';"many";"5";$1');
      const preview = await s.call('roster.preview', { csv: lines.join('\n') + '\n', map: s.map });
      assert.equal(preview.skipped.length, 1);
      assert.equal(preview.skipped[0].line, bad);
      assert.ok(preview.skipped[0].reason);
      assert.equal(preview.created, n - 1);
    });

    world.test(`${s.school}: the import takes all ${n}, and a second one changes nothing`, { timeout: 180000 * slow }, async () => {
      const first = await apply(s, csv);
      assert.equal(first.created, n);
      assert.deepEqual(first.skipped, []);
      const { count } = await s.call('record.count', { type: 'person' });
      assert.equal(count, n);
      const seq = (await s.call('record.list', { type: 'measure', limit: 1 })).seq;
      const second = await apply(s, csv);
      assert.deepEqual([second.created, second.updated, second.unchanged], [0, 0, n]);
      const { items } = await s.call('record.list', { type: 'person', limit: 500 });
      assert.ok(items.every((p) => p.version <= seq), 'a person was written again');
      assert.equal((await s.call('record.count', { type: 'person' })).count, n);
    });

    world.test(`${s.school}: the first grade is the measure before, the last one after, and absent ones are missing`, async () => {
      for (const [moment, expected] of [['before', s.rows.map((r) => r.g1)], ['after', s.rows.map((r) => r.g3).filter((g) => g !== 0)]]) {
        const query = { type: 'measure', index: 'by_name', equals: ['grade', moment] };
        assert.equal((await s.call('record.count', query)).count, expected.length, moment);
        const { items } = await s.call('record.list', { ...query, limit: 500 });
        const sum = (list) => list.reduce((a, b) => a + b, 0);
        assert.equal(items.length, expected.length);
        assert.equal(sum(items.map((m) => m.data.value)), sum(expected), moment);
      }
    });

    world.test(`${s.school}: who is weak is matched with who is strong, with reasons, within capacity`, { timeout: 180000 * slow }, async () => {
      s.programme = await programme(s.call, `Autumn at ${s.school}`);
      const result = await job_result(s.call, await s.call('match.run', { programme: s.programme, rule: 'successful-unsuccessful' }));
      s.proposal = result.proposal;
      const people = new Map();
      let cursor = null;
      do {
        const page = await s.call('record.list', { type: 'person', limit: 500, ...(cursor && { cursor }) });
        for (const p of page.items) people.set(p.id, p.data);
        cursor = page.cursor;
      } while (cursor);
      const strong = [...people.values()].filter((p) => p.gpa >= 4).length;
      const weak = [...people.values()].filter((p) => p.gpa < 3).length;
      const { data } = await s.call('record.get', { type: 'proposal', id: s.proposal });
      assert.equal(data.matched, Math.min(weak, strong * 3), 'every place that somebody needs is used');
      const pairs = [];
      cursor = null;
      do {
        const page = await s.call('record.list', { type: 'proposal_pair', index: 'by_proposal', equals: [s.proposal], limit: 500, ...(cursor && { cursor }) });
        pairs.push(...page.items.map((p) => p.data));
        cursor = page.cursor;
      } while (cursor);
      assert.equal(pairs.length, data.matched);
      const held = {};
      for (const pair of pairs) {
        assert.ok(people.get(pair.mentor).gpa >= 4 && people.get(pair.mentee).gpa < 3);
        assert.notEqual(pair.mentor, pair.mentee);
        assert.ok(pair.reasons.length > 0 && pair.reasons.every((r) => r.text), 'a pair without reasons in words');
        assert.equal(pair.reasons.reduce((a, r) => a + (r.points ?? 0), 0), pair.points, 'the parts are not the sum');
        held[pair.mentor] = (held[pair.mentor] ?? 0) + 1;
      }
      assert.ok(Object.values(held).every((c) => c <= 3), 'a mentor got more than capacity');
      assert.equal(new Set(pairs.map((p) => p.mentee)).size, pairs.length, 'a mentee was matched twice');
      s.pairs = pairs;
    });

    world.test(`${s.school}: the coordinator changes a pair, approves, and the pairs are there`, async () => {
      const candidates = await s.call('match.candidates', { proposal: s.proposal, mentee: s.pairs[0].mentee });
      const list = candidates.items ?? candidates;
      assert.ok(list.length > 0 && list.every((c) => c.reasons?.length > 0), 'candidates without reasons');
      const other = list.find((c) => (c.mentor ?? c.person) !== s.pairs[0].mentor && (c.free ?? 0) > 0);
      if (other) {
        const chosen = other.mentor ?? other.person;
        await s.call('match.change', { proposal: s.proposal, mentee: s.pairs[0].mentee, mentor: chosen, locked: true });
        s.pairs[0].mentor = chosen;
      } else {
        await s.call('match.change', { proposal: s.proposal, mentee: s.pairs[0].mentee, mentor: null });
        s.pairs.shift();
      }
      const approved = await s.call('match.approve', { proposal: s.proposal });
      assert.equal(approved.pairs, s.pairs.length);
      assert.equal((await s.call('record.count', { type: 'pair', index: 'by_programme', equals: [s.programme] })).count, s.pairs.length);
      await refused(s.call('match.approve', { proposal: s.proposal }));
    });

    world.test(`${s.school}: a message of the mentor reaches the mentee's open feed, and no one else's`, async () => {
      const { items } = await s.call('record.list', { type: 'pair', index: 'by_programme', equals: [s.programme], limit: 2 });
      const [pair, foreign] = items;
      const join = async (person, login) => {
        const { code } = await s.call('person.invite', { person });
        const client = await world.server.connect();
        const session = await client.call('session.accept', { institution: s.id, code, login, password: 'a long enough password' });
        client.token = session.token;
        return client;
      };
      const mentor = await join(pair.data.mentor, 'the-mentor');
      const mentee = await join(pair.data.mentee, 'the-mentee');
      const outsider = await join(foreign.data.mentee, 'the-outsider');
      await mentee.open_feed();
      await outsider.open_feed();
      const text = 'Salom! Shanba kuni uchrashamizmi?';
      const sent = await mentor.call('message.send', { to: `pair:${pair.id}`, text });
      const event = await mentee.event('the message', (e) => e.type === 'message' && e.id === sent.id);
      assert.equal(event.record.data.text, text);
      assert.equal(event.record.data.from, pair.data.mentor);
      await refused(outsider.call('message.send', { to: `pair:${pair.id}`, text: 'me too' }));
      await refused(outsider.call('record.get', { type: 'message', id: sent.id }), -32003);
      assert.ok(!outsider.feed.some((e) => e.type === 'message'));
      const reply = await mentee.call('message.send', { to: `pair:${pair.id}`, text: 'Albatta' });
      assert.ok(reply.id);
      const { slots } = await mentor.call('meeting.slots', { pair: pair.id });
      assert.ok(slots.length > 0, 'both are free at the same hours');
      const meeting = await mentor.call('meeting.propose', { pair: pair.id, starts: slots[0].starts });
      const proposed = await mentee.event('the meeting', (e) => e.type === 'meeting');
      assert.equal(proposed.id, meeting.id);
      await mentee.call('meeting.answer', { meeting: meeting.id, accept: true });
      [mentor, mentee, outsider].forEach((c) => c.close());
    });

    world.test(`${s.school}: the report shows before and after with n and an interval, and warns of regression to the mean`, async () => {
      const report = await s.call('report.run', { report: 'before-after', params: { programme: s.programme, measure: 'grade', compare: false } });
      const group = report.groups.find((g) => g.name === 'mentees') ?? report.groups[0];
      const by_key = new Map((await everybody(s)).map((p) => [p.id, s.rows.find((r) => p.data.external_id === `${s.school}-${r.line}`)]));
      const both = s.pairs.map((p) => by_key.get(p.mentee)).filter((r) => r.g3 !== 0);
      assert.equal(group.n, both.length);
      const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
      const near = (a, b) => Math.abs(a - b) < 0.006; // reports may round to two digits
      assert.ok(near(group.before.mean, mean(both.map((r) => r.g1))), `before ${group.before.mean}`);
      assert.ok(near(group.after.mean, mean(both.map((r) => r.g3))), `after ${group.after.mean}`);
      const change = mean(both.map((r) => r.g3 - r.g1));
      assert.ok(near(group.change.mean, change), `change ${group.change.mean}`);
      assert.ok(group.change.low < group.change.mean && group.change.mean < group.change.high);
      assert.ok(report.sentences.some((x) => x.key === 'report.regression_to_mean'), JSON.stringify(report.sentences.map((x) => x.key)));
      assert.ok(report.sentences.every((x) => x.text));
    });
  }

  async function everybody(s) {
    const all = [];
    let cursor = null;
    do {
      const page = await s.call('record.list', { type: 'person', limit: 500, ...(cursor && { cursor }) });
      all.push(...page.items);
      cursor = page.cursor;
    } while (cursor);
    return all;
  }

  world.test('neither school sees anything of the other', async () => {
    const [gp, ms] = schools;
    const theirs = (await everybody(ms))[0];
    await refused(gp.call('record.get', { type: 'person', id: theirs.id }), -32003);
    assert.ok((await everybody(gp)).every((p) => p.data.external_id.startsWith('GP-')));
  });
}
