-- A programme: one institution, one term, one purpose. Its overview is worked out from what has really happened.
local clocks = require "lib.clocks"
local people = require "lib.people"

local fields = {
  title = translated { required = true, max_length = 200 },
  term = text { required = true, max_length = 60 },
  purpose = translated { max_length = 2000 },
  starts = time { required = true },
  ends = time { required = true },
  rule = text { max_length = 60 },
  questionnaires = list { max = 20, of = object { fields = {
    id = text { required = true, max_length = 60 },
    moment = text { required = true, max_length = 30 },
    opens = time {}, -- when it may be answered; "before" from the start on, "after" in the last four weeks
  } } },
  state = choice { values = { "active", "ended" } },
}

local function optional(from)
  local out = {}
  for name, schema in pairs(from) do
    local copy = {}
    for k, v in pairs(schema) do copy[k] = v end
    copy.required = nil
    out[name] = copy
  end
  return out
end

local function check(ctx, p)
  if p.starts and p.ends and p.ends <= p.starts then ctx:invalid("ends", "must be after the start") end
  if p.rule and not plugins.get("matcher", p.rule) then ctx:invalid("rule", "there is no such matching rule") end
  for i, q in ipairs(p.questionnaires or {}) do
    if not plugins.get("questionnaire", q.id) then
      ctx:invalid("questionnaires[" .. (i - 1) .. "].id", "there is no such questionnaire")
    end
  end
end

local function overview(ctx, p)
  local programme = store.get("programme", p.programme)
  if not programme then ctx:not_found() end
  local out = {
    programme = programme.id,
    people = store.count("person", { index = "by_kind", equals = { "student" } }),
    mentors = store.count("person", { index = "by_capacity", from = 1 }),
    mentees = 0,
    answered = { before = 0, after = 0 },
    proposals = store.count("proposal", { index = "by_programme", equals = { programme.id } }),
    pairs = { requested = 0, active = 0, ended = 0 },
    meetings = { ["0"] = 0, ["1"] = 0, ["2"] = 0, ["3"] = 0, ["4+"] = 0 },
    silent = {}, messages = 0,
  }
  for _, q in ipairs(programme.data.questionnaires or {}) do
    local n = store.count("questionnaire_result", { index = "by_programme", equals = { programme.id, q.moment, q.id } })
    out.answered[q.moment] = math.max(out.answered[q.moment] or 0, n)
  end
  local mentees = {}
  for pair in store.each("pair", { index = "by_programme", equals = { programme.id } }) do
    local data = pair.data
    out.pairs[data.state] = out.pairs[data.state] + 1
    out.messages = out.messages + store.count("message", { index = "by_to", equals = { "pair:" .. pair.id } })
    if data.state ~= "requested" and data.starts then
      local held = data.held or 0
      local slot = held >= 4 and "4+" or tostring(held)
      out.meetings[slot] = out.meetings[slot] + 1
      mentees[data.mentee] = true
    end
    if data.state == "active" then
      local since = ctx.now - people.last_sign(store, pair)
      if since >= clocks.quiet then
        out.silent[#out.silent + 1] = { pair = pair.id, mentor_name = data.mentor_name, mentee_name = data.mentee_name,
          days = since // clocks.day }
      end
    end
  end
  table.sort(out.silent, function(a, b) return a.days > b.days end)
  store.array(out.silent)
  local proposal = store.first("proposal", { index = "by_programme", equals = { programme.id }, order = "desc" })
  if proposal then
    out.mentees = proposal.data.summary.mentees
  else
    for _ in pairs(mentees) do out.mentees = out.mentees + 1 end
  end
  return out
end

return service {
  id = "programme",
  title = { en = "Programmes", uz = "Dasturlar", ["uz-Cyrl"] = "Дастурлар", ru = "Программы" },
  records = {
    programme = {
      key = "uuid",
      fields = fields,
      indexes = { by_state = { fields = { "state" } }, by_term = { fields = { "term" } } },
    },
  },
  methods = {
    ["programme.create"] = {
      summary = "Begins a programme",
      access = { "coordinator", "administrator" }, writes = true, params = fields,
      run = function(ctx, p)
        check(ctx, p)
        p.idem, p.state = nil, p.state or "active"
        return store.put("programme", { data = p, audience = { "institution" } })
      end,
    },
    ["programme.update"] = {
      summary = "Changes a programme",
      access = { "coordinator", "administrator" }, writes = true, patch = true,
      params = (function()
        local all = optional(fields)
        all.programme = ref "programme" { required = true }
        return all
      end)(),
      run = function(ctx, p)
        local programme = store.get("programme", p.programme)
        if not programme then ctx:not_found() end
        p.idem, p.programme = nil, nil
        check(ctx, { starts = p.starts or programme.data.starts, ends = p.ends or programme.data.ends, rule = p.rule,
          questionnaires = p.questionnaires })
        return store.patch("programme", programme.id, p)
      end,
    },
    ["programme.overview"] = {
      summary = "Where a programme stands: people, answers, pairs, meetings held per pair, silent pairs",
      access = { "coordinator", "administrator" },
      params = { programme = ref "programme" { required = true } }, run = overview,
    },
  },
  tests = {
    ["a programme does not end before it starts"] = function(t)
      t:fails(function()
        t:call("programme.create", { title = "Kuz", term = "2026", starts = 2000, ends = 1000 }, { roles = { "coordinator" } })
      end)
    end,
    ["a student does not begin a programme"] = function(t)
      t:fails(function()
        t:call("programme.create", { title = "Kuz", term = "2026", starts = 1000, ends = 2000 }, { person = "p", roles = { "student" } })
      end)
    end,
    ["meetings held are counted per pair, and a quiet pair is found"] = function(t)
      local staff = { roles = { "coordinator" } }
      local now = t.ctx.now
      local programme = t:call("programme.create", { title = "Kuz", term = "2026", starts = now - 90 * clocks.day,
        ends = now + clocks.day }, staff)
      for i, held in ipairs { 0, 2, 7 } do
        store.put("pair", { data = { programme = programme.id, mentor = "a" .. i, mentee = "b" .. i, mentor_name = "A",
          mentee_name = "B", state = "active", held = held, starts = now - 30 * clocks.day,
          last_meeting = held > 0 and now - clocks.day or nil } })
      end
      local seen = t:call("programme.overview", { programme = programme.id }, staff)
      t:equal(seen.meetings["0"], 1)
      t:equal(seen.meetings["2"], 1)
      t:equal(seen.meetings["4+"], 1)
      t:equal(#seen.silent, 1)
      t:equal(seen.silent[1].days, 30)
    end,
  },
}
