-- Activities that people do together. The kinds are plugins (plugins/activities): each has its own fields, stages and roles, and
-- says who may take part, how results are scored and ranked, and what comes out in the end. This service keeps the records.
local function kind_of(ctx, id)
  local kind = plugins.get("activity", id)
  if not kind then ctx:not_found() end
  return kind
end

local function activity_of(ctx, id)
  local activity = store.get("activity", id)
  if not activity or not ctx:can_see(activity) then ctx:not_found() end
  return activity, kind_of(ctx, activity.data.kind)
end

local function require_organiser(ctx, activity)
  if activity.data.organiser and activity.data.organiser == ctx.person then return end
  ctx:require("coordinator", "administrator")
end

local function position(list, value)
  for i, v in ipairs(list) do
    if v == value then return i end
  end
end

local function entries_of(activity)
  return store.list("activity_entry", { index = "by_activity", equals = { activity.id } })
end

local function kinds()
  local items = {}
  for _, kind in ipairs(plugins.all "activity") do
    local roles = {}
    for name in pairs(kind.roles or {}) do roles[#roles + 1] = name end
    table.sort(roles)
    items[#items + 1] = { id = kind.id, title = kind.title, icon = kind.icon, stages = kind.stages, stage_titles = kind.stage_titles,
      roles = store.array(roles), fields = kind.fields }
  end
  return { items = store.array(items) }
end

local function create(ctx, p)
  local kind = kind_of(ctx, p.kind)
  local id = ctx:uuid()
  local members = ctx.person and { "person:" .. ctx.person } or {}
  return store.put("activity", {
    id = id,
    data = { kind = kind.id, title = p.title, stage = kind.stages[1], starts = p.starts, place = p.place, seats = p.seats,
      fields = p.fields or {}, organiser = ctx.person, programme = p.programme },
    members = members, audience = { "institution" },
  })
end

local function register(ctx, p)
  local activity, kind = activity_of(ctx, p.activity)
  local person = ctx.person and store.get("person", ctx.person)
  if not person then ctx:not_found() end
  local role = p.role or "participant"
  local known = (kind.roles or {})[role]
  if not known and role ~= "participant" then ctx:invalid("role", "this kind of activity has no such role") end
  if known and known.sees then require_organiser(ctx, activity) end -- a jury is not who says so
  local id = activity.id .. ":" .. person.id
  if store.get("activity_entry", id) then return store.get("activity_entry", id) end
  local taken = store.count("activity_entry", { index = "by_activity", equals = { activity.id } })
  if activity.data.seats and taken >= activity.data.seats then
    ctx:refuse("full", { text = {
      en = "All seats are taken.", uz = "Hamma oʻrinlar band.", ["uz-Cyrl"] = "Ҳамма ўринлар банд.", ru = "Все места заняты.",
    } })
  end
  if kind.on_register then
    local ok, reason, why = kind.on_register(ctx, activity, person)
    if ok == false then ctx:refuse(reason or "refused", { text = why }) end
  end
  local members = activity.members or {}
  members[#members + 1] = "person:" .. person.id
  store.patch("activity", activity.id, {}, { members = members })
  return store.put("activity_entry", {
    id = id,
    data = { activity = activity.id, person = person.id, name = person.data.name, role = role, values = {} },
    audience = { "person:" .. person.id, "activity:" .. activity.id, "role:coordinator", "role:administrator" },
  })
end

-- Results of one participant, as the kind understands them: points of a round, hours to be confirmed.
local function record(ctx, p)
  local activity, kind = activity_of(ctx, p.activity)
  require_organiser(ctx, activity)
  local entry = store.get("activity_entry", activity.id .. ":" .. p.person)
  if not entry then ctx:not_found() end
  local values = entry.data.values or {}
  for name, value in pairs(p.values) do values[name] = value end
  entry.data.values = values
  local score = kind.score and kind.score(ctx, activity, entry) or nil
  return store.patch("activity_entry", entry.id, { values = values, score = score })
end

local function advance(ctx, p)
  local activity, kind = activity_of(ctx, p.activity)
  require_organiser(ctx, activity)
  local at = position(kind.stages, activity.data.stage) or 0
  local to = p.stage or kind.stages[at + 1]
  local target = position(kind.stages, to)
  if not target or target <= at then
    ctx:refuse("no_such_step", { text = {
      en = "An activity only moves on to a later stage.",
      uz = "Faoliyat faqat keyingi bosqichga oʻtadi.",
      ["uz-Cyrl"] = "Фаолият фақат кейинги босқичга ўтади.",
      ru = "Мероприятие переходит только на следующий этап.",
    } })
  end
  if kind.on_stage then
    local ok, reason, why = kind.on_stage(ctx, activity, activity.data.stage, to)
    if ok == false then ctx:refuse(reason or "refused", { text = why }) end
  end
  if target == #kind.stages then
    local entries = entries_of(activity)
    if kind.rank then
      for _, placed in ipairs(kind.rank(ctx, activity, entries)) do
        store.patch("activity_entry", placed.id, { place = placed.place })
      end
    end
    if kind.outcome then
      store.patch("activity", activity.id, { outcome = kind.outcome(ctx, activity, entries_of(activity)) })
    end
  end
  return store.patch("activity", activity.id, { stage = to })
end

local activity_param = ref "activity" { required = true }

-- For the tests.
local function sample(t, kind, fields)
  for _, id in ipairs { "a", "b", "c" } do
    store.put("person", { id = id, data = { name = id, name_folded = id, kind = "student", year = 2 } })
  end
  local coach = { person = "k", roles = { "coach" } }
  local activity = t:call("activity.create", { kind = kind, title = "Kuzgi", fields = fields }, coach)
  local function student(id) return { person = id, roles = { "student" } } end
  return activity.id, coach, student
end

return service {
  id = "activity",
  title = { en = "Activities", uz = "Faoliyatlar", ["uz-Cyrl"] = "Фаолиятлар", ru = "Мероприятия" },
  records = {
    activity = {
      key = "uuid",
      fields = {
        kind = text { required = true, max = 60 },
        title = translated { required = true, max_length = 200 },
        stage = text { required = true, max = 60 },
        starts = time {}, place = text { max = 200 }, seats = integer { min = 1, max = 10000 },
        fields = map {}, organiser = ref "person", programme = ref "programme", outcome = any {},
      },
      indexes = { by_kind = { fields = { "kind" } }, by_organiser = { fields = { "organiser" } } },
    },
    activity_entry = {
      key = "natural",
      fields = {
        activity = activity_param,
        person = ref "person" { required = true },
        name = text { max = 200 },
        role = text { required = true, max = 60 },
        values = map {}, score = number {}, place = integer { min = 1 },
      },
      indexes = { by_activity = { fields = { "activity" } }, by_person = { fields = { "person" } } },
    },
  },
  methods = {
    ["activity.kinds"] = {
      summary = "Kinds of activity, with their fields, stages and roles",
      access = "signed_in", params = {}, run = kinds,
    },
    ["activity.create"] = {
      summary = "Announces an activity",
      access = { "coach", "coordinator", "administrator" }, writes = true,
      params = {
        kind = text { required = true, max = 60 }, title = translated { required = true, max_length = 200 }, starts = time {},
        place = text { max = 200 }, seats = integer { min = 1, max = 10000 }, fields = map {}, programme = ref "programme",
      },
      run = create,
    },
    ["activity.register"] = {
      summary = "Takes part",
      access = "signed_in", writes = true, params = { activity = activity_param, role = text { max = 60 } }, run = register,
    },
    ["activity.record"] = {
      summary = "Results of a participant: points, hours",
      access = "signed_in", writes = true,
      params = { activity = activity_param, person = ref "person" { required = true }, values = map { required = true } },
      run = record,
    },
    ["activity.advance"] = {
      summary = "Moves an activity on to its next stage, or to a later one; the last one ranks and sums up",
      access = "signed_in", writes = true, params = { activity = activity_param, stage = text { max = 60 } }, run = advance,
    },
  },
  tests = {
    ["an olympiad ranks by points, and equal points share a place"] = function(t)
      local id, coach, student = sample(t, "olympiad", { subject = "algebra" })
      t:call("activity.advance", { activity = id, stage = "registration" }, coach)
      for person, points in pairs { a = 70, b = 90, c = 90 } do
        t:call("activity.register", { activity = id }, student(person))
        t:call("activity.record", { activity = id, person = person, values = { round_1 = points } }, coach)
      end
      t:call("activity.advance", { activity = id, stage = "results" }, coach)
      t:equal(store.get("activity_entry", id .. ":a").data.place, 3)
      t:equal(store.get("activity_entry", id .. ":b").data.place, 1)
      t:equal(store.get("activity_entry", id .. ":c").data.place, 1)
    end,
    ["volunteering counts confirmed hours only"] = function(t)
      local id, coach, student = sample(t, "volunteering", { task = "Daraxt ekish" })
      t:call("activity.register", { activity = id }, student "a")
      t:call("activity.record", { activity = id, person = "a", values = { hours = 6 } }, coach)
      t:equal(store.get("activity_entry", id .. ":a").data.score, 0)
      t:call("activity.record", { activity = id, person = "a", values = { confirmed = true } }, coach)
      t:equal(store.get("activity_entry", id .. ":a").data.score, 6)
    end,
    ["only the organiser records results, and stages never go back"] = function(t)
      local id, coach, student = sample(t, "volunteering", { task = "Kutubxona" })
      t:call("activity.register", { activity = id }, student "a")
      t:fails(function() t:call("activity.record", { activity = id, person = "a", values = { hours = 6 } }, student "a") end)
      t:call("activity.advance", { activity = id, stage = "work" }, coach)
      t:fails(function() t:call("activity.advance", { activity = id, stage = "announced" }, coach) end)
    end,
  },
}
