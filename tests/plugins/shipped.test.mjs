// The shipped plugins: their own tests, and cases with outside references, in the sandbox of live calls.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { bin, shared } from '../protocol/harness.mjs';

const plugins = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../plugins');
const folder = mkdtempSync(path.join(tmpdir(), 'hamroh-plugins-'));
test.after(() => rmSync(folder, { recursive: true }));

// {ok, text} of `hamroh worker --check FILES`.
function check(...files) {
  return new Promise((resolve) => {
    execFile(bin, ['worker', '--check', ...files, '--plugins', plugins], { timeout: 120000 }, (error, stdout, stderr) =>
      resolve({ ok: !error, text: stdout + stderr }),
    );
  });
}

// A plugin file of its own, as an institution would have it.
function plugin(kind, id, source) {
  mkdirSync(path.join(folder, kind), { recursive: true });
  const file = path.join(folder, kind, `${id}.lua`);
  writeFileSync(file, source);
  return file;
}

// A value as Lua source.
function lua(value) {
  if (value === null || value === undefined) return 'nil';
  if (Array.isArray(value)) return `{ ${value.map(lua).join(', ')} }`;
  if (typeof value === 'object') return `{ ${Object.entries(value).map(([k, v]) => `[${JSON.stringify(k)}] = ${lua(v)}`).join(', ')} }`;
  return JSON.stringify(value);
}

const data = (name) => path.join(shared, name);
const without = (...names) => {
  const missing = names.filter((n) => !existsSync(data(n)));
  return missing.length > 0 && `no ${missing.join(', ')} in ${shared}`;
};

test('every shipped plugin loads, and passes its own tests', async () => {
  const { ok, text } = await check();
  assert.ok(ok, text);
  for (const kind of ['services', 'matchers', 'activities', 'questionnaires', 'reports'])
    for (const name of readdirSync(path.join(plugins, kind)).filter((n) => n.endsWith('.lua')))
      assert.match(text, new RegExp(`ok ${kind}/${name}: [1-9]`), `${kind}/${name} has no test`);
});

test('a check that does not end is ended, and says why', async () => {
  const { ok, text } = await check('--deadline', '1', plugin('services', 'endless', 'while true do end return service { id = "endless" }\n'));
  assert.ok(!ok);
  assert.match(text, /the check took too long and was ended/);
  const wrong = await check('--deadline', 'soon');
  assert.match(wrong.text, /--deadline takes a number of seconds/);
});

test('a test that does not hold is noticed, with file and line', async () => {
  const { ok, text } = await check(plugin('services', 'wrong', `return service {
  id = "wrong",
  tests = {
    ["one is two"] = function(t)
      t:equal(1, 2)
    end,
  },
}
`));
  assert.ok(!ok);
  assert.match(text, /services\/wrong\.lua:5: .*one is two/);
});

test('every sentence stands in all four languages, Uzbek with its own letters', () => {
  const files = ['services', 'matchers', 'activities', 'questionnaires', 'reports', 'lib'].flatMap((kind) =>
    readdirSync(path.join(plugins, kind)).filter((n) => n.endsWith('.lua')).map((n) => path.join(plugins, kind, n)),
  );
  for (const file of files) {
    const source = readFileSync(file, 'utf8');
    const count = (pattern) => (source.match(pattern) ?? []).length;
    const english = count(/\ben = "/g);
    assert.equal(count(/\buz = "/g), english, `${file}: uz`);
    assert.equal(count(/\["uz-Cyrl"\] = "/g), english, `${file}: uz-Cyrl`);
    assert.equal(count(/\bru = "/g), english, `${file}: ru`);
    for (const [, text] of source.matchAll(/\buz = "([^"]*)"/g)) assert.doesNotMatch(text, /['‘’`]|[а-яё]/i, `${file}: ${text}`);
    for (const [, text] of source.matchAll(/\["uz-Cyrl"\] = "([^"]*)"/g))
      assert.doesNotMatch(text.replace(/\{[^}]*\}|GAD-7|Mini-IPIP/g, ''), /[a-zʻ]/i, `${file}: ${text}`);
  }
});

test('scores, prorated sums and bands are those of the reference cases', { skip: without('scoring_cases.json') }, async () => {
  const ids = { mini_ipip: 'mini-ipip', gad7: 'gad7' };
  const cases = JSON.parse(readFileSync(data('scoring_cases.json'), 'utf8')).cases.filter((c) => ids[c.instrument]);
  assert.ok(cases.length >= 18);
  const file = plugin('services', 'scoring-cases', `local scoring = require "lib.scoring"
local cases = ${lua(cases)}
local ids = ${lua(ids)}
return service {
  id = "scoring-cases",
  tests = {
    ["reference cases"] = function(t)
      for _, case in ipairs(cases) do
        local form = plugins.get("questionnaire", ids[case.instrument])
        local scales = {}
        for key, scale in pairs(form.scales) do scales[key] = { method = scale.method, min_answered = case.min_fraction } end
        local out = scoring.score({ items = form.items, scales = scales, bands = form.bands }, case.answers)
        for key, want in pairs(case.expected) do
          local name = case.instrument .. " " .. case.pattern .. " " .. key
          local got = out.scales[key]
          t:equal(got.k, want.k, name)
          t:equal(got.answered, want.answered, name)
          t:equal(got.min_answered, want.min_answered, name)
          if want.status then
            t:equal(out.scores[key], nil, name)
          else
            t:ok(math.abs(got.mean - want.mean) < 1e-8 and math.abs(got.sum - want.sum) < 1e-8, name)
            t:equal(got.prorated, want.prorated, name)
            t:equal(out.bands[key], want.band, name)
          end
        end
      end
    end,
  },
}
`);
  const { ok, text } = await check(file);
  assert.ok(ok, text);
});

test('change of 395 students agrees with R and numpy', { skip: without('reference.json', 'student-mat.csv') }, async () => {
  const reference = JSON.parse(readFileSync(data('reference.json'), 'utf8')).student_mat;
  const rows = readFileSync(data('student-mat.csv'), 'utf8').trim().split(/\r?\n/).slice(1)
    .map((line) => line.split(';').map((c) => c.replaceAll('"', '')).slice(30).map(Number));
  const file = plugin('services', 'change-cases', `local change = require "lib.change"
local rows = ${lua(rows)}
local reference = ${lua({ 2: reference.G1_to_G2, 3: reference.G1_to_G3 })}
return service {
  id = "change-cases",
  tests = {
    ["student-mat"] = function(t)
      for column, want in pairs(reference) do
        local before, after = {}, {}
        for i, row in ipairs(rows) do before[i], after[i] = row[1] + 0.0, row[tonumber(column)] + 0.0 end
        local got = change.describe(before, after)
        local function near(a, b, what) t:ok(math.abs(a - b) < 1e-6, what .. " " .. a .. " " .. b) end
        t:equal(got.n, want.n)
        near(got.before.mean, want.mean_pre, "mean before")
        near(got.after.mean, want.mean_post, "mean after")
        near(got.before.sd, want.sd_pre, "sd before")
        near(got.after.sd, want.sd_post, "sd after")
        near(got.change.mean, want.mean_diff, "change")
        near(got.change.low, want.ci95_mean_diff[1], "low")
        near(got.change.high, want.ci95_mean_diff[2], "high")
        near(got.d_av, want.g_av, "d_av with Hedges' correction")
        near(got.d_z, want.g_z, "d_z with Hedges' correction")
      end
    end,
  },
}
`);
  const { ok, text } = await check(file);
  assert.ok(ok, text);
});

test('a table as Excel writes it in Uzbekistan is read whatever its code page', { skip: without('csv-habits') }, async () => {
  const names = ['excel-semicolon-cp1251.csv', 'excel-semicolon-utf8bom.csv', 'excel-unicode-text-utf16le.txt'];
  const bytes = names.map((n) => [...readFileSync(path.join(data('csv-habits'), n))].map((b) => `\\${String(b).padStart(3, '0')}`).join(''));
  const file = plugin('services', 'csv-cases', `local files = { ${bytes.map((b) => `"${b}"`).join(', ')} }
return service {
  id = "csv-cases",
  tests = {
    ["every file has its rows"] = function(t)
      for i, bytes in ipairs(files) do
        local rows = text.csv(bytes).rows
        t:ok(#rows >= 3, "file " .. i)
        for _, row in ipairs(rows) do t:equal(#row.cells, 4, "file " .. i) end
      end
    end,
  },
}
`);
  const { ok, text } = await check(file);
  assert.ok(ok, text);
});
