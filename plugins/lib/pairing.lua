-- From a rule and people to a proposal. (Lua only, until the host's match.* is there.)
local rules = require "lib.rules"

local pairing = {}

local function field(data, path)
  local value = data
  for name in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end

local function listed(list, id)
  for _, v in ipairs(list or {}) do
    if v == id then return true end
  end
  return false
end

local must = {
  share = function(one, a, b)
    local x, y = field(a.data, one.field), field(b.data, one.field)
    return not x or not y or #x == 0 or #y == 0 or #rules.common(x, y) > 0
  end,
  respects = function(one, a, b)
    local same = a.data.gender and b.data.gender and a.data.gender == b.data.gender
    if not a.data.gender or not b.data.gender then return true end
    return same or (a.data[one.field] ~= "same" and b.data[one.field] ~= "same")
  end,
  overlap = function(one, a, b)
    local x, y = field(a.data, one.field), field(b.data, one.field)
    return not x or not y or #x == 0 or #y == 0 or #rules.common(x, y) >= one.hours
  end,
  not_in = function(one, a, b) return not listed(a.data[one.field], b.id) and not listed(b.data[one.field], a.id) end,
  equal_to = function(one, a, b)
    local x, y = field(a.data, one.field), field(b.data, one.field)
    return x == nil or y == nil or x == y
  end,
}

local function part(n, full, points) return points * math.min(n, full) // full end

local prefer = {
  complement = function(one, a, b)
    return part(#rules.common(field(b.data, one.field), field(a.data, one.other)), one.full_at or 1, one.points)
  end,
  shared = function(one, a, b)
    return part(#rules.common(field(b.data, one.field), field(a.data, one.field)), one.full_at or 1, one.points)
  end,
  near = function(one, a, b)
    local x, y = field(a.data, one.field), field(b.data, one.field)
    if not x or not y then return 0 end
    local within = one.within or 1
    return math.max(0, math.floor(one.points * (within + 1 - math.abs(x - y)) / (within + 1)))
  end,
  equal = function(one, a, b)
    local x = field(a.data, one.field)
    return x ~= nil and x == field(b.data, one.field) and one.points or 0
  end,
  weekend = function(one, a, b)
    local x, y = field(a.data, one.field), field(b.data, one.field)
    if not x or not y then return 0 end
    return part(#calendar.weekend(rules.common(x, y)), one.full_at or 4, one.points)
  end,
  higher = function() return 0 end,
  gap = function() return 0 end,
}

-- {may, why, points, parts = {points of each criterion}} of one pair.
function pairing.judge(rule, mentee, mentor)
  if mentee.id == mentor.id then return { may = false, why = "self", points = 0, parts = {} } end
  for _, one in ipairs(rule.must) do
    if not must[one.must](one, mentee, mentor) then return { may = false, why = one.must, points = 0, parts = {} } end
  end
  local out = { may = true, points = 0, parts = {} }
  for i, one in ipairs(rule.prefer) do
    out.parts[i] = prefer[one.prefer](one, mentee, mentor)
    out.points = out.points + out.parts[i]
  end
  return out
end

function pairing.solve(rule, mentees, mentors)
  local edges, fits, objection = {}, {}, {}
  for i, mentee in ipairs(mentees) do
    local row, why = {}, {}
    for j, mentor in ipairs(mentors) do
      local out = pairing.judge(rule, mentee, mentor)
      if out.may then row[#row + 1] = { j, out.points } else why[out.why] = (why[out.why] or 0) + 1 end
    end
    table.sort(row, function(a, b)
      if a[2] ~= b[2] then return a[2] > b[2] end
      return a[1] < b[1]
    end)
    edges[i], fits[i] = row, #row
    local most, key = -1, "nobody"
    for op, n in pairs(why) do
      if n > most or n == most and op < key then most, key = n, op end
    end
    objection[i] = key
  end
  local free, holders, got, seats = {}, {}, {}, 0
  for j, mentor in ipairs(mentors) do free[j], holders[j], seats = mentor.free, {}, seats + mentor.free end
  local function augment(i, seen)
    for _, e in ipairs(edges[i]) do
      local j = e[1]
      if not seen[j] then
        seen[j] = true
        if free[j] > 0 then
          free[j] = free[j] - 1
          holders[j][i], got[i] = true, e
          return true
        end
        local order = {}
        for k in pairs(holders[j]) do order[#order + 1] = k end
        table.sort(order)
        for _, k in ipairs(order) do
          holders[j][k] = nil
          if augment(k, seen) then
            holders[j][i], got[i] = true, e
            return true
          end
          holders[j][k] = true
        end
      end
    end
    return false
  end
  local order = {}
  for i = 1, #mentees do order[i] = i end
  table.sort(order, function(a, b)
    local x, y = edges[a][1] and edges[a][1][2] or 0, edges[b][1] and edges[b][1][2] or 0
    if x ~= y then return x > y end
    return a < b
  end)
  for _, i in ipairs(order) do
    if seats > 0 and augment(i, {}) then seats = seats - 1 end
  end
  local out = { pairs = {}, unmatched = {} }
  for i in ipairs(mentees) do
    if got[i] then
      out.pairs[#out.pairs + 1] = { mentee = i, mentor = got[i][1], points = got[i][2] }
    else
      local why = #mentors == 0 and "no_mentors" or fits[i] > 0 and "full" or objection[i]
      out.unmatched[#out.unmatched + 1] = { mentee = i, why = why, fits = fits[i] }
    end
  end
  return out
end

return pairing
