// What the text format 0.0.4 of Prometheus and its naming rules ask of /metrics, and what we ask beyond them: families of one
// piece, base units, few labels. Gives the families as {name: {type, samples: [{name, labels, value}]}}; throws at the first
// line that is not right. (`promtool check metrics` checks some of it, and is run beside this where it is installed.)
import assert from 'node:assert/strict';

const labels_allowed = new Set(['institution', 'outcome', 'limit', 'reason', 'le', 'version', 'waited_for', 'channel']);
const value_pattern = /^(?:[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|\+Inf|-Inf|NaN)$/;
const sample_pattern = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$/;

function labels_of(text, line) {
  const labels = {};
  for (const [, name, value] of (text ?? '').matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g)) {
    assert.ok(!(name in labels), `a label twice: ${line}`);
    assert.ok(labels_allowed.has(name), `a label that nobody agreed on: ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
  }
  return labels;
}

const base_of = (name, type) => (type === 'histogram' ? name.replace(/_(bucket|sum|count)$/, '') : name);

function check_name(name, type) {
  assert.match(name, /^(hamroh|process)_[a-z][a-z0-9]*(_[a-z0-9]+)*$/, `${name}: a name of ours`);
  if (type === 'counter') assert.match(name, /_total$/, `${name}: a counter ends in _total`);
  else assert.doesNotMatch(name, /_(total|count|sum|bucket|info_total)$/, `${name}: only a counter may end so`);
  assert.doesNotMatch(name, /(^|_)(ms|us|milliseconds|microseconds|minutes|hours|kb|mb|kilobytes|megabytes|percent|counter|gauge|histogram)(_|$)/, `${name}: base units, no types`);
  const words = name.replace(/_total$/, '').split('_');
  for (const unit of ['seconds', 'bytes'])
    assert.ok(!words.includes(unit) || words.at(-1) === unit, `${name}: the unit comes last`);
}

function check_histogram(name, samples) {
  const buckets = samples.filter((s) => s.name === `${name}_bucket`);
  const bounds = buckets.map((s) => (s.labels.le === '+Inf' ? Infinity : Number(s.labels.le)));
  assert.ok(buckets.length > 2 && bounds.at(-1) === Infinity, `${name}: ends with +Inf`);
  for (let i = 1; i < buckets.length; i++) {
    assert.ok(bounds[i] > bounds[i - 1], `${name}: bounds ascend`);
    assert.ok(buckets[i].value >= buckets[i - 1].value, `${name}: buckets are cumulative`);
  }
  const count = samples.find((s) => s.name === `${name}_count`), sum = samples.find((s) => s.name === `${name}_sum`);
  assert.ok(count && sum, `${name}: has a sum and a count`);
  assert.equal(buckets.at(-1).value, count.value, `${name}: the last bucket is the count`);
  assert.ok(count.value > 0 || sum.value === 0, `${name}: a sum of nothing`);
}

export function exposition(text) {
  assert.ok(text.endsWith('\n'), 'ends with a line end');
  const families = {}, seen = new Set();
  let help, family;
  for (const line of text.slice(0, -1).split('\n')) {
    const head = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (head?.[1] === 'HELP') {
      assert.ok(!(head[2] in families), `a family twice: ${line}`);
      assert.ok(!help, `HELP without TYPE before: ${line}`);
      help = head[2];
    } else if (head) {
      assert.equal(help, head[2], `TYPE behind its HELP: ${line}`);
      assert.match(head[3], /^(counter|gauge|histogram)$/);
      check_name(head[2], head[3]);
      family = { name: head[2], type: head[3], samples: [] };
      families[head[2]] = family;
      help = undefined;
    } else {
      const found = sample_pattern.exec(line);
      assert.ok(found && !help && family, `no sample: ${line}`);
      const [, name, labels, value] = found;
      assert.equal(base_of(name, family.type), family.name, `a sample outside its family: ${line}`);
      assert.match(value, value_pattern, line);
      const series = `${name}{${labels ?? ''}}`;
      assert.ok(!seen.has(series), `a series twice: ${line}`);
      seen.add(series);
      family.samples.push({ name, labels: labels_of(labels, line), value: Number(value.replace('Inf', 'Infinity')) });
    }
  }
  for (const { name, type, samples } of Object.values(families)) {
    assert.ok(samples.length, `${name}: a family without samples`);
    if (type === 'histogram') check_histogram(name, samples);
    if (type === 'counter') for (const s of samples) assert.ok(s.value >= 0, `${name}: a counter below zero`);
  }
  return families;
}

// The value of one series.
export function value(families, name, labels = {}) {
  const family = families[name] ?? Object.values(families).find((f) => f.type === 'histogram' && name.startsWith(f.name));
  const found = family?.samples.find((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v));
  assert.ok(found, `no series ${name} ${JSON.stringify(labels)}`);
  return found.value;
}
