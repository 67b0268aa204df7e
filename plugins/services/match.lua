-- From a rule to pairs: a run makes a proposal, a coordinator looks at it, changes it and approves it. Nothing is a pair before that.
local clocks = require "lib.clocks"
local pairing = require "lib.pairing"
local people = require "lib.people"
local rules = require "lib.rules"

local APPROVE_AT_ONCE = 1000 -- pairs that one call makes; more are left for the next

local texts = {
  decided = {
    en = "This proposal has been decided already.", uz = "Bu taklif boʻyicha qaror qabul qilingan.",
    ["uz-Cyrl"] = "Бу таклиф бўйича қарор қабул қилинган.", ru = "По этому предложению решение уже принято.",
  },
  full = {
    en = "All places of this mentor are taken in the proposal.", uz = "Taklifda bu mentorning hamma oʻrinlari band.",
    ["uz-Cyrl"] = "Таклифда бу менторнинг ҳамма ўринлари банд.", ru = "В предложении все места этого наставника заняты.",
  },
  apart = {
    en = "These two cannot be put together.", uz = "Bu ikkisini birga qoʻyib boʻlmaydi.",
    ["uz-Cyrl"] = "Бу иккисини бирга қўйиб бўлмайди.", ru = "Этих двоих соединить нельзя.",
  },
}
local function refuse(ctx, reason) ctx:refuse(reason, { text = texts[reason] }) end

local function rule_of(ctx, id, weights)
  local rule = plugins.get("matcher", id)
  if not rule then ctx:not_found() end
  local weighted, unknown = rules.weighted(rule, weights)
  if not weighted then ctx:invalid("options.weights." .. unknown, "the rule has no such criterion, or nothing would be left of it") end
  if rule.columns then ctx:invalid("rule", "columns are not run yet; use pair") end
  return weighted
end

local function draft_of(ctx, id)
  local proposal = store.get("proposal", id)
  if not proposal then ctx:not_found() end
  if proposal.data.state ~= "draft" then refuse(ctx, "decided") end
  return proposal
end

local audience = { "role:coordinator", "role:administrator" }

-- ---- who takes part ---------------------------------------------------------------------------------------------------------------

-- In the order of their numbers, so that the same people always give the same pairs, whatever ids they got.
local function in_order(list)
  table.sort(list, function(a, b)
    local x, y = a.data.external_id or "", b.data.external_id or ""
    if x ~= y then return x < y end
    return a.id < b.id
  end)
  return list
end

-- Pairs that hold a place or have a mentee already: {[mentor] = places held}, {[mentee of this programme] = true}. `passed`, when
-- given, says of a pair that it is to be looked at as if it were not there.
local function held_now(programme, passed)
  local held, taken = {}, {}
  for _, state in ipairs { "active", "requested" } do
    for pair in store.each("pair", { index = "by_state", equals = { state } }) do
      if not passed or not passed(pair) then
        held[pair.data.mentor] = (held[pair.data.mentor] or 0) + 1
        if pair.data.programme == programme then taken[pair.data.mentee] = true end
      end
    end
  end
  return held, taken
end

-- Who has free places and is a mentor by the rule.
local function mentors_of(rule, held)
  local out = {}
  for person in store.each("person", { index = "by_capacity", from = 1 }) do
    local free = people.capacity(person.data) - (held[person.id] or 0)
    if free > 0 and rules.meets(rule.mentor.where, person.data) then
      out[#out + 1] = { id = person.id, data = person.data, free = free }
    end
  end
  return in_order(out)
end

-- Who is a mentee by the rule and has no mentor in this programme yet.
local function mentees_of(rule, taken)
  local out = {}
  for person in store.each("person", { index = "by_kind", equals = { "student" } }) do
    if not taken[person.id] and person.data.status ~= "left" and rules.meets(rule.mentee.where, person.data) then
      out[#out + 1] = { id = person.id, data = person.data }
    end
  end
  return in_order(out)
end

local function explain(rule, mentee, mentor)
  local judged = pairing.judge(rule, mentee, mentor)
  local reasons = {}
  for i, one in ipairs(rule.prefer) do
    local points = judged.parts[i] or 0
    if points > 0 then reasons[#reasons + 1] = rules.reason(one, points, mentee.data, mentor.data) end
  end
  if judged.extra then reasons[#reasons + 1] = rules.own(judged.extra.points, judged.extra.why) end
  table.sort(reasons, function(a, b)
    if a.points ~= b.points then return a.points > b.points end
    return a.args.name < b.args.name
  end)
  return store.array(reasons), judged
end

local function summarise(points)
  table.sort(points)
  if #points == 0 then return 0, 0 end
  return points[1], points[(#points + 1) // 2]
end

-- ---- a run ---------------------------------------------------------------------------------------------------------------------------

local function run(ctx, p)
  if not store.get("programme", p.programme) then ctx:not_found() end
  local rule = rule_of(ctx, p.rule, p.options and p.options.weights)
  ctx:progress(0.05)
  local held, taken = held_now(p.programme)
  local mentees, mentors = mentees_of(rule, taken), mentors_of(rule, held)
  ctx:progress(0.2)
  local solved = pairing.solve(rule, mentees, mentors, function(part) ctx:progress(0.2 + 0.6 * part) end)
  ctx:progress(0.9)
  -- Only ids and points go on to the second part; the sentences are made there.
  local plan = { pairs = {}, unmatched = {}, mentees = #mentees, mentors = #mentors, seats = 0 }
  for _, mentor in ipairs(mentors) do plan.seats = plan.seats + mentor.free end
  for i, one in ipairs(solved.pairs) do plan.pairs[i] = { mentees[one.mentee].id, mentors[one.mentor].id, one.points } end
  for i, one in ipairs(solved.unmatched) do plan.unmatched[i] = { mentees[one.mentee].id, one.why, one.fits } end
  store.array(plan.pairs)
  store.array(plan.unmatched)
  return plan
end

local function keep(ctx, p, plan)
  local rule = rule_of(ctx, p.rule, p.options and p.options.weights)
  local id, points, unmatched = ctx:uuid(), {}, {}
  for i, one in ipairs(plan.unmatched) do
    local person = store.get("person", one[1])
    unmatched[i] = { mentee = one[1], name = person and person.data.name or "", why = rules.why(one[2], { fits = one[3] }) }
  end
  for i, one in ipairs(plan.pairs) do
    local mentee, mentor = store.get("person", one[1]), store.get("person", one[2])
    if mentee and mentor then
      local reasons = explain(rule, mentee, mentor)
      points[#points + 1] = one[3]
      store.put("proposal_pair", {
        data = { proposal = id, mentee = mentee.id, mentor = mentor.id, mentee_name = mentee.data.name, mentor_name = mentor.data.name,
          points = one[3], reasons = reasons, locked = false, source = "rule" },
        audience = audience,
      })
    end
    if i % 500 == 0 then ctx:progress(0.9 + 0.1 * i / #plan.pairs) end
  end
  local worst, median = summarise(points)
  store.put("proposal", {
    id = id,
    data = { programme = p.programme, rule = rule.id, rule_version = rule.version, state = "draft", matched = #points,
      unmatched = store.array(unmatched), options = p.options or {}, made = ctx.now,
      summary = { mentees = plan.mentees, mentors = plan.mentors, seats = plan.seats, matched = #points, worst = worst, median = median } },
    audience = audience,
  })
  return { proposal = id, matched = #points, unmatched = #unmatched, mentees = plan.mentees, mentors = plan.mentors, seats = plan.seats,
    worst = worst, median = median }
end

-- ---- what a rule would change ---------------------------------------------------------------------------------------------------------

local SHOWN = 200 -- of each list; the counts are of all

-- The programme that was named, or else the newest, those under way first.
local function programme_of(ctx, id)
  if id then return store.get("programme", id) or ctx:not_found() end
  local best
  for programme in store.each("programme") do
    local better = not best or (programme.data.state == "active") ~= (best.data.state == "active") and programme.data.state == "active"
      or (programme.data.state == "active") == (best.data.state == "active") and programme.data.starts > best.data.starts
    if better then best = programme end
  end
  return best or ctx:invalid("programme", "there is no programme yet")
end

-- The pairs to compare with: {[mentee] = {mentor, points, mentee_name, mentor_name, reasons}}, where they are from, and which pairs that
-- hold places now are the same. The newest proposal that was not discarded; without one, the pairs there are.
local function pairs_before(programme)
  local last
  for proposal in store.each("proposal", { index = "by_programme", equals = { programme } }) do
    if proposal.data.state ~= "discarded" and (not last or proposal.data.made > last.data.made) then last = proposal end
  end
  local was, from = {}, { source = "none" }
  if last then
    from = { source = "proposal", proposal = last.id, rule = last.data.rule, rule_version = last.data.rule_version, made = last.data.made }
    for one in store.each("proposal_pair", { index = "by_proposal", equals = { last.id } }) do was[one.data.mentee] = one.data end
    return was, from, function(pair) return pair.data.proposal == last.id end
  end
  for pair in store.each("pair", { index = "by_state", equals = { "active" } }) do
    if pair.data.programme == programme then
      was[pair.data.mentee] = pair.data
      from.source = "pairs"
    end
  end
  return was, from, function(pair) return pair.data.programme == programme and pair.data.state == "active" end
end

local function shown(list, name)
  table.sort(list, function(a, b) return a[name] < b[name] end)
  local out = {}
  for i = 1, math.min(SHOWN, #list) do out[i] = list[i] end
  return store.array(out)
end

local function side(set, names)
  local list, points = {}, {}
  for mentee, one in pairs(set) do
    local name, mentor_name = names(mentee), names(one.mentor)
    list[#list + 1] = { mentee = mentee, mentor = one.mentor, mentee_name = name, mentor_name = mentor_name, points = one.points or 0 }
    points[#points + 1] = one.points or 0
  end
  local worst, median = summarise(points)
  return { pairs = shown(list, "mentee"), matched = #points, worst = worst, median = median }
end

local function preview(ctx, p)
  local programme = programme_of(ctx, p.programme)
  local rule = rule_of(ctx, p.rule, p.options and p.options.weights)
  local was, from, same = pairs_before(programme.id)
  local held, taken = held_now(programme.id, same)
  local mentees, mentors = mentees_of(rule, taken), mentors_of(rule, held)
  local by_id, now, why = {}, {}, {}
  for _, list in ipairs { mentees, mentors } do
    for _, person in ipairs(list) do by_id[person.id] = person end
  end
  local function person(id)
    if by_id[id] == nil then by_id[id] = store.get("person", id) or false end
    return by_id[id] or nil
  end
  local function name(id) return person(id) and person(id).data.name or "" end
  local solved = pairing.solve(rule, mentees, mentors, function(part) ctx:progress(0.1 + 0.8 * part) end)
  for _, one in ipairs(solved.pairs) do now[mentees[one.mentee].id] = { mentor = mentors[one.mentor].id, points = one.points } end
  for _, one in ipairs(solved.unmatched) do why[mentees[one.mentee].id] = rules.why(one.why, { fits = one.fits }) end

  local changed, gained, lost, unmatched, kept = {}, {}, {}, {}, 0
  for mentee, new in pairs(now) do
    local old = was[mentee]
    if old and old.mentor == new.mentor then
      kept = kept + 1
    else
      local one = { mentee = mentee, mentee_name = name(mentee), to = new.mentor, to_name = name(new.mentor), to_points = new.points }
      local list = old and changed or gained
      list[#list + 1] = one
    end
  end
  for mentee, old in pairs(was) do
    if not now[mentee] then
      lost[#lost + 1] = { mentee = mentee, mentee_name = name(mentee), from = old.mentor, from_name = name(old.mentor),
        from_points = old.points or 0, why = why[mentee] or rules.why("outside") }
    end
  end
  for mentee, because in pairs(why) do unmatched[#unmatched + 1] = { mentee = mentee, name = name(mentee), why = because } end
  local counts = { changed = #changed, gained = #gained, lost = #lost, kept = kept, unmatched = #unmatched,
    mentees = #mentees, mentors = #mentors }

  local out = { programme = programme.id, programme_title = programme.data.title, rule = rule.id, rule_version = rule.version,
    counts = counts, changed = shown(changed, "mentee"), gained = shown(gained, "mentee"), lost = shown(lost, "mentee"),
    unmatched = shown(unmatched, "mentee"), before = side(was, name), after = side(now, name) }
  for key, value in pairs(from) do out.before[key] = value end
  -- Why, for those who are shown: what the new pair has, and what the old one comes to by this rule.
  for _, list in ipairs { out.changed, out.gained } do
    for _, one in ipairs(list) do
      one.reasons = explain(rule, person(one.mentee), person(one.to))
      local old = was[one.mentee]
      if old then
        one.from, one.from_name, one.from_points = old.mentor, name(old.mentor), old.points or 0
        local judged = person(old.mentor) and pairing.judge(rule, person(one.mentee), person(old.mentor))
        one.from_points_now = judged and judged.may and judged.points or nil
        one.from_why = judged and not judged.may and rules.why(judged.why) or nil
      end
    end
  end
  return out
end

-- ---- looking and changing ---------------------------------------------------------------------------------------------------------------

local function pair_in(proposal, mentee)
  return store.first("proposal_pair", { index = "by_mentee", equals = { proposal, mentee } })
end

-- Numbers of a proposal after a change by hand.
local function recount(proposal)
  local points = {}
  for pair in store.each("proposal_pair", { index = "by_proposal", equals = { proposal.id } }) do points[#points + 1] = pair.data.points end
  local summary = proposal.data.summary
  summary.matched = #points
  summary.worst, summary.median = summarise(points)
  return store.patch("proposal", proposal.id, { matched = #points, summary = summary, unmatched = proposal.data.unmatched })
end

-- Places that a mentor still has in this proposal, beside the pairs they have already.
local function left_in(proposal, mentor)
  return people.free_places(store, mentor)
    - store.count("proposal_pair", { index = "by_mentor", equals = { proposal.id, mentor.id } })
end

local function change(ctx, p)
  local proposal = draft_of(ctx, p.proposal)
  local current = pair_in(proposal.id, p.mentee)
  local unmatched = {}
  for _, one in ipairs(proposal.data.unmatched) do
    if one.mentee ~= p.mentee then unmatched[#unmatched + 1] = one end
  end
  proposal.data.unmatched = store.array(unmatched)

  if not p.mentor and p.locked ~= nil then -- only pinned, or let go
    if not current then ctx:not_found() end
    return { pair = store.patch("proposal_pair", current.id, { locked = p.locked }) }
  end
  local mentee = store.get("person", p.mentee)
  if not mentee then ctx:not_found() end
  if current and current.data.mentor == p.mentor then
    if p.locked ~= nil then current = store.patch("proposal_pair", current.id, { locked = p.locked }) end
    return { pair = current }
  end
  if current then store.delete("proposal_pair", current.id) end
  if not p.mentor then
    unmatched[#unmatched + 1] = { mentee = mentee.id, name = mentee.data.name, why = rules.why("removed") }
    return { proposal = recount(proposal) }
  end

  local mentor = store.get("person", p.mentor)
  if not mentor then ctx:not_found() end
  if mentor.id == mentee.id or people.apart(mentor, mentee) then refuse(ctx, "apart") end
  if left_in(proposal, mentor) <= 0 then refuse(ctx, "full") end
  local rule = rule_of(ctx, proposal.data.rule, proposal.data.options.weights)
  local reasons, judged = explain(rule, mentee, mentor)
  reasons[#reasons + 1] = rules.by_hand()
  local made = store.put("proposal_pair", {
    data = { proposal = proposal.id, mentee = mentee.id, mentor = mentor.id, mentee_name = mentee.data.name,
      mentor_name = mentor.data.name, points = judged.points, reasons = reasons, locked = p.locked or false, source = "hand" },
    audience = audience,
  })
  return { pair = made, proposal = recount(proposal), objection = not judged.may and rules.why(judged.why) or nil }
end

local function approve(ctx, p)
  local proposal = draft_of(ctx, p.proposal)
  local starts = p.starts or ctx.now
  local free, made, left, dropped = {}, 0, 0, {}
  for one in store.each("proposal_pair", { index = "by_proposal", equals = { proposal.id } }) do
    local data = one.data
    if made == APPROVE_AT_ONCE then
      left = left + 1
    else
      local mentor = store.get("person", data.mentor)
      free[data.mentor] = free[data.mentor] or (mentor and people.free_places(store, mentor) or 0)
      local has = store.first("pair", { index = "by_proposal", equals = { proposal.id, data.mentee } })
      if not has and free[data.mentor] > 0 then
        free[data.mentor] = free[data.mentor] - 1
        local id = ctx:uuid()
        store.put("pair", {
          id = id,
          data = { programme = proposal.data.programme, mentor = data.mentor, mentee = data.mentee, mentor_name = data.mentor_name,
            mentee_name = data.mentee_name, state = "active", rule = proposal.data.rule, proposal = proposal.id, points = data.points,
            reasons = data.reasons, starts = starts, due = starts + clocks.first_meeting },
          members = { "person:" .. data.mentor, "person:" .. data.mentee },
          audience = { "pair:" .. id, "role:coordinator", "role:administrator" },
        })
        made = made + 1
      elseif not has then -- the mentor's places were given away in the meantime
        dropped[#dropped + 1] = { mentee = data.mentee, name = data.mentee_name, why = rules.why("full", { fits = 1 }) }
      end
    end
  end
  if left == 0 then
    local unmatched = proposal.data.unmatched
    for _, one in ipairs(dropped) do unmatched[#unmatched + 1] = one end
    store.patch("proposal", proposal.id, { state = "approved", unmatched = unmatched })
  end
  return { pairs = made, dropped = store.array(dropped), left = left }
end

local function discard(ctx, p)
  local proposal = draft_of(ctx, p.proposal)
  return store.patch("proposal", proposal.id, { state = "discarded" })
end

local function best_for(ctx, p)
  local proposal = store.get("proposal", p.proposal)
  if not proposal then ctx:not_found() end
  local mentee = store.get("person", p.mentee)
  if not mentee then ctx:not_found() end
  local rule = rule_of(ctx, proposal.data.rule, proposal.data.options.weights)
  local mentors = mentors_of(rule, (held_now(proposal.data.programme)))
  local found, fits = pairing.best(rule, mentee, mentors, 5)
  local items = {}
  for i, one in ipairs(found) do
    local mentor = one.mentor
    items[i] = { mentor = mentor.id, name = mentor.data.name, points = one.points, reasons = explain(rule, mentee, mentor),
      free = math.max(0, mentor.free - store.count("proposal_pair", { index = "by_mentor", equals = { proposal.id, mentor.id } })) }
  end
  return { items = store.array(items), fits = fits }
end

local function list_rules()
  local items = {}
  for _, rule in ipairs(plugins.all "matcher") do
    items[#items + 1] = { id = rule.id, title = rule.title, form = rule.form, version = rule.version,
      criteria = store.array(rules.criteria(rule)) }
  end
  return { items = store.array(items) }
end

local proposal_param = ref "proposal" { required = true }
local mentee_param = ref "person" { required = true }
local staff = { "coordinator", "administrator" }

-- For the tests: one strong mentor with one place, and two who need help; the first shares more with the mentor.
local function sample(t)
  local function person(id, data)
    data.name, data.name_folded, data.kind, data.status, data.languages = id, id, "student", "active", { "uz" }
    store.put("person", { id = id, data = data })
  end
  person("mentor", { year = 3, gpa = 4.5, strengths = { "calculus" }, interests = { "chess" }, mentoring = { capacity = 1 } })
  person("anora", { year = 1, gpa = 2.0, needs = { "calculus" }, interests = { "chess" } })
  person("bobur", { year = 1, gpa = 2.0, needs = { "notes" } })
  store.put("programme", { id = "p", data = { title = "Kuz", term = "2026", starts = t.ctx.now, ends = t.ctx.now + 1, state = "active" } })
  return { person = "k", roles = { "coordinator" } }
end
local function proposed(t, who)
  return t:call("match.run", { programme = "p", rule = "successful-unsuccessful" }, who)
end

return service {
  id = "match",
  title = { en = "Matching", uz = "Juftlik tanlash", ["uz-Cyrl"] = "Жуфтлик танлаш", ru = "Подбор пар" },
  records = {
    proposal = {
      key = "uuid",
      fields = {
        programme = ref "programme" { required = true },
        rule = text { required = true, max = 60 },
        rule_version = text { required = true, max = 64 },
        state = choice { values = { "draft", "approved", "discarded" }, required = true },
        matched = integer { min = 0 },
        unmatched = list { of = any {} },
        summary = any {}, options = any {},
        made = time { required = true },
      },
      indexes = { by_programme = { fields = { "programme" } }, by_state = { fields = { "state" } } },
    },
    proposal_pair = {
      key = "uuid",
      fields = {
        proposal = proposal_param,
        mentee = mentee_param,
        mentor = ref "person" { required = true },
        mentee_name = text {}, mentor_name = text {},
        points = integer { required = true },
        reasons = list { of = any {}, max = 30 },
        locked = boolean {},
        source = choice { values = { "rule", "hand" } },
      },
      indexes = {
        by_proposal = { fields = { "proposal" } },
        by_mentee = { fields = { "proposal", "mentee" } },
        by_mentor = { fields = { "proposal", "mentor" } },
      },
    },
  },
  methods = {
    ["match.rules"] = {
      summary = "Rules for making pairs, with the points of their criteria",
      access = staff, params = {}, run = list_rules,
    },
    ["match.run"] = {
      summary = "Makes a proposal by a rule; a job. weights: other points by name of the criterion",
      access = staff, writes = true, job = true,
      params = {
        programme = ref "programme" { required = true }, rule = text { required = true, max = 60 },
        options = object { fields = { weights = map { of = integer { min = 0, max = 10000 } } } },
      },
      run = run, done = keep,
    },
    ["match.preview"] = {
      summary = "What a rule would change: its pairs against those of the newest proposal, or the pairs there are; a job",
      access = staff, job = true,
      params = {
        rule = text { required = true, max = 60 }, programme = ref "programme",
        options = object { fields = { weights = map { of = integer { min = 0, max = 10000 } } } },
      },
      run = preview,
    },
    ["match.candidates"] = {
      summary = "The five mentors who fit best with a mentee, with reasons and free places",
      access = staff, params = { proposal = proposal_param, mentee = mentee_param }, run = best_for,
    },
    ["match.change"] = {
      summary = "Gives a mentee another mentor, or none; locked pins a pair",
      access = staff, writes = true,
      params = { proposal = proposal_param, mentee = mentee_param, mentor = ref "person", locked = boolean {} }, run = change,
    },
    ["match.approve"] = {
      summary = "Makes pairs of a proposal, at most 1,000 a call; left says how many wait for the next",
      access = staff, writes = true, params = { proposal = proposal_param, starts = time {} }, run = approve,
    },
    ["match.discard"] = {
      summary = "Puts a proposal aside",
      access = staff, writes = true, params = { proposal = proposal_param }, run = discard,
    },
  },
  tests = {
    ["with one place the one who fits better gets it, and the other is told why not"] = function(t)
      local out = proposed(t, sample(t))
      t:equal(out.matched, 1)
      local pair = store.first("proposal_pair", { index = "by_proposal", equals = { out.proposal } })
      t:equal(pair.data.mentee, "anora")
      t:ok(#pair.data.reasons > 0)
      local sum = 0
      for _, reason in ipairs(pair.data.reasons) do sum = sum + reason.points end
      t:equal(sum, pair.data.points)
      local unmatched = store.get("proposal", out.proposal).data.unmatched
      t:equal(unmatched[1].mentee, "bobur")
      t:equal(unmatched[1].why.key, "match.full")
    end,
    ["a run makes no pairs; approving does, and only once"] = function(t)
      local who = sample(t)
      local out = proposed(t, who)
      t:equal(store.count("pair"), 0)
      t:equal(t:call("match.approve", { proposal = out.proposal }, who).pairs, 1)
      local pair = store.first("pair", { index = "by_mentor", equals = { "mentor", "active" } })
      t:equal(pair.data.mentee_name, "anora")
      t:equal(pair.members, { "person:mentor", "person:anora" })
      t:fails(function() t:call("match.approve", { proposal = out.proposal }, who) end, "decided")
    end,
    ["who has a mentor is not matched again, and places that are held are not offered"] = function(t)
      local who = sample(t)
      t:call("match.approve", { proposal = proposed(t, who).proposal }, who)
      local again = proposed(t, who)
      t:equal({ again.matched, again.mentees, again.mentors }, { 0, 1, 0 })
      t:equal(store.get("proposal", again.proposal).data.unmatched[1].why.key, "match.no_mentors")
    end,
    ["a preview compares with the newest proposal, also when its pairs were made, and changes nothing"] = function(t)
      local who = sample(t)
      local proposal = proposed(t, who).proposal
      t:call("match.approve", { proposal = proposal }, who)
      local same = t:call("match.preview", { rule = "successful-unsuccessful" }, who)
      t:equal({ same.counts.kept, same.counts.changed, same.counts.lost, same.before.source }, { 1, 0, 0, "proposal" })
      store.patch("person", "anora", { gpa = 4.9 })
      local other = t:call("match.preview", { rule = "successful-unsuccessful", programme = "p" }, who)
      t:equal({ #other.gained, #other.lost, other.counts.kept }, { 1, 1, 0 })
      t:equal({ other.gained[1].mentee, other.gained[1].to }, { "bobur", "mentor" })
      t:equal({ other.lost[1].mentee, other.lost[1].why.key }, { "anora", "match.outside" })
      t:equal({ store.count("proposal"), store.count("pair") }, { 1, 1 })
    end,
    ["a preview without a proposal compares with the pairs there are, and says what a pair that would go comes to"] = function(t)
      local who = sample(t)
      t:call("pair.create_many", { pairs = { { mentor = "mentor", mentee = "bobur" } }, programme = "p" }, who)
      local out = t:call("match.preview", { rule = "successful-unsuccessful", programme = "p" }, who)
      t:equal({ out.before.source, out.before.matched, out.after.matched }, { "pairs", 1, 1 })
      t:equal({ out.gained[1].mentee, out.lost[1].mentee, out.lost[1].why.key }, { "anora", "bobur", "match.full" })
      t:ok(#out.gained[1].reasons > 0)
    end,
    ["whose grade is not known does not meet a condition on it"] = function(t)
      local who = sample(t)
      store.put("person", { id = "dilnoza", data = { name = "D", name_folded = "d", kind = "student", status = "active", year = 1 } })
      t:equal(proposed(t, who).mentees, 2)
    end,
    ["a coordinator swaps by hand, but never beyond the places"] = function(t)
      local who = sample(t)
      local out = proposed(t, who)
      t:fails(function() t:call("match.change", { proposal = out.proposal, mentee = "bobur", mentor = "mentor" }, who) end, "full")
      t:call("match.change", { proposal = out.proposal, mentee = "anora" }, who)
      t:equal(#store.get("proposal", out.proposal).data.unmatched, 2)
      local changed = t:call("match.change", { proposal = out.proposal, mentee = "bobur", mentor = "mentor" }, who)
      t:equal(changed.pair.data.source, "hand")
      local again = t:call("match.change", { proposal = out.proposal, mentee = "bobur", mentor = "mentor", locked = true }, who)
      t:equal(again.pair.id, changed.pair.id)
      t:equal(again.pair.data.locked, true)
      t:equal(#store.get("proposal", out.proposal).data.unmatched, 1)
    end,
    ["a place that was given away since the run is not given twice"] = function(t)
      local who = sample(t)
      local out = proposed(t, who)
      t:call("pair.create_many", { pairs = { { mentor = "mentor", mentee = "bobur" } } }, who)
      local approved = t:call("match.approve", { proposal = out.proposal }, who)
      t:equal(approved.pairs, 0)
      t:equal(approved.dropped[1].mentee, "anora")
    end,
    ["other weights need names that the rule has"] = function(t)
      local who = sample(t)
      t:fails(function()
        t:call("match.run", { programme = "p", rule = "successful-unsuccessful", options = { weights = { luck = 1 } } }, who)
      end, "luck")
    end,
    ["other weights are brought to 10,000 in all again, and the parts are still the sum"] = function(t)
      local who = sample(t)
      local out = t:call("match.run", { programme = "p", rule = "successful-unsuccessful",
        options = { weights = { shared_interests = 6000, complement_strengths = 6000 } } }, who)
      local pair = store.first("proposal_pair", { index = "by_proposal", equals = { out.proposal } })
      local sum = 0
      for _, reason in ipairs(pair.data.reasons) do sum = sum + reason.points end
      t:equal(sum, pair.data.points)
      t:ok(pair.data.points <= 10000)
      local weighted, total = rules.weighted(plugins.get("matcher", "successful-unsuccessful"), { near_year = 0, equal_faculty = 6000 }), 0
      for _, one in ipairs(weighted.prefer) do total = total + one.points end
      t:equal(total, 10000)
    end,
    ["a rule's own function has the last word, and its part is told"] = function(t)
      local rule = {}
      for k, v in pairs(plugins.get("matcher", "successful-unsuccessful")) do rule[k] = v end
      rule.pair = function(_, mentor, points)
        if mentor.often_away then return points - 200, "often away" end
        return points
      end
      local mentee = { id = "e", data = { needs = { "notes", "calculus" } } }
      local mentor = { strengths = { "notes", "calculus" } }
      t:equal(pairing.judge(rule, mentee, { id = "m", data = mentor }).points, 4500)
      mentor.often_away = true
      local _, judged = explain(rule, mentee, { id = "m", data = mentor })
      t:equal(judged.points, 4300)
      t:equal(judged.extra, { points = -200, why = "often away" })
    end,
    ["candidates come with reasons and free places"] = function(t)
      local who = sample(t)
      local out = proposed(t, who)
      local found = t:call("match.candidates", { proposal = out.proposal, mentee = "bobur" }, who)
      t:equal(found.items[1].mentor, "mentor")
      t:equal(found.items[1].free, 0)
    end,
    ["a student runs no match"] = function(t)
      sample(t)
      t:fails(function() proposed(t, { person = "anora", roles = { "student" } }) end, "need")
    end,
  },
}
