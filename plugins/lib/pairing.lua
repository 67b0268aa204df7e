-- From a rule and people to a proposal: what each criterion means for two people, and the assignment (by the host's match.solve).
--
-- Every person is prepared once for a rule (lists as sets, hours of the week as bits), since each meets thousands of others. What is
-- not known of a person excludes nobody, and gives no points.
local rules = require "lib.rules"

local pairing = {}

-- ---- what a criterion needs of one person ----------------------------------------------------------------------------------------

-- Hours of the week (0 … 167) as three numbers of 56 bits; hour 120 is Saturday 00:00. nil when nothing is known.
local function bits_of(list, from)
  if not list or #list == 0 then return nil end
  local out = { 0, 0, 0 }
  for _, hour in ipairs(list) do
    if hour >= from then
      local part = hour // 56 + 1
      out[part] = out[part] | 1 << (hour % 56)
    end
  end
  return out
end

local function common_hours(x, y, enough)
  local n = 0
  for part = 1, 3 do
    local both = x[part] & y[part]
    while both ~= 0 do
      both = both & (both - 1)
      n = n + 1
      if n == enough then return n end
    end
  end
  return n
end

local function set_of(list)
  if type(list) ~= "table" or #list == 0 then return nil end
  local out = { list = list }
  for _, v in ipairs(list) do out[v] = true end
  return out
end

-- How many different things two lists have in common, no more than `enough`.
local function common_count(x, y, enough)
  if #x.list > #y.list then x, y = y, x end
  local n = 0
  for _, v in ipairs(x.list) do
    if y[v] then
      n = n + 1
      if n == enough then return n end
    end
  end
  return n
end

-- ---- must ------------------------------------------------------------------------------------------------------------------------
-- Per operation: what to keep of a person, and whether two of them (mentee, mentor) may be a pair.

local must = {
  share = {
    keep = function(one, person) return set_of(rules.field(person.data, one.field)) end,
    holds = function(_, x, y) return not x or not y or common_count(x, y, 1) > 0 end,
  },
  respects = { -- either may wish for somebody of the same gender
    keep = function(one, person)
      return { gender = person.data.gender, same = rules.field(person.data, one.field) == "same" }
    end,
    holds = function(_, x, y)
      return not (x.same or y.same) or not x.gender or not y.gender or x.gender == y.gender
    end,
  },
  overlap = {
    keep = function(one, person) return bits_of(rules.field(person.data, one.field), 0) end,
    holds = function(one, x, y) return not x or not y or common_hours(x, y, one.hours) >= one.hours end,
  },
  not_in = {
    keep = function(one, person) return { id = person.id, set = set_of(rules.field(person.data, one.field)) } end,
    holds = function(_, x, y) return not (x.set and x.set[y.id]) and not (y.set and y.set[x.id]) end,
  },
  equal_to = {
    keep = function(one, person) return rules.field(person.data, one.field) end,
    holds = function(_, x, y) return x == nil or y == nil or x == y end,
  },
}

-- ---- prefer ------------------------------------------------------------------------------------------------------------------------
-- Per operation: what to keep of a mentee and of a mentor, and the points. Never called when either is nil.

local function same_field(one, person) return rules.field(person.data, one.field) end
local function number_field(one, person)
  local v = rules.field(person.data, one.field)
  return type(v) == "number" and v or nil
end
local function set_field(one, person) return set_of(rules.field(person.data, one.field)) end
local function weekend_bits(one, person) return bits_of(rules.field(person.data, one.field), 120) end

local function counted(default, count)
  return function(one, x, y)
    local full = one.full_at or default
    return one.points * count(x, y, full) // full
  end
end
-- How far y is above x, or apart from it, up to full_at.
local function measured(distance)
  return function(one, x, y)
    return math.floor(one.points * math.min(1, math.max(0, distance(x, y)) / (one.full_at or 1)))
  end
end

local prefer = {
  complement = {
    mentee = function(one, person) return set_of(rules.field(person.data, one.other)) end,
    mentor = set_field,
    points = counted(1, common_count),
  },
  shared = { mentee = set_field, mentor = set_field, points = counted(1, common_count) },
  weekend = { mentee = weekend_bits, mentor = weekend_bits, points = counted(4, common_hours) },
  equal = {
    mentee = same_field, mentor = same_field,
    points = function(one, x, y) return x == y and one.points or 0 end,
  },
  near = { -- all points when equal, none beyond `within`, even steps between
    mentee = number_field, mentor = number_field,
    points = function(one, x, y)
      local steps = (one.within or 1) + 1
      return math.floor(one.points * math.max(0, steps - math.abs(x - y)) / steps)
    end,
  },
  higher = { mentee = number_field, mentor = number_field, points = measured(function(x, y) return y - x end) },
  gap = { mentee = number_field, mentor = number_field, points = measured(function(x, y) return math.abs(y - x) end) },
}

-- ---- two people ----------------------------------------------------------------------------------------------------------------------

local function prepare(rule, person, side)
  local out = { id = person.id, data = person.data, must = {}, prefer = {} }
  for i, one in ipairs(rule.must) do out.must[i] = must[one.must].keep(one, person) end
  for i, one in ipairs(rule.prefer) do out.prefer[i] = prefer[one.prefer][side](one, person) end
  return out
end

-- The operations of a rule, looked up once.
local function compile(rule)
  local out = { must = {}, prefer = {} }
  for i, one in ipairs(rule.must) do out.must[i] = must[one.must].holds end
  for i, one in ipairs(rule.prefer) do out.prefer[i] = prefer[one.prefer].points end
  return out
end

-- The first criterion of `must` that the two do not meet, or nil.
local function objection(rule, compiled, x, y)
  if x.id == y.id then return "self" end
  local a, b = x.must, y.must
  for i, holds in ipairs(compiled.must) do
    if not holds(rule.must[i], a[i], b[i]) then return rule.must[i].must end
  end
end

-- Points of all criteria; into `parts`, when given, those of each. The rule's own function has the last word.
local function score(rule, compiled, x, y, parts)
  local sum, a, b = 0, x.prefer, y.prefer
  for i, points in ipairs(compiled.prefer) do
    local p, q = a[i], b[i]
    local n = p ~= nil and q ~= nil and points(rule.prefer[i], p, q) or 0
    if parts then parts[i] = n end
    sum = sum + n
  end
  if not rule.pair then return sum end
  local changed, why = rule.pair(x.data, y.data, sum)
  changed = math.max(0, math.min(10000, math.floor(changed or sum)))
  return changed, changed - sum, why
end

-- {may, why, points, parts = {points of each criterion}, extra = {points, why} of the rule's own function} of one pair.
function pairing.judge(rule, mentee, mentor)
  local compiled = compile(rule)
  local x, y = prepare(rule, mentee, "mentee"), prepare(rule, mentor, "mentor")
  local out = { why = objection(rule, compiled, x, y), points = 0, parts = {} }
  out.may = out.why == nil
  if out.may then
    local more, why
    out.points, more, why = score(rule, compiled, x, y, out.parts)
    if more and more ~= 0 then out.extra = { points = more, why = why } end
  end
  return out
end

-- The mentors that fit with a mentee: {{position in the list, points}…}; and how often each criterion stood against one.
local function row_of(rule, compiled, x, prepared)
  local row, against = {}, {}
  for j, y in ipairs(prepared) do
    local why = objection(rule, compiled, x, y)
    if why then
      against[why] = (against[why] or 0) + 1
    else
      row[#row + 1] = { j, (score(rule, compiled, x, y)) }
    end
  end
  return row, against
end

local function prepare_all(rule, people, side)
  local out = {}
  for i, person in ipairs(people) do out[i] = prepare(rule, person, side) end
  return out
end

-- The best mentors for one mentee, best first: {{mentor = one of the list, points}…}, at most `most`, and how many fit.
function pairing.best(rule, mentee, mentors, most)
  local row = row_of(rule, compile(rule), prepare(rule, mentee, "mentee"), prepare_all(rule, mentors, "mentor"))
  table.sort(row, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return mentors[a[1]].id < mentors[b[1]].id
  end)
  local out = {}
  for i = 1, math.min(most, #row) do out[i] = { mentor = mentors[row[i][1]], points = row[i][2] } end
  return out, #row
end

local function most_frequent(against)
  local most, key = 0, "nobody"
  for op, n in pairs(against) do
    if n > most or n == most and op < key then most, key = n, op end
  end
  return key
end

-- {pairs = {{mentee, mentor, points}…}, unmatched = {{mentee, why, fits}…}, certified}, people as positions in the lists. A mentor has
-- `free` places; the rule may name a field of mentees whose number goes first when places are short. progress(part) is told.
function pairing.solve(rule, mentees, mentors, progress)
  local compiled, prepared = compile(rule), prepare_all(rule, mentors, "mentor")
  local rows, seats, priority, against = {}, {}, {}, {}
  for j, mentor in ipairs(mentors) do seats[j] = mentor.free end
  for i, mentee in ipairs(mentees) do
    rows[i], against[i] = row_of(rule, compiled, prepare(rule, mentee, "mentee"), prepared)
    local first = rule.mentee.priority and rules.field(mentee.data, rule.mentee.priority)
    priority[i] = math.type(first) == "integer" and math.max(0, math.min(1000, first)) or 0
    if progress and i % 200 == 0 then progress(i / #mentees) end
  end
  local got = match.solve { rows = rows, seats = seats, priority = priority }
  local out = { pairs = {}, unmatched = {}, certified = got.certified }
  for i, row in ipairs(rows) do
    if got[i] > 0 then
      for _, edge in ipairs(row) do
        if edge[1] == got[i] then out.pairs[#out.pairs + 1] = { mentee = i, mentor = edge[1], points = edge[2] } end
      end
    else
      local why = #mentors == 0 and "no_mentors" or #row > 0 and "full" or most_frequent(against[i])
      out.unmatched[#out.unmatched + 1] = { mentee = i, why = why, fits = #row }
    end
  end
  return out
end

return pairing
