-- What several services need to know about persons: who may read a person, their free places, their pairs.
-- The functions take the store, so that they can be tried with any.
local people = {}

function people.audience(id)
  return { "person:" .. id, "role:coordinator", "role:administrator", "role:psychologist", "role:coach" }
end

-- A name as people compare it, for lists sorted and searched by name.
function people.named(data, fold)
  data.name_folded = fold(data.name)
  return data
end

function people.capacity(data)
  local mentoring = data.mentoring
  if not mentoring or data.status == "left" or mentoring.status == "off" then return 0 end
  return mentoring.capacity or 0
end

-- Pairs that hold one of the mentor's places. Two counts of index ranges: what is read here is checked at commit, so that
-- two requests for the last place cannot both be granted.
function people.held_places(store, mentor)
  return store.count("pair", { index = "by_mentor", equals = { mentor, "active" } })
    + store.count("pair", { index = "by_mentor", equals = { mentor, "requested" } })
end

function people.free_places(store, person)
  return people.capacity(person.data) - people.held_places(store, person.id)
end

-- Every pair of a person, as mentor and as mentee, newest last; `state` may narrow it.
function people.pairs_of(store, id, state)
  local out, seen = {}, {}
  for _, index in ipairs { "by_mentor", "by_mentee" } do
    for pair in store.each("pair", { index = index, equals = { id, state } }) do
      if not seen[pair.id] then
        seen[pair.id] = true
        out[#out + 1] = pair
      end
    end
  end
  table.sort(out, function(a, b) return a.id < b.id end)
  return out
end

function people.other(pair, person)
  return pair.data.mentor == person and pair.data.mentee or pair.data.mentor
end

function people.other_name(pair, person)
  return pair.data.mentor == person and pair.data.mentee_name or pair.data.mentor_name
end

-- The last sign of life of a pair: a message, a meeting that was held, or its start.
function people.last_sign(store, pair)
  local at = math.max(pair.data.starts or pair.created, pair.data.last_meeting or 0)
  local message = store.first("message", { index = "by_to", equals = { "pair:" .. pair.id }, order = "desc" })
  return message and math.max(at, message.data.sent) or at
end

-- Either of two blocked the other. Nobody is told who did.
function people.apart(a, b)
  local function lists(from, to)
    for _, id in ipairs(from.data.blocked or {}) do
      if id == to.id then return true end
    end
    return false
  end
  return lists(a, b) or lists(b, a)
end

-- The programme that runs now, when there is just one place to look: the last that started.
function people.current_programme(store, now)
  local best
  for programme in store.each("programme", { index = "by_state", equals = { "active" } }) do
    if programme.data.starts <= now and (not best or programme.data.starts > best.data.starts) then best = programme end
  end
  return best
end

return people
