// Hostile scripts by seed: a grammar of what a plugin can say, with a taste for what does not end, grows, recurses, breaks
// tables and catches errors. The same seed gives the same script. Most are bodies of methods (many fit into one plugin); some are
// whole files, of which most are refused when they are deployed.

export function generator(seed) {
  let state = seed >>> 0;
  // mulberry32
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class Script {
  constructor(seed) {
    this.random = generator(seed);
    this.depth = 0;
    this.labels = 0;
  }
  below(n) {
    return Math.floor(this.random() * n);
  }
  pick(...list) {
    const one = list[this.below(list.length)];
    return typeof one === 'function' ? one() : one;
  }
  // Deep inside the simplest is taken, so that every script ends.
  deeper(rich, plain) {
    if (this.depth > 5) return plain();
    this.depth++;
    const text = rich();
    this.depth--;
    return text;
  }
  some(most, make, between) {
    return Array.from({ length: this.below(most + 1) }, make).join(between);
  }

  // ---- values

  number() {
    return this.deeper(
      () => this.pick('0', '1', '-1', '3', '7', '255', '1000', '65536', '300000', '1e308', '-1e308', '(0/0)', '(1/0)', 'math.maxinteger', 'math.mininteger', '(1 << 62)', '2^53',
        '1.5', 'ctx.now', '#list', 'kept.n', 'n', () => `#${this.table()}`, () => `(${this.number()} ${this.pick('+', '-', '*', '/', '//', '%', '^', '&', '|', '<<', '>>')} ${this.number()})`),
      () => this.pick('0', '1', '2', '9'),
    );
  }
  pattern() {
    const item = () => this.pick('.', 'a', '%a', '%w', '[^b]', '[%a-z]', '%s', '%b()', '%f[%w]', '(a)', '()', '%1', '(', ')', '[', '%', '\\0', '(.-)', 'a-', '.*', '.-', 'a?', '%d+', '[a-]*');
    return `"${this.pick('', '^')}${Array.from({ length: 1 + this.below(9) }, item).join('')}${this.pick('', '$', 'b')}"`;
  }
  string() {
    return this.deeper(
      () => this.pick('"x"', '""', '"note"', '"\\0\\255\\xc3"', '"oʻzbek"', 's', 'kept.s', () => this.pattern(), () => `tostring(${this.any()})`, () => `("${this.pick('a', '(', 'ab', 'x,y\\n', '{\\"a\\":[')}"):rep(${this.pick('3', '40', '3000', '70000', '1 << 20', '1 << 60', () => this.number())})`,
        () => `(${this.string()} .. ${this.string()})`, () => `("%${this.pick('s', 'd', '5.3f', 'q', 'p', '99.99f', '-20s', 'c', 'x', 'i')}"):format(${this.any()})`, () => `string.char(${this.some(3, () => this.number(), ', ')})`,
        () => `(${this.string()}):sub(${this.number()}, ${this.number()})`, () => `utf8.char(${this.number()})`),
      () => this.pick('"x"', 's', '""'),
    );
  }
  meta() {
    const event = () => `${this.pick('__index', '__newindex', '__len', '__call', '__tostring', '__eq', '__lt', '__concat', '__close', '__gc', '__mode', '__pairs', '__metatable', '__name', '__add')} = ${this.any()}`;
    return `{ ${this.some(3, event, ', ')} }`;
  }
  table() {
    return this.deeper(
      () => this.pick('{}', 'list', 'kept', 'class', 't', 'cycle()', 'border()', 'p', 'ctx', '_ENV', 'string', 'store', () => `fill(${this.pick('10', '1000', '100000', '1e9')}, ${this.any()})`, () => `{ ${this.some(4, () => this.any(), ', ')} }`,
        () => `{ ${this.some(3, () => `${this.pick('a', 'n', 'id', 'data', 'type', 'index', 'equals', 'audience')} = ${this.any()}`, ', ')} }`, () => `setmetatable(${this.table()}, ${this.pick('class', () => this.meta())})`, () => `store.array(${this.table()})`,
        () => `(getmetatable(${this.any()}) or {})`, () => `plugins.all(${this.string()})`),
      () => this.pick('{}', 'list', 't'),
    );
  }
  fn() {
    return this.deeper(
      () => this.pick('f', 'pcall', 'error', 'next', 'tostring', 'math.ult', 'string.rep', 'setmetatable', 'table.sort', 'function() while true do end end', 'function(...) return ... end', 'function(a, b) return true end', () => `function(...) ${this.block()} end`, () => `wild(${this.below(1000)})`),
      () => 'f',
    );
  }
  any() {
    return this.pick(() => this.number(), () => this.string(), () => this.table(), () => this.fn(), 'nil', 'true', 'false', 'store.null', 't', 's', 'n', '...', () => this.call());
  }
  args() {
    return this.some(4, () => this.any(), ', ');
  }
  call() {
    return this.deeper(
      () => this.pick(
        () => `pcall(${this.fn()}, ${this.any()})`,
        () => `wild(${this.below(1000)})(${this.args()})`,
        () => `(${this.string()}):${this.pick('find', 'match', 'gmatch')}(${this.pattern()})`,
        () => `(${this.string()}):gsub(${this.pattern()}, ${this.pick(() => this.fn(), () => this.table(), () => this.string())})`,
        () => `(${this.string()}):find(${this.string()}, ${this.number()}, true)`,
        () => `table.${this.pick('insert', 'remove', 'concat', 'move', 'sort', 'unpack', 'pack')}(${this.table()}, ${this.args() || 'nil'})`,
        () => `table.sort(fill(${this.pick('50', '2000')}, ${this.any()}), ${this.fn()})`,
        () => `store.${this.pick('get', 'put', 'patch', 'delete', 'each', 'count')}(${this.pick('"note"', '"note"', () => this.string())}, ${this.args() || 'nil'})`,
        () => `store.put("note", { id = ${this.string()}, data = { s = ${this.string()} } })`,
        () => `ctx:${this.pick('random', 'uuid', 'refuse', 'require', 'has_role', 'can_see', 'invalid', 'not_found', 'progress', 'call')}(${this.args()})`,
        () => `ctx:call("fuzz.s${this.below(25)}", ${this.table()})`,
        () => `log.${this.pick('info', 'warn')}(${this.string()})`,
        () => `text.${this.pick('csv', 'split', 'fold', 'trim', 'pick', 'length', 'match_date')}(${this.string()}, ${this.string()})`,
        () => `select(${this.number()}, ${this.any()})`, () => `setmetatable(${this.table()}, ${this.meta()})`, () => `next(${this.table()}, ${this.any()})`, () => `f(${this.args()})`, () => `ids(${this.fn()}, ${this.number()})`,
      ),
      () => 'f()',
    );
  }

  // ---- statements

  target() {
    return this.pick('t', 's', 'n', 'f', 't.a', 't[1]', 'kept.n', 'list[#list + 1]', 'class.x', 'string.rep', () => `t[${this.number()}]`, () => `${this.pick('kept', 'list', 't')}[${this.string()}]`);
  }
  statement() {
    return this.deeper(
      () => this.pick(
        () => `${this.target()} = ${this.any()}`,
        () => `local _ = ${this.call()}`,
        () => `local _ = ${this.call()}`,
        () => `pcall(function(...) ${this.block()} end)`,
        () => `while true do ${this.block()} end`,
        () => `while ${this.pick('n < 1e9', 'not n', '#s < 1e9', 't')} do ${this.block()} end`,
        () => `repeat ${this.block()} until ${this.pick('false', 'n', '#s > 100')}`,
        () => `for i = ${this.number()}, ${this.number()} do ${this.block()} end`,
        () => `for k, v in ${this.pick('pairs', 'ipairs')}(${this.table()}) do ${this.block()} end`,
        () => `for w in (${this.string()}):gmatch(${this.pattern()}) do ${this.block()} end`,
        () => `for r in store.each("note") do ${this.block()} end`,
        () => this.again(),
        () => `do local closing <close> = closes(function(...) ${this.block()} end) ${this.block()} end`,
        () => `local function r(...) ${this.block()} return r(...), 1 end r(${this.any()})`,
        () => 's = s .. s', () => `if ${this.any()} then ${this.block()} else ${this.block()} end`, () => `error(${this.any()}, ${this.number()})`, () => 'error(setmetatable({}, { __tostring = function() while true do end end }))',
        () => 'pcall(string.rep)', () => 'n = (n or 0) + 1', () => `t = ${this.table()}`,
      ),
      () => this.pick('n = 1', 's = s .. "x"', 't = {}'),
    );
  }
  again() {
    const label = `again${this.labels++}`;
    return `do ::${label}:: ${this.block()} goto ${label} end`;
  }
  block() {
    return this.some(3, () => this.statement(), ' ');
  }
  // Most of it goes on behind an error: else the first value of a wrong type would end nearly every script.
  body() {
    const tried = () => (this.below(4) ? `pcall(function(...) ${this.statement()} end)` : this.statement());
    return `${Array.from({ length: 2 + this.below(5) }, tried).join(' ')} do return ${this.any()} end`;
  }
}

// What every plugin of bodies has at its top. wild(i): any function there is, whatever the server offers.
const top = `
local kept, list, class = { n = 7, s = "kept", deep = { n = 7 } }, { 1, 2, 3 }, {}
class.__index = class
local all, names = {}, {}
for name in pairs(_ENV) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local value, inner = _ENV[name], {}
  if type(value) == "function" then all[#all + 1] = value end
  if type(value) == "table" and name ~= "_ENV" then
    for key, v in pairs(value) do if type(key) == "string" and type(v) == "function" then inner[#inner + 1] = key end end
    table.sort(inner)
    for _, key in ipairs(inner) do all[#all + 1] = value[key] end
  end
end
local function wild(i) return all[i % #all + 1] end
local function cycle() local t = {} t.t, t[1] = t, t return t end
local function border() local t = {} for k = 61, 0, -1 do t[1 << k] = 1 end return t end
local function fill(most, v) local t = {} for i = 1, most do t[i] = v or i end return t end
local function closes(fn) local m = setmetatable({}, {}) getmetatable(m).__close = fn return m end
local function ids(fn, n) local t = {} for i = 1, 10 do t[i] = fn(i, n) end return t end
local function f(...) return ... end
`;

export const bodies_per_plugin = 25;

// A plugin whose methods fuzz.s0 … are the scripts of these seeds; fuzz.state says what a call must not change.
export function plugin_of_bodies(seeds) {
  const methods = seeds.map((seed, i) => `["fuzz.s${i}"] = { access = "signed_in", writes = true, open_params = true, run = function(ctx, p, ...)
  local t, s, n, f = {}, "s", 1, f ${new Script(seed).body()} end },`);
  return `${top}
return service { id = "fuzz", records = { note = { key = "natural", fields = { s = text {} } } }, methods = {
["fuzz.state"] = { access = "signed_in", run = function() return { kept.n, kept.s, kept.deep.n, #list, list[1], rawlen(all) > 50, rawget(class, "x") == nil, string.rep("x", 2) } end },
${methods.join('\n')} } }`;
}
export const untouched = [7, 'kept', 7, 3, 1, true, true, 'xx'];

// A whole file: noise at the top of it, broken syntax, deep nesting, state in variables.
export function whole_file(seed) {
  const script = new Script(seed);
  const body = `local ctx, p, t, s, n, list, kept, class = {}, {}, {}, "s", 1, {}, {}, {} ${top.slice(top.indexOf('local all'))}`;
  const plain = plugin_of_bodies([seed]);
  switch (script.below(6)) {
    case 0: { // characters changed
      const text = [...plain];
      for (let i = 0; i <= script.below(6); i++) text[script.below(text.length)] = script.pick('(', ')', '"', 'end', '\0', '=', '[[', '--[[', ' ', '\u{1d11e}', 'goto');
      return text.join('');
    }
    case 1: // cut off
      return plain.slice(0, script.below(plain.length));
    case 2: { // nesting
      const n = 10 ** script.below(6);
      const open = script.pick('(', '{', '[', 'function() ', 'do ', 'if x then ', '-', 'not ', 'x.', '"" ..', 'local a <close> = ');
      return `return service { id = "fuzz", x = ${open.repeat(n)}`.slice(0, 200000);
    }
    case 3: // a variable outside
      return plain.replace('local t, s, n, f =', script.pick('kept =', 'list, class =', 'local t; all, names ='));
    case 4: // noise while it is loaded, if it comes to an end (what does not takes 5 s)
      return `${body}\nlocal function noise(...) ${script.block().replaceAll('while true do', 'for _ = 1, 9 do').replaceAll(/goto \w+/g, '')} end\n${script.pick('pcall(noise)', 'noise()')}\nreturn service { id = "fuzz" }`;
    default: // what a declaration may not be
      return `${body}\nreturn service { id = "fuzz", ${script.pick('records', 'methods', 'on', 'every', 'tests')} = ${script.table()} }`;
  }
}
