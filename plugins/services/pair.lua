-- Pairs of a mentor and a mentee: asked for by the mentee, or made by a match that a coordinator approved. A mentor's places are
-- counted in the transaction that takes one, so that they are never given twice.
local clocks = require "lib.clocks"
local news = require "lib.news"
local people = require "lib.people"
local words = require "lib.words"

local refusals = {
  full = {
    en = "All places with this mentor are taken. Others are free.",
    uz = "Bu mentorda boʻsh oʻrin qolmagan. Boshqalarda bor.",
    ["uz-Cyrl"] = "Бу менторда бўш ўрин қолмаган. Бошқаларда бор.",
    ru = "У этого ментора мест не осталось. У других есть.",
  },
  not_available = {
    en = "This person is not available as a mentor now.",
    uz = "Bu kishi hozir mentor boʻla olmaydi.",
    ["uz-Cyrl"] = "Бу киши ҳозир ментор бўла олмайди.",
    ru = "Этот человек сейчас не может быть ментором.",
  },
  already = {
    en = "You already have a mentor here, or one is still answering you.",
    uz = "Sizda allaqachon mentor bor yoki soʻrovingizga javob kutilmoqda.",
    ["uz-Cyrl"] = "Сизда аллақачон ментор бор ёки сўровингизга жавоб кутилмоқда.",
    ru = "У вас уже есть ментор, или вы ещё ждёте ответа.",
  },
  over = {
    en = "This request has been answered already.",
    uz = "Bu soʻrovga javob berilgan.",
    ["uz-Cyrl"] = "Бу сўровга жавоб берилган.",
    ru = "На эту просьбу уже ответили.",
  },
}
local function refuse(ctx, reason) ctx:refuse(reason, { text = refusals[reason] }) end

-- A pair of others is not there, and neither is who its mentor is.
local function pair_of(ctx, id)
  local pair = store.get("pair", id)
  if not pair or not ctx:can_see(pair) then ctx:not_found() end
  return pair
end

local function make(data)
  local id = data.id
  data.id = nil
  return store.put("pair", {
    id = id, data = data,
    members = { "person:" .. data.mentor, "person:" .. data.mentee },
    audience = { "pair:" .. id, "role:coordinator", "role:administrator" },
  })
end

-- A request that nobody answered in time gives its place back.
local function expire(mentor, now)
  for pair in store.each("pair", { index = "by_mentor", equals = { mentor, "requested" } }) do
    if pair.data.due and pair.data.due < now then
      store.patch("pair", pair.id, { state = "ended", ended = now, end_reason = "expired" })
    end
  end
end

-- The same for everybody, a while later: who asked need not wait until somebody else asks that mentor.
local function expire_all(ctx)
  for pair in store.each("pair", { index = "by_due", equals = { "requested" }, from = 0, to = ctx.now, limit = 500 }) do
    store.patch("pair", pair.id, { state = "ended", ended = ctx.now, end_reason = "expired" })
  end
end

local function mentors(ctx)
  local me = ctx.person and store.get("person", ctx.person)
  local items = {}
  for person in store.each("person", { index = "by_capacity", from = 1 }) do
    local free = people.free_places(store, person)
    if free > 0 and person.id ~= ctx.person and not (me and people.apart(me, person)) then
      local data = person.data
      items[#items + 1] = { person = person.id, name = data.name, year = data.year, faculty = data.faculty, free = free,
        languages = words.names("languages", data.languages), interests = words.names("interests", data.interests),
        strengths = words.names("topics", data.strengths) }
      if #items == 200 then break end
    end
  end
  table.sort(items, function(a, b)
    if a.free ~= b.free then return a.free > b.free end
    return a.name < b.name
  end)
  return store.array(items)
end

local function request(ctx, p)
  local me = ctx.person and store.get("person", ctx.person)
  if not me then ctx:not_found() end
  local mentor = store.get("person", p.mentor)
  if not mentor or mentor.id == me.id or people.capacity(mentor.data) == 0 or people.apart(me, mentor) then
    refuse(ctx, "not_available")
  end
  local programme = p.programme
  if programme then
    local named = store.get("programme", programme)
    if not named or not ctx:can_see(named) then ctx:not_found() end -- else made-up ones would each give one more mentor
  else
    local current = people.current_programme(store, ctx.now)
    programme = current and current.id
  end
  for _, state in ipairs { "active", "requested" } do
    for pair in store.each("pair", { index = "by_mentee", equals = { me.id, state } }) do
      local late = state == "requested" and pair.data.due and pair.data.due < ctx.now
      if not late and (pair.data.programme == programme or pair.data.mentor == mentor.id) then refuse(ctx, "already") end
    end
  end
  expire(mentor.id, ctx.now)
  if people.free_places(store, mentor) <= 0 then refuse(ctx, "full") end
  local id = ctx:uuid()
  news.tell(mentor.id, "pair.requested", "pair/" .. id)
  return make { id = id, programme = programme, mentor = mentor.id, mentee = me.id, mentor_name = mentor.data.name,
    mentee_name = me.data.name, state = "requested", due = ctx.now + clocks.request }
end

local function respond(ctx, p)
  local pair = pair_of(ctx, p.pair)
  ctx:require("person:" .. pair.data.mentor)
  if pair.data.state ~= "requested" then refuse(ctx, "over") end
  news.tell(pair.data.mentee, p.accept and "pair.accepted" or "pair.declined", p.accept and "pair/" .. pair.id or "pair")
  if p.accept then
    return store.patch("pair", pair.id, { state = "active", starts = ctx.now, due = ctx.now + clocks.first_meeting })
  end
  return store.patch("pair", pair.id, { state = "ended", ended = ctx.now, end_reason = "declined", due = store.null })
end

-- After the first meeting each is asked alone. What one answers is kept apart from the pair, where the other cannot read it; the
-- pair itself only knows that an answer came.
local function note(ctx, pair, fields)
  local id = pair.id .. ":" .. ctx.person
  local old = store.get("pair_answer", id)
  if old then return store.patch("pair_answer", id, fields) end
  fields.pair, fields.person, fields.programme = pair.id, ctx.person, pair.data.programme
  fields.mentor_name, fields.mentee_name = pair.data.mentor_name, pair.data.mentee_name
  return store.put("pair_answer", { id = id, data = fields, audience = { "person:" .. ctx.person, "role:coordinator" } })
end

local function answer(ctx, p)
  ctx:require("pair:" .. p.pair)
  local pair = pair_of(ctx, p.pair)
  note(ctx, pair, { fits = p.fits, answered = ctx.now, open = p.fits == "no" })
  local answers = pair.data.answers or {}
  if not answers[ctx.person] then
    answers[ctx.person] = "answered"
    store.patch("pair", pair.id, { answers = answers })
  end
  return { pair = pair.id, fits = p.fits }
end

local function finish(ctx, p)
  local pair = pair_of(ctx, p.pair)
  local staff = ctx:has_role("coordinator", "administrator")
  if not staff then ctx:require("pair:" .. pair.id) end
  if pair.data.state == "ended" then return pair end
  if p.reason and ctx.person and not staff then note(ctx, pair, { end_reason = p.reason }) end
  for other in store.each("pair_answer", { index = "by_pair", equals = { pair.id } }) do
    if other.data.open then store.patch("pair_answer", other.id, { open = false }) end
  end
  return store.patch("pair", pair.id, { state = "ended", ended = ctx.now, due = store.null })
end

local function create_many(ctx, p)
  local ids = {}
  for i, item in ipairs(p.pairs) do
    local mentor, mentee = store.get("person", item.mentor), store.get("person", item.mentee)
    if not mentor or not mentee or mentor.id == mentee.id then
      ctx:invalid("pairs[" .. (i - 1) .. "]", "needs two different people who are here")
    end
    if people.free_places(store, mentor) <= 0 then refuse(ctx, "full") end
    ids[i] = make { id = ctx:uuid(), programme = p.programme, mentor = mentor.id, mentee = mentee.id,
      mentor_name = mentor.data.name, mentee_name = mentee.data.name, state = "active", starts = ctx.now,
      due = ctx.now + clocks.first_meeting }.id
  end
  return { pairs = store.array(ids) }
end

local pair_param = { pair = ref "pair" { required = true } }
local function with_pair(fields)
  fields.pair = pair_param.pair
  return fields
end

-- For the tests: a mentor with so many places, and mentees.
local function sample(places, mentees)
  store.put("person", { id = "m", data = { name = "Mentor", name_folded = "mentor", kind = "student", status = "active",
    mentoring = { capacity = places, status = "active" } } })
  local out = {}
  for i = 1, mentees do
    local id = "e" .. i
    store.put("person", { id = id, data = { name = "Mentee " .. i, name_folded = "mentee " .. i, kind = "student", status = "active" } })
    out[i] = { person = id, roles = { "student" } }
  end
  return { person = "m", roles = { "student" } }, out
end

return service {
  id = "pair",
  title = { en = "Pairs", uz = "Juftliklar", ["uz-Cyrl"] = "Жуфтликлар", ru = "Пары" },
  records = {
    pair = {
      key = "uuid",
      fields = {
        programme = ref "programme",
        mentor = ref "person" { required = true },
        mentee = ref "person" { required = true },
        mentor_name = text { required = true, max = 200 },
        mentee_name = text { required = true, max = 200 },
        state = choice { values = { "requested", "active", "ended" }, required = true },
        rule = text { max = 60 },
        proposal = ref "proposal",
        points = integer {},
        reasons = list { of = any {}, max = 30 },
        starts = time {}, ended = time {},
        end_reason = text { max = 60 },
        due = time {}, -- of the request, or of the first meeting
        held = integer { min = 0 }, last_meeting = time {},
        answers = map { of = text {} }, -- who has answered, never what
      },
      indexes = {
        by_mentor = { fields = { "mentor", "state" } },
        by_mentee = { fields = { "mentee", "state" } },
        by_due = { fields = { "state", "due" } },
        by_programme = { fields = { "programme", "state" } },
        by_state = { fields = { "state" } },
        by_proposal = { fields = { "proposal", "mentee" } },
      },
    },
    pair_answer = {
      key = "natural",
      fields = {
        pair = ref "pair" { required = true },
        person = ref "person" { required = true },
        programme = ref "programme",
        mentor_name = text {}, mentee_name = text {},
        fits = choice { values = { "fits", "unsure", "no" } },
        open = boolean {}, -- somebody should look
        answered = time {},
        end_reason = text { max = 500 },
      },
      indexes = { by_pair = { fields = { "pair" } }, by_open = { fields = { "open" } } },
    },
  },
  methods = {
    ["pair.mentors"] = {
      summary = "Mentors who have a free place, and how many",
      access = "signed_in", params = {}, run = mentors,
    },
    ["pair.request"] = {
      summary = "Asks a mentor; takes a place until they answer, three days at most",
      access = "signed_in", writes = true,
      params = { mentor = ref "person" { required = true }, programme = ref "programme" }, run = request,
    },
    ["pair.respond"] = {
      summary = "The mentor's yes or no",
      access = "signed_in", writes = true, params = with_pair { accept = boolean { required = true } }, run = respond,
    },
    ["pair.answer"] = {
      summary = "After the first meeting: does it fit? The other side never sees the answer",
      access = "signed_in", writes = true,
      params = with_pair { fits = choice { values = { "fits", "unsure", "no" }, required = true } }, run = answer,
    },
    ["pair.end"] = {
      summary = "Ends a pair; a reason goes to the coordinator only",
      access = "signed_in", writes = true, params = with_pair { reason = text { max = 500 } }, run = finish,
    },
    ["pair.create_many"] = {
      summary = "Pairs made by hand, at most 500 a call; places are checked",
      access = { "coordinator", "administrator" }, writes = true,
      params = {
        programme = ref "programme",
        pairs = list { required = true, max = 500, of = object { fields = {
          mentor = ref "person" { required = true }, mentee = ref "person" { required = true },
        } } },
      },
      run = create_many,
    },
  },
  every = { ["*/15 * * * *"] = expire_all },
  tests = {
    ["the last place is given once"] = function(t)
      local _, mentees = sample(1, 2)
      local pair = t:call("pair.request", { mentor = "m" }, mentees[1])
      t:equal(pair.data.state, "requested")
      t:fails(function() t:call("pair.request", { mentor = "m" }, mentees[2]) end)
    end,
    ["a request nobody answered for three days gives its place back"] = function(t)
      local _, mentees = sample(1, 2)
      local pair = t:call("pair.request", { mentor = "m" }, mentees[1])
      store.patch("pair", pair.id, { due = t.ctx.now - 1 })
      t:call("pair.request", { mentor = "m" }, mentees[2])
      t:equal(store.get("pair", pair.id).data.state, "ended")
    end,
    ["a request whose time is over is ended by the clock, and no other pair"] = function(t)
      local mentor, mentees = sample(3, 3)
      local late, waits, active = t:call("pair.request", { mentor = "m" }, mentees[1]), t:call("pair.request", { mentor = "m" }, mentees[2]),
        t:call("pair.request", { mentor = "m" }, mentees[3])
      t:call("pair.respond", { pair = active.id, accept = true }, mentor)
      store.patch("pair", late.id, { due = t.ctx.now - 1 })
      store.patch("pair", active.id, { due = t.ctx.now - 1 })
      t.plugin.every["*/15 * * * *"](t.ctx, t.ctx.now)
      t:equal(store.get("pair", late.id).data.end_reason, "expired")
      t:equal(store.get("pair", waits.id).data.state, "requested")
      t:equal(store.get("pair", active.id).data.state, "active")
    end,
    ["only the mentor who was asked answers"] = function(t)
      local mentor, mentees = sample(2, 2)
      local pair = t:call("pair.request", { mentor = "m" }, mentees[1])
      t:fails(function() t:call("pair.respond", { pair = pair.id, accept = true }, mentees[2]) end)
      t:equal(t:call("pair.respond", { pair = pair.id, accept = true }, mentor).data.state, "active")
    end,
    ["who pauses cannot be asked, and nobody asks themselves"] = function(t)
      local mentor, mentees = sample(2, 1)
      t:fails(function() t:call("pair.request", { mentor = "m" }, mentor) end)
      store.patch("person", "m", { mentoring = { capacity = 2, status = "off" } })
      t:fails(function() t:call("pair.request", { mentor = "m" }, mentees[1]) end)
    end,
    ["the other side cannot read what one answered"] = function(t)
      local mentor, mentees = sample(1, 1)
      local pair = t:call("pair.request", { mentor = "m" }, mentees[1])
      t:call("pair.respond", { pair = pair.id, accept = true }, mentor)
      t:call("pair.answer", { pair = pair.id, fits = "no" }, mentees[1])
      t:equal(store.get("pair", pair.id).data.answers.e1, "answered")
      local kept = store.get("pair_answer", pair.id .. ":e1")
      t:equal(kept.data.fits, "no")
      for _, principal in ipairs(kept.audience) do t:ok(principal ~= "pair:" .. pair.id and principal ~= "person:m") end
    end,
  },
}
