-- Meetings of a pair: free times of both (weekends as good as any day), a proposal, an answer, and what became of it.
-- Held meetings are what helps most; they are counted in the pair.
local clocks = require "lib.clocks"
local news = require "lib.news"
local people = require "lib.people"

local not_yet = { text = {
  en = "This meeting is still to come. You can tell how it went afterwards.",
  uz = "Bu uchrashuv hali boʻlgani yoʻq. Qanday oʻtganini keyin yozasiz.",
  ["uz-Cyrl"] = "Бу учрашув ҳали бўлгани йўқ. Қандай ўтганини кейин ёзасиз.",
  ru = "Эта встреча ещё впереди. Расскажете, как она прошла, после неё.",
} }
local busy = { text = {
  en = "One of you already has a meeting at this time. Please pick another.",
  uz = "Bu vaqtda biringizning boshqa uchrashuvi bor. Boshqa vaqt tanlang.",
  ["uz-Cyrl"] = "Бу вақтда бирингизнинг бошқа учрашуви бор. Бошқа вақт танланг.",
  ru = "У кого-то из вас в это время уже есть встреча. Выберите другое время.",
} }
local over = { text = {
  en = "This can no longer be changed.",
  uz = "Buni endi oʻzgartirib boʻlmaydi.",
  ["uz-Cyrl"] = "Буни энди ўзгартириб бўлмайди.",
  ru = "Это уже нельзя изменить.",
} }
local other_side = { text = {
  en = "You proposed this time yourself; the other side answers.",
  uz = "Bu vaqtni oʻzingiz taklif qilgansiz; javobni sherigingiz beradi.",
  ["uz-Cyrl"] = "Бу вақтни ўзингиз таклиф қилгансиз; жавобни шеригингиз беради.",
  ru = "Это время предложили вы сами; отвечает ваш напарник.",
} }
local ended = { text = {
  en = "This pair has ended.", uz = "Bu juftlik yakunlangan.", ["uz-Cyrl"] = "Бу жуфтлик якунланган.", ru = "Эта пара завершена.",
} }

local function pair_of(ctx, id)
  local pair = store.get("pair", id)
  if not pair then ctx:not_found() end
  return pair
end

-- What one may not see is not there: neither is the pair it belongs to named.
local function meeting_of(ctx, id)
  local meeting = store.get("meeting", id)
  if not meeting or not ctx:can_see(meeting) then ctx:not_found() end
  ctx:require("pair:" .. meeting.data.pair)
  return meeting
end

local function open(state) return state == "proposed" or state == "accepted" end

-- Everything that either has agreed to or is asked for, from now on, in all of their pairs.
local function busy_times(pair, now)
  local out, seen = {}, {}
  for _, person in ipairs { pair.data.mentor, pair.data.mentee } do
    for _, p in ipairs(people.pairs_of(store, person, "active")) do
      if not seen[p.id] then
        seen[p.id] = true
        for meeting in store.each("meeting", { index = "by_pair", equals = { p.id }, from = now - 4 * clocks.hour }) do
          local data = meeting.data
          if open(data.state) then
            out[#out + 1] = { starts = data.starts, ends = data.starts + data.minutes * clocks.minute, meeting = meeting.id }
          end
        end
      end
    end
  end
  return out
end

local function slots(ctx, p)
  ctx:require("pair:" .. p.pair)
  local pair = pair_of(ctx, p.pair)
  if pair.data.state ~= "active" then return { slots = store.array {} } end -- nobody's hours are shown to who has only asked
  local mentor, mentee = store.get("person", pair.data.mentor), store.get("person", pair.data.mentee)
  local function hours(person) return person and person.data.availability or {} end
  local busy_then = {}
  for i, one in ipairs(busy_times(pair, ctx.now)) do busy_then[i] = { one.starts, one.ends } end
  return { slots = store.array(calendar.slots {
    a = hours(mentor), b = hours(mentee), from = ctx.now + clocks.hour, days = p.days, minutes = p.minutes,
    busy = busy_then, limit = 40,
  }) }
end

local function check_online(ctx, p)
  local online = p.online
  if online ~= nil and type(online) ~= "boolean" and not (type(online) == "string" and #online <= 500) then
    ctx:invalid("online", "must be a link, or true")
  end
end

local function propose(ctx, p)
  check_online(ctx, p)
  ctx:require("pair:" .. p.pair)
  local pair = pair_of(ctx, p.pair)
  if pair.data.state ~= "active" then ctx:refuse("ended", ended) end
  if p.starts <= ctx.now then ctx:invalid("starts", "must be in the future") end
  local ends = p.starts + p.minutes * clocks.minute
  for _, other in ipairs(busy_times(pair, ctx.now)) do
    if p.starts < other.ends and other.starts < ends then ctx:refuse("busy", busy) end
  end
  news.tell_pair(pair, ctx.person, "meeting.proposed")
  return store.put("meeting", {
    data = { pair = pair.id, starts = p.starts, minutes = p.minutes, place = p.place, online = p.online, topic = p.topic,
      state = "proposed", proposed_by = ctx.person },
    audience = { "pair:" .. pair.id, "role:coordinator", "role:administrator" },
  })
end

local function answer(ctx, p)
  local meeting = meeting_of(ctx, p.meeting)
  if meeting.data.state ~= "proposed" or meeting.data.starts + meeting.data.minutes * clocks.minute < ctx.now then
    ctx:refuse("over", over)
  end
  if meeting.data.proposed_by == ctx.person then ctx:refuse("other_side", other_side) end
  news.tell_pair(pair_of(ctx, meeting.data.pair), ctx.person, p.accept and "meeting.accepted" or "meeting.declined")
  return store.patch("meeting", meeting.id, { state = p.accept and "accepted" or "declined" })
end

local function count_held(pair, starts)
  store.patch("pair", pair.id, { held = (pair.data.held or 0) + 1, last_meeting = math.max(pair.data.last_meeting or 0, starts) })
end

-- A meeting that was planned, or one that just happened (then with pair and starts). A coordinator may write down what a pair
-- reports by word of mouth.
local function record(ctx, p)
  check_online(ctx, p)
  if not p.meeting then
    if not p.pair or not p.starts then ctx:invalid("meeting", "give the meeting, or the pair and when you met") end
    if not ctx:has_role("coordinator", "administrator") then ctx:require("pair:" .. p.pair) end
    local pair = pair_of(ctx, p.pair)
    if p.starts > ctx.now then ctx:refuse("not_yet", not_yet) end
    local made = store.put("meeting", {
      data = { pair = pair.id, starts = p.starts, minutes = p.minutes, place = p.place, online = p.online, topic = p.topic,
        state = p.outcome, proposed_by = ctx.person },
      audience = { "pair:" .. pair.id, "role:coordinator", "role:administrator" },
    })
    if p.outcome == "held" then count_held(pair, p.starts) end
    return made
  end
  local meeting = meeting_of(ctx, p.meeting)
  if not open(meeting.data.state) then ctx:refuse("over", over) end
  if meeting.data.starts > ctx.now then ctx:refuse("not_yet", not_yet) end
  if p.outcome == "held" then count_held(pair_of(ctx, meeting.data.pair), meeting.data.starts) end
  return store.patch("meeting", meeting.id, { state = p.outcome, topic = p.topic })
end

local function cancel(ctx, p)
  local meeting = meeting_of(ctx, p.meeting)
  if not open(meeting.data.state) then ctx:refuse("over", over) end
  if meeting.data.starts > ctx.now then -- what is over by now needs no hurry
    news.tell_pair(pair_of(ctx, meeting.data.pair), ctx.person, "meeting.cancelled", meeting.data.starts - ctx.now < clocks.day)
  end
  return store.patch("meeting", meeting.id, { state = "cancelled" })
end

local minutes = integer { min = 15, max = 240, default = 60 }
local details = {
  place = text { max = 200 }, online = any { title = "a link, or true when both know where" }, topic = text { max = 500 },
}
local function with(fields)
  for name, schema in pairs(details) do fields[name] = schema end
  return fields
end

-- For the tests: a pair of a and b who are both free on Saturday and Sunday from 10 to 13.
local function sample(t)
  local weekend = { 130, 131, 132, 154, 155, 156 }
  for _, id in ipairs { "a", "b" } do
    store.put("person", { id = id, data = { name = id, name_folded = id, kind = "student", availability = weekend } })
  end
  local pair = store.put("pair", { data = { mentor = "a", mentee = "b", mentor_name = "A", mentee_name = "B", state = "active",
    starts = t.ctx.now }, members = { "person:a", "person:b" } })
  local function who(id) return { person = id, roles = { "student" } } end
  return pair.id, who("a"), who("b")
end

return service {
  id = "meeting",
  title = { en = "Meetings", uz = "Uchrashuvlar", ["uz-Cyrl"] = "Учрашувлар", ru = "Встречи" },
  records = {
    meeting = {
      key = "uuid",
      fields = with {
        pair = ref "pair" { required = true },
        starts = time { required = true },
        minutes = minutes,
        state = choice { values = { "proposed", "accepted", "declined", "held", "no_show", "cancelled" }, required = true },
        proposed_by = ref "person",
      },
      indexes = { by_pair = { fields = { "pair", "starts" } }, by_state = { fields = { "state", "starts" } } },
    },
  },
  methods = {
    ["meeting.slots"] = {
      summary = "Times at which both are free",
      access = "signed_in",
      params = { pair = ref "pair" { required = true }, days = integer { min = 1, max = 42, default = 14 }, minutes = minutes },
      run = slots,
    },
    ["meeting.propose"] = {
      summary = "Proposes a time to the other side",
      access = "signed_in", writes = true,
      params = with { pair = ref "pair" { required = true }, starts = time { required = true }, minutes = minutes },
      run = propose,
    },
    ["meeting.answer"] = {
      summary = "Agrees to a proposed time, or not",
      access = "signed_in", writes = true,
      params = { meeting = ref "meeting" { required = true }, accept = boolean { required = true } },
      run = answer,
    },
    ["meeting.log"] = {
      summary = "Tells what became of a meeting; with pair and starts, of one that was not planned here",
      access = "signed_in", writes = true,
      params = with {
        meeting = ref "meeting", pair = ref "pair", starts = time {}, minutes = minutes,
        outcome = choice { values = { "held", "no_show" }, required = true },
      },
      run = record,
    },
    ["meeting.cancel"] = {
      summary = "Calls a meeting off",
      access = "signed_in", writes = true,
      params = { meeting = ref "meeting" { required = true } },
      run = cancel,
    },
  },
  tests = {
    ["the first free times of both come from the weekend they share"] = function(t)
      local pair, mentor = sample(t)
      local found = t:call("meeting.slots", { pair = pair }, mentor).slots
      t:ok(#found > 0, "no slots")
      t:ok(found[1].weekend == true)
      t:ok(found[1].starts > t.ctx.now)
    end,
    ["an hour that is taken is not offered again"] = function(t)
      local pair, mentor = sample(t)
      local first = t:call("meeting.slots", { pair = pair }, mentor).slots[1]
      t:call("meeting.propose", { pair = pair, starts = first.starts }, mentor)
      for _, slot in ipairs(t:call("meeting.slots", { pair = pair }, mentor).slots) do t:ok(slot.starts ~= first.starts) end
    end,
    ["the other side answers a proposal, not the one who made it"] = function(t)
      local pair, mentor, mentee = sample(t)
      local meeting = t:call("meeting.propose", { pair = pair, starts = t.ctx.now + clocks.day }, mentor)
      t:fails(function() t:call("meeting.answer", { meeting = meeting.id, accept = true }, mentor) end)
      t:equal(t:call("meeting.answer", { meeting = meeting.id, accept = true }, mentee).data.state, "accepted")
    end,
    ["who is asked for a meeting is told of it, and who asked is told the answer"] = function(t)
      local pair, mentor, mentee = sample(t)
      local meeting = t:call("meeting.propose", { pair = pair, starts = t.ctx.now + clocks.day }, mentor)
      t:call("meeting.answer", { meeting = meeting.id, accept = true }, mentee)
      local told = {}
      for n in store.each("notification", {}) do told[n.data.key] = n.data.person end
      t:equal(told["meeting.proposed"], "b")
      t:equal(told["meeting.accepted"], "a")
    end,
    ["nobody is asked twice for the same hour"] = function(t)
      local pair, mentor, mentee = sample(t)
      t:call("meeting.propose", { pair = pair, starts = t.ctx.now + clocks.day }, mentor)
      t:fails(function()
        t:call("meeting.propose", { pair = pair, starts = t.ctx.now + clocks.day + 30 * clocks.minute }, mentee)
      end)
    end,
    ["a meeting is logged after it was, and counts for the pair"] = function(t)
      local pair, mentor = sample(t)
      local meeting = t:call("meeting.propose", { pair = pair, starts = t.ctx.now + clocks.day }, mentor)
      t:fails(function() t:call("meeting.log", { meeting = meeting.id, outcome = "held" }, mentor) end)
      t:call("meeting.log", { pair = pair, starts = t.ctx.now - clocks.day, outcome = "held" }, mentor)
      t:equal(store.get("pair", pair).data.held, 1)
    end,
    ["strangers see no times"] = function(t)
      local pair = sample(t)
      t:fails(function() t:call("meeting.slots", { pair = pair }, { person = "c", roles = { "student" } }) end)
    end,
  },
}
