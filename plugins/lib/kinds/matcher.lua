-- matcher{ id, title, form, mentor, mentee, must, prefer, … }: a rule for making pairs, as data. Every criterion is a table {op = …},
-- which C compiles to columns (core/match), which explains itself, and whose points a coordinator may change.
--
--   who may be one:   where = { status = "active", year = at_least(2), gpa = below(3.0), languages = has "uz", special = present }
--   what must hold:   share "languages", respects "gender_preference", overlap("availability", { hours = 2 }), not_in "blocked",
--                     equal_to "faculty"
--   what is better:   complement("strengths", "needs", { points = 4500 }), shared("interests", { points = 1500, full_at = 4 }),
--                     near("year", { within = 2, points = 1000 }), equal("faculty", …), weekend("availability", …), higher("gpa", …),
--                     gap("gpa", …)
-- Points are whole and 10,000 in all.
local check = require "lib.declare"
local pairing = require "lib.pairing"

local ALL = 10000

return function()
  local fault = check.fault

  -- ---- conditions on one person -----------------------------------------------------------------------------------------------

  local function number_condition(op)
    return function(value)
      if type(value) ~= "number" then fault(op, "takes a number") end
      return { condition = op, value = value }
    end
  end
  local function one_of(given)
    if type(given) ~= "table" or #given == 0 then fault("one_of", "takes a list") end
    return { condition = "one_of", values = given }
  end
  local function equals(value) return { condition = "equals", value = value } end
  local function has(value) return { condition = "has", value = value } end
  local present = { condition = "present" }

  local function where(path, given)
    local out = {}
    for field, want in pairs(check.map(path, given)) do
      if type(field) ~= "string" then
        check.note(path, "must be conditions by field")
      elseif type(want) == "table" and want.condition then
        out[field] = want
      elseif type(want) == "string" or type(want) == "number" or type(want) == "boolean" then
        out[field] = { condition = "equals", value = want }
      else
        check.note(path .. "." .. field, "must be a value, or a condition such as at_least(2)")
      end
    end
    return out
  end

  -- ---- criteria of a pair -----------------------------------------------------------------------------------------------------

  local function field_of(op, field)
    if type(field) ~= "string" or field == "" then fault(op, "takes the name of a field") end
    return field
  end
  local function must(op, options)
    return function(field, given)
      local out = { must = op, field = field_of(op, field) }
      check.names(op, given or {}, options)
      for name, v in pairs(given or {}) do out[name] = v end
      return out
    end
  end
  local function prefer(op, options, two_fields)
    return function(field, second, given)
      local out = { prefer = op, field = field_of(op, field) }
      if two_fields then out.other = field_of(op, second) else given = second end
      check.names(op, given or {}, options)
      for name, v in pairs(given or {}) do out[name] = v end
      if out.full_at ~= nil then check.whole(op .. ".full_at", out.full_at, 1, 1000) end
      if out.within ~= nil and type(out.within) ~= "number" then fault(op .. ".within", "must be a number") end
      check.whole(op .. ".points", out.points, 0, ALL)
      out.name = out.name or op .. "_" .. field
      return out
    end
  end

  local function overlap(field, given)
    local out = must("overlap", { "hours" })(field, given)
    out.hours = check.whole("overlap.hours", out.hours or 1, 1, 168)
    return out
  end

  local function criteria(path, list, kind)
    local names, points = {}, 0
    for i, one in ipairs(check.map(path, list)) do
      if type(one) ~= "table" or not one[kind] then
        fault(path .. "[" .. i .. "]", "must be a criterion such as " .. (kind == "must" and "share \"languages\"" or "equal(\"faculty\", { points = 1000 })"))
      end
      if one.name then
        if names[one.name] then check.note(path .. "[" .. i .. "]", "the name '" .. one.name .. "' comes twice; give one of them a name of its own") end
        names[one.name] = true
      end
      points = points + (one.points or 0)
    end
    return points
  end

  local function side(path, given, known)
    given = check.map(path, given)
    check.names(path, given, known)
    given.where = where(path .. ".where", given.where)
    for _, name in ipairs { "capacity", "priority" } do
      if given[name] ~= nil and type(given[name]) ~= "string" then check.note(path .. "." .. name, "must name a field") end
    end
    return given
  end

  local function matcher(decl)
    check.declaration(decl, "matcher", { "form", "mentor", "mentee", "must", "prefer", "columns", "pair", "fairness", "keep", "text" })
    decl.mentor = check.part(side, "mentor", decl.mentor, { "where", "capacity" }) or {}
    decl.mentee = check.part(side, "mentee", decl.mentee, { "where", "priority" }) or {}
    decl.mentor.capacity = decl.mentor.capacity or "mentoring.capacity"
    decl.must, decl.prefer = check.part(check.map, "must", decl.must), check.part(check.map, "prefer", decl.prefer)
    check.part(criteria, "must", decl.must, "must")
    local points = check.part(criteria, "prefer", decl.prefer, "prefer")
    if points and points ~= ALL then check.note("prefer", ("the points are %d in all; they must be %d"):format(points, ALL)) end
    if decl.fairness ~= nil then check.part(check.names, "fairness", decl.fairness, { "first", "floor", "then_" }) end
    if decl.keep ~= nil then
      check.part(check.names, "keep", decl.keep, { "points" })
      check.part(function() check.whole("keep.points", decl.keep.points, 0, ALL) end)
    end
    if decl.columns ~= nil then check.note("columns", "is not offered in this version; pair = function(mentee, mentor, points) is") end
    if decl.pair ~= nil and type(decl.pair) ~= "function" then check.note("pair", "must be a function(mentee, mentor, points)") end
    return decl
  end

  -- ---- tests: t:never_pairs{ mentor = {…}, mentee = {…} }, t:pairs{ … }, t:points{ …, points = 4500 } ----------------------------------

  local function judge(t, given, path)
    check.names(path, given, { "mentor", "mentee", "points", "why" })
    local mentor = { id = "mentor", data = given.mentor or {} }
    local mentee = { id = "mentee", data = given.mentee or {} }
    return pairing.judge(t.plugin, mentee, mentor)
  end
  local tests = {}
  function tests.never_pairs(t, given)
    local out = judge(t, given, "never_pairs")
    if out.may then error("makes a pair of them, for " .. out.points .. " points", 2) end
  end
  function tests.pairs(t, given)
    local out = judge(t, given, "pairs")
    if not out.may then error("makes no pair of them: " .. tostring(out.why), 2) end
    if given.points then t:equal(out.points, given.points, "points") end
    return out
  end
  function tests.points(t, given)
    return tests.pairs(t, given).points
  end

  return {
    matcher = check.whole_of(matcher),
    at_least = number_condition "at_least", at_most = number_condition "at_most",
    below = number_condition "below", above = number_condition "above",
    equals = equals, one_of = one_of, has = has, present = present,
    share = must("share", {}), respects = must("respects", {}), not_in = must("not_in", {}), equal_to = must("equal_to", {}),
    overlap = overlap,
    complement = prefer("complement", { "points", "full_at", "name", "text" }, true),
    shared = prefer("shared", { "points", "full_at", "name", "text" }),
    near = prefer("near", { "points", "within", "name", "text" }),
    equal = prefer("equal", { "points", "name", "text" }),
    weekend = prefer("weekend", { "points", "full_at", "name", "text" }),
    higher = prefer("higher", { "points", "full_at", "within", "name", "text" }),
    gap = prefer("gap", { "points", "full_at", "within", "name", "text" }),
    _tests = tests,
  }
end
