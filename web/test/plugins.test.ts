// The logic of the page of plugins without a browser: what is offered while one types, differences as rows, what can be read from a
// source, what a trial of a rule says about people, and lines of the log.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { names, offers, shape, type Api } from '../src/ui/plugins/complete';
import { counts, rows } from '../src/ui/plugins/diff';
import { changes, merged } from '../src/ui/plugins/lists';
import { id_of, is_id, item_ids, method_names, own, test_names, tests_of, value_of } from '../src/ui/plugins/source';
import { kinds, override, template } from '../src/ui/plugins/templates';

// In the shape of plugin.api.
const api: Api = {
  modules: [
    {
      name: 'store',
      doc: 'Records of the institution.',
      functions: [
        { name: 'get', signature: 'type: string, id?: string -> Record?', doc: 'One record, or nil.' },
        { name: 'store.put', signature: 'type: string, record: {id: string?, data: table, audience: string[]?} -> Record', doc: 'Creates a record.', need: 'writes' },
      ],
    },
    { name: 'calendar', functions: [{ name: 'slots' }] },
    { name: '', functions: [{ name: 'inherit', signature: ' -> table', doc: 'The declaration that this plugin overrides.' }] },
    { name: 't', functions: [{ name: 'equal' }], fields: [{ name: 'ctx', type: 'Ctx' }] },
  ],
  constructors: [
    { kind: 'matcher', name: 'matcher', signature: 'declaration: table -> table' },
    { kind: 'matcher', name: 'share', signature: 'field: string -> table', doc: 'Both have one of these.' },
    { kind: 'questionnaire', name: 'likert' },
    { kind: 'schema', name: 'integer' },
  ],
  types: [{ name: 'Ctx', functions: [{ name: 'Ctx:refuse', signature: 'reason: string, data?: table' }], fields: [{ name: 'now', type: 'integer', doc: 'Milliseconds.' }] }],
};
const labels = (before: string, kind: 'matcher' | 'questionnaire' = 'matcher', text = before, asked = false): string[] | undefined => offers(api, kind, before, text, asked)?.items.map((i) => i.label);

test('after a module its functions are offered, and nothing else', () => {
  assert.deepEqual(labels('  local r = store.'), ['get', 'put']);
  const found = offers(api, 'matcher', '  local r = store.pu', '', false, (need) => `needs ${need}`)!;
  assert.equal(found.from, '  local r = store.'.length, 'the word begins behind the dot');
  const put = found.items.find((i) => i.label === 'put')!;
  assert.equal(put.detail, '(type, record) → Record');
  assert.equal(put.info, 'Creates a record.\nneeds writes');
});

test('a method of ctx is found behind a colon, a field behind a dot', () => {
  assert.deepEqual(labels('    ctx:re'), ['refuse', 'now']);
  assert.deepEqual(labels('if ctx.n'), ['refuse', 'now']);
});

test('what stands by itself is offered as a word, with what it says', () => {
  const found = offers(api, 'matcher', 'local base = inh', '', false)!.items;
  assert.deepEqual(found.filter((i) => i.label === 'inherit'), [{ label: 'inherit', kind: 'function', detail: '() → table', info: 'The declaration that this plugin overrides.' }]);
  assert.ok(!found.some((i) => i.label === ''));
  assert.deepEqual(labels('  t:e'), ['equal', 'ctx']);
});

test('constructors are those of the kind, and of the shapes that all kinds have', () => {
  assert.ok(labels('sha')!.includes('share'));
  assert.ok(!labels('lik')!.includes('likert'));
  assert.ok(labels('lik', 'questionnaire')!.includes('likert'));
  assert.ok(labels('int')!.includes('integer'));
});

test('numbers, unknown names and empty places offer nothing by themselves', () => {
  assert.equal(labels('x = 1.5'), undefined);
  assert.equal(labels('somebody.'), undefined);
  assert.equal(labels('   '), undefined);
  assert.ok(labels('   ', 'matcher', '   ', true)!.includes('matcher'), 'but for who asks');
  assert.ok(labels('"a" .. st')!.includes('store'), 'a concatenation is no member');
});

test('without an API from the server there are still the words of Lua and of the file', () => {
  const found = offers(null, 'matcher', 'ret', 'local returned_rows = 1\nret', false)!.items.map((i) => i.label);
  assert.ok(found.includes('return') && found.includes('returned_rows') && found.includes('string'));
  assert.deepEqual(offers(null, 'matcher', 'string.ge', '', false)?.items.some((i) => i.label === 'gmatch'), true);
});

test('names of the file are not taken from texts and comments, and not the one that is being typed', () => {
  assert.deepEqual(names('local alpha = "beta" -- gamma\n--[[ delta ]] omega()', 'omega'), ['alpha']);
});

test('a signature is made short, however deep its types are', () => {
  assert.equal(shape('type: string, options?: {index: string?, at: fun(a: number): number} -> fun(): Record?'), '(type, options?) → fun(): Record?');
  assert.equal(shape(''), '()');
});

test('a difference has the numbers of both sides, and says what it leaves out', () => {
  const hunks = [
    { from: 3, to: 3, lines: [{ op: ' ' as const, text: 'c' }, { op: '-' as const, text: 'd' }, { op: '+' as const, text: 'D' }, { op: '+' as const, text: 'E' }, { op: ' ' as const, text: 'f' }] },
    { from: 9, to: 10, lines: [{ op: '-' as const, text: 'x' }] },
  ];
  assert.deepEqual(
    rows(hunks).map((r) => [r.op, r.old ?? null, r.new ?? null, r.text]),
    [
      ['…', 2, null, ''],
      [' ', 3, 3, 'c'],
      ['-', 4, null, 'd'],
      ['+', null, 4, 'D'],
      ['+', null, 5, 'E'],
      [' ', 5, 6, 'f'],
      ['…', 3, null, ''],
      ['-', 9, null, 'x'],
    ],
  );
  assert.deepEqual(counts(hunks), { added: 2, removed: 2 });
  assert.deepEqual(rows([{ from: 0, to: 1, lines: [{ op: '+', text: 'a' }] }]).map((r) => [r.op, r.new]), [['+', 1]], 'a new file begins at its first line');
});

test('names of tests, items and methods are read from a source', () => {
  const source = template('questionnaire', 'first-week');
  assert.deepEqual(item_ids(source), ['q1', 'q2']);
  assert.deepEqual(test_names(source), ['a reversed item counts the other way']);
  assert.deepEqual(method_names(template('service', 'own-notes')), ['own_notes.add']);
  for (const kind of kinds) {
    assert.ok(template(kind, 'a-b').includes('id = "a-b"'));
    assert.ok(!template(kind, 'a-b').includes('@'), kind);
  }
  assert.match(override('x'), /local base = inherit\(\)[\s\S]*return base/);
});

test('tests are told from what the server answers: passed, failed with the reason, or not run', () => {
  const source = 'return matcher {\n tests = {\n  ["one"] = function(t) end,\n  ["two"] = function(t) end,\n },\n}';
  assert.deepEqual(tests_of(source, []), [{ name: 'one', ok: true }, { name: 'two', ok: true }]);
  assert.deepEqual(tests_of(source, [{ plugin: 'x', line: 3, message: 'test "one": 1 is not 2' }]), [{ name: 'one', ok: false, message: '1 is not 2', line: 3 }, { name: 'two' }]);
  assert.deepEqual(tests_of(source, [{ line: 1, message: 'syntax' }]), [{ name: 'one' }, { name: 'two' }]);
  const given = [{ name: 'theirs', ok: true }];
  assert.equal(tests_of(source, [], given), given);
});

test('a problem of another plugin has no line here', () => {
  assert.ok(own({ message: '' }, 'a') && own({ plugin: 'a', message: '' }, 'a') && own({ plugin: 'matcher/a', message: '' }, 'a'));
  assert.ok(!own({ plugin: 'b', message: '' }, 'a'));
});

test('answers are numbers, truths, words or nothing', () => {
  assert.deepEqual(['3', ' 2.5 ', 'true', 'yes', ''].map(value_of), [3, 2.5, true, 'yes', null]);
});

test('a name in any writing becomes an id', () => {
  assert.equal(id_of('Oʻqishda yordam!'), 'oqishda-yordam');
  assert.equal(id_of('7 days'), 'days');
  assert.ok(is_id(id_of('My rule 2')) && !is_id(id_of('Қоида')) && !is_id('-x'));
});

test('who loses most by a rule comes first, measured by the new rule where it knows the pair of now', () => {
  const found = changes({
    changed: [
      { mentee: 'a', from: 'm', to: 'n', from_points: 9000, from_points_now: 4000, to_points: 5000 },
      { mentee: 'b', from: 'm', to: 'n', from_points: 6000, to_points: 5000 },
    ],
    gained: [{ mentee: 'c', to: 'n', to_points: 3000 }],
    lost: [{ mentee: 'd', from: 'm', from_points: 7000 }],
  });
  assert.deepEqual(found.map((f) => [f.pair.mentee, f.change]), [['d', -7000], ['b', -1000], ['a', 1000], ['c', 3000]]);
});

test('a line of the log that comes twice is shown once, in its place, and the oldest go', () => {
  const line = (number: number, time: number) => ({ number, time, level: 'info', text: String(number) });
  const found = merged([line(3, 30)], [line(1, 10), line(2, 20), line(3, 30), line(4, 40)], 3);
  assert.deepEqual(found.map((l) => l.number), [2, 3, 4]);
});
