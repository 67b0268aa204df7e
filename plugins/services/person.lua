-- People of an institution: who they are, what they can and want, when they are free, and their invitations.
local people = require "lib.people"

local hours = list { of = integer { min = 0, max = 167 }, max = 168, title = "hours of the week, Monday 00:00 is 0" }
local words = list { of = text { max_length = 60 }, max = 40 }

-- What everybody says about themselves, and may change.
local own = {
  availability = hours,
  languages = words,
  interests = words,
  strengths = words,
  needs = words,
  mentoring = object { fields = {
    capacity = integer { min = 0, max = 20 },
    status = choice { values = { "active", "off" } },
  } },
  gender_preference = choice { values = { "same", "any" } },
}

-- What the institution knows, and only its staff may change.
local known = {
  name = text { max_length = 200 },
  external_id = text { max_length = 100 },
  kind = choice { values = { "student", "staff" } },
  year = integer { min = 1, max = 8 },
  group = text { max_length = 60 },
  faculty = text { max_length = 120 },
  gender = choice { values = { "f", "m" } },
  birth_date = date {},
  gpa = number { min = 0, max = 5 },
  blocked = list { of = ref "person", max = 50 },
  waited_terms = integer { min = 0, max = 20 },
  status = choice { values = { "active", "left" } },
  special = text { max_length = 200 },
}

local function join(...)
  local out = {}
  for _, part in ipairs { ... } do
    for name, schema in pairs(part) do out[name] = schema end
  end
  return out
end

local has_account = { text = {
  en = "This person already has an account.",
  uz = "Bu kishining hisobi allaqachon bor.",
  ["uz-Cyrl"] = "Бу кишининг ҳисоби аллақачон бор.",
  ru = "У этого человека уже есть учётная запись.",
} }

local taken = { text = {
  en = "Somebody with this student number is here already.",
  uz = "Bunday talaba raqamli kishi allaqachon bor.",
  ["uz-Cyrl"] = "Бундай талаба рақамли киши аллақачон бор.",
  ru = "Человек с таким студенческим номером уже есть.",
} }

local function person_or_refuse(ctx, id)
  local person = store.get("person", id)
  if not person or person.data.erased then ctx:not_found() end -- who was erased gets no new name or account
  return person
end

local function check_number(ctx, external_id, id)
  if not external_id then return end
  local other = store.first("person", { index = "by_external", equals = { external_id } })
  if other and other.id ~= id then ctx:refuse("external_id_taken", taken) end
end

local function me(ctx)
  local person = ctx.person and store.get("person", ctx.person)
  return {
    person = person or store.null,
    account = { login = ctx.login, roles = ctx.roles },
    pairs = store.array(person and people.pairs_of(store, person.id) or {}),
  }
end

local function create(ctx, p)
  check_number(ctx, p.external_id)
  p.kind = p.kind or "student"
  p.status = p.status or "active"
  local id = ctx:uuid()
  return store.put("person", { id = id, data = people.named(p, text.fold), audience = people.audience(id) })
end

local function update(ctx, p)
  local id = p.person or ctx.person
  if not id then ctx:refuse("no_person") end
  local staff = ctx:has_role("coordinator", "administrator")
  if id ~= ctx.person and not staff then ctx:require("coordinator", "administrator") end
  p.person, p.idem = nil, nil
  local person = person_or_refuse(ctx, id)
  for field in pairs(p) do
    if not own[field] and not staff then ctx:require("coordinator", "administrator") end
  end
  check_number(ctx, p.external_id, id)
  if p.name then people.named(p, text.fold) end
  if next(p) == nil then return person end
  return store.patch("person", id, p)
end

local function invite(ctx, p)
  local person = person_or_refuse(ctx, p.person)
  if accounts.exists(person.id) then ctx:refuse("has_account", has_account) end
  local code = accounts.invite { person = person.id, roles = p.roles or { "student" }, name = person.data.name, days = 14 }
  return { code = code, person = person.id, name = person.data.name }
end

local function invite_many(ctx, p)
  local items = {}
  local function add(person)
    if #items < 500 and person.data.status ~= "left" and not accounts.exists(person.id) then
      items[#items + 1] = invite(ctx, { person = person.id })
    end
  end
  if p.group then
    for person in store.each("person", { index = "by_group", equals = { p.group } }) do add(person) end
  else
    for _, id in ipairs(p.persons or {}) do add(person_or_refuse(ctx, id)) end
  end
  return { items = store.array(items) }
end

return service {
  id = "person",
  title = { en = "People", uz = "Odamlar", ["uz-Cyrl"] = "Одамлар", ru = "Люди" },
  records = {
    person = {
      key = "uuid",
      fields = join(own, known, {
        name = text { required = true, max_length = 200 },
        kind = choice { values = { "student", "staff" }, required = true },
        name_folded = text { required = true },
        erased = time {}, -- by person.erase, which leaves "—" for the name
      }),
      indexes = {
        by_external = { fields = { "external_id" }, unique = true },
        by_group = { fields = { "group" } },
        by_name = { fields = { "name_folded" } },
        by_kind = { fields = { "kind" } },
        by_capacity = { fields = { "mentoring.capacity" } },
      },
    },
  },
  methods = {
    ["person.me"] = {
      summary = "The signed-in person, their account and their pairs",
      access = "signed_in", params = {}, run = me,
    },
    ["person.create"] = {
      summary = "Adds one person",
      access = { "coordinator", "administrator" }, writes = true,
      params = join(own, known, { name = text { required = true, max_length = 200 } }), run = create,
    },
    ["person.update"] = {
      summary = "Changes what a person says about themselves; a coordinator may change everything of anyone",
      access = "signed_in", writes = true, patch = true,
      params = join(own, known, { person = ref "person" }), run = update,
    },
    ["person.invite"] = {
      summary = "A code with which this person makes an account",
      access = { "coordinator", "administrator" }, writes = true,
      params = { person = ref "person" { required = true }, roles = list { of = text {}, max = 5 } }, run = invite,
    },
    ["person.invite_many"] = {
      summary = "Codes for a whole group, at most 500; who has an account is passed over",
      access = { "coordinator", "administrator" }, writes = true,
      params = { group = text {}, persons = list { of = ref "person", max = 500 } }, run = invite_many,
    },
  },
  tests = {
    ["a student changes their own free time but not their grades"] = function(t)
      local person = t:call("person.create", { name = "Dilnoza Karimova" }, { roles = { "coordinator" } })
      local self = { person = person.id, roles = { "student" } }
      local changed = t:call("person.update", { availability = { 18, 19 }, languages = { "uz" } }, self)
      t:equal(#changed.data.availability, 2)
      t:fails(function() t:call("person.update", { gpa = 5.0 }, self) end)
      t:fails(function() t:call("person.update", { person = person.id, name = "X" }, { person = "other", roles = { "student" } }) end)
    end,
    ["a pause keeps the number of places, and the other way round"] = function(t)
      local person = t:call("person.create", { name = "Dilnoza", mentoring = { capacity = 3 } }, { roles = { "coordinator" } })
      local self = { person = person.id, roles = { "student" } }
      t:equal(t:call("person.update", { mentoring = { status = "off" } }, self).data.mentoring, { capacity = 3, status = "off" })
      t:equal(t:call("person.update", { mentoring = { capacity = 2 } }, self).data.mentoring, { capacity = 2, status = "off" })
    end,
    ["one student number belongs to one person"] = function(t)
      local staff = { roles = { "coordinator" } }
      t:call("person.create", { name = "Aziz", external_id = "S-1" }, staff)
      t:fails(function() t:call("person.create", { name = "Bobur", external_id = "S-1" }, staff) end)
    end,
    ["a person is found whatever apostrophe the name is written with"] = function(t)
      t:call("person.create", { name = "Oʻktam Gʻaniyev" }, { roles = { "coordinator" } })
      local found = store.first("person", { index = "by_name", equals = { text.fold("O'KTAM G’aniyev") } })
      t:ok(found and found.data.name == "Oʻktam Gʻaniyev")
    end,
    ["whole groups are invited at once, and a student cannot invite"] = function(t)
      local staff = { roles = { "coordinator" } }
      for _, name in ipairs { "Aziz", "Bobur" } do t:call("person.create", { name = name, group = "MAT-1" }, staff) end
      t:call("person.create", { name = "Dilshod", group = "MAT-2" }, staff)
      local items = t:call("person.invite_many", { group = "MAT-1" }, staff).items
      t:equal(#items, 2)
      t:ok(items[1].code ~= items[2].code)
      t:fails(function() t:call("person.invite_many", { group = "MAT-1" }, { person = "x", roles = { "student" } }) end, "need")
    end,
    ["who has left or pauses offers no places"] = function(t)
      t:equal(people.capacity { mentoring = { capacity = 3, status = "off" } }, 0)
      t:equal(people.capacity { mentoring = { capacity = 3 }, status = "left" }, 0)
      t:equal(people.capacity { mentoring = { capacity = 3 }, status = "active" }, 3)
      t:equal(people.capacity {}, 0)
    end,
  },
}
