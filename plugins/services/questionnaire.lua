-- Questionnaires: which ones wait for a person, answering them, and what the answers give. Raw answers are sealed under the key
-- of the person they are about; of a sensitive questionnaire the scores are, too.
local clocks = require "lib.clocks"
local forms = require "lib.forms"
local scoring = require "lib.scoring"

local done_already = { text = {
  en = "You have answered this already. Thank you!",
  uz = "Siz bunga javob berib boʻlgansiz. Rahmat!",
  ["uz-Cyrl"] = "Сиз бунга жавоб бериб бўлгансиз. Раҳмат!",
  ru = "Вы на это уже ответили. Спасибо!",
} }

local function form_of(ctx, id)
  local form = plugins.get("questionnaire", id)
  if not form then ctx:not_found() end
  return form
end

local function result_id(person, questionnaire, programme, moment)
  return person .. ":" .. questionnaire .. ":" .. (programme or "-") .. ":" .. moment
end

-- Who may read is declared with the questionnaire; "self" is the person themselves.
local function audience(form, person)
  local out = {}
  for i, who in ipairs(form.audience or { "self" }) do out[i] = who == "self" and "person:" .. person or who end
  return out
end

local function list(ctx)
  local items = {}
  local due = ctx.person and forms.due(store, ctx.person, ctx.now) or {}
  local done = {}
  if ctx.person then
    for result in store.each("questionnaire_result", { index = "by_person", equals = { ctx.person } }) do
      local id = result.data.questionnaire
      done[id] = done[id] or {}
      table.insert(done[id], { moment = result.data.moment, programme = result.data.programme, taken = result.data.taken })
    end
  end
  for _, form in ipairs(plugins.all "questionnaire") do
    local mine = {}
    for _, d in ipairs(due) do
      if d.questionnaire == form.id then mine[#mine + 1] = { programme = d.programme, moment = d.moment, due = d.due } end
    end
    items[#items + 1] = { id = form.id, title = form.title, minutes = form.minutes, sensitive = form.sensitive or false,
      items = #form.items, due = store.array(mine), done = store.array(done[form.id] or {}) }
  end
  table.sort(items, function(a, b)
    if #a.due ~= #b.due then return #a.due > #b.due end
    return a.id < b.id
  end)
  return { items = store.array(items) }
end

-- Whose answers, and for which occasion. Without one, an open occasion of a programme is taken; with none open, the answers
-- stand for themselves and may be given again.
local function occasion(ctx, p, form)
  local person = ctx.person
  if p.person and p.person ~= ctx.person then -- a paper form that somebody types in
    if form.sensitive then ctx:require("psychologist") else ctx:require("coordinator", "administrator", "psychologist") end
    if not store.get("person", p.person) then ctx:not_found() end
    person = p.person
  end
  if not person then ctx:invalid("person", "this account belongs to no person") end
  if p.programme then
    if not store.get("programme", p.programme) then ctx:not_found() end
    return person, p.programme, p.moment or "before"
  end
  if not p.moment then
    for _, d in ipairs(forms.due(store, person, ctx.now)) do
      if d.questionnaire == p.questionnaire then return person, d.programme, d.moment end
    end
  end
  return person, nil, p.moment or "now"
end

local function submit(ctx, p)
  local form = form_of(ctx, p.questionnaire)
  local faults = forms.check(form, p.answers)
  if faults[1] then ctx:invalid(faults[1].path, faults[1].message) end
  local person, programme, moment = occasion(ctx, p, form)
  local id = result_id(person, form.id, programme, moment)
  local old = store.get("questionnaire_result", id)
  if old and programme then ctx:refuse("already_answered", done_already) end

  local scored = scoring.score(form, p.answers)
  local urgent = form.alert and form.alert(scored.scores, p.answers) or false
  local data = { person = person, questionnaire = form.id, version = form.version, programme = programme, moment = moment,
    answers = p.answers, taken = ctx.now, urgent = urgent and true or nil, seen = false }
  if form.sensitive then
    data.private = { scores = scored.scores, bands = scored.bands }
  else
    data.scores, data.bands = scored.scores, scored.bands
  end
  if person ~= ctx.person then data.entered_by = ctx.person or "administrator" end
  if old then
    old.data = data
    store.set(old)
  else
    store.put("questionnaire_result", { id = id, data = data, audience = audience(form, person) })
  end
  local out = { id = id, result = form.result and form.result(scored.scores, scored.bands) or forms.thanks }
  if not form.sensitive and person == ctx.person then out.scores, out.bands = scored.scores, scored.bands end
  return out
end

-- What answers would give, without keeping them: for who writes a questionnaire.
local function preview(ctx, p)
  local form = form_of(ctx, p.questionnaire)
  local faults = forms.check(form, p.answers)
  if faults[1] then ctx:invalid(faults[1].path, faults[1].message) end
  local scored = scoring.score(form, p.answers)
  return { scores = scored.scores, bands = scored.bands, scales = scored.scales, version = form.version,
    urgent = form.alert and form.alert(scored.scores, p.answers) and true or false,
    result = form.result and form.result(scored.scores, scored.bands) or forms.thanks }
end

local function mine(ctx, p)
  local items = {}
  if ctx.person then
    for result in store.each("questionnaire_result", { index = "by_person", equals = { ctx.person } }) do
      if not p.questionnaire or result.data.questionnaire == p.questionnaire then items[#items + 1] = result end
    end
  end
  return { items = store.array(items) }
end

-- A psychologist opens a result that was entrusted to them; the store notes who, whose and why.
local function open(ctx, p)
  local result = store.get("questionnaire_result", p.result)
  if not result or not ctx:can_see(result) then ctx:not_found() end
  ctx:require("psychologist")
  local person = store.get("person", result.data.person)
  local out = { result = result.id, person = result.data.person, name = person and person.data.name, moment = result.data.moment,
    questionnaire = result.data.questionnaire, taken = result.data.taken, scores = result.data.scores, bands = result.data.bands }
  if result.data.private then
    local private = store.unseal(result, "private", p.why)
    out.scores, out.bands = private.scores, private.bands
  end
  if not result.data.seen then store.patch("questionnaire_result", result.id, { seen = true }) end
  return out
end

return service {
  id = "questionnaire",
  title = { en = "Questionnaires", uz = "Soʻrovnomalar", ["uz-Cyrl"] = "Сўровномалар", ru = "Опросники" },
  records = {
    questionnaire_result = {
      key = "natural", about = "person", sealed = { "answers", "private" },
      fields = {
        person = ref "person" { required = true },
        questionnaire = text { required = true, max = 60 },
        version = text { required = true, max = 64 },
        programme = ref "programme",
        moment = text { required = true, max = 30 },
        answers = any { required = true },
        scores = any {}, bands = any {}, private = any {},
        taken = time { required = true },
        urgent = boolean {}, seen = boolean {},
        entered_by = text { max = 100 },
      },
      indexes = {
        by_questionnaire = { fields = { "questionnaire", "moment" } },
        by_programme = { fields = { "programme", "moment", "questionnaire" } },
        by_person = { fields = { "person" } },
        by_urgent = { fields = { "urgent", "seen" } },
      },
    },
  },
  methods = {
    ["questionnaire.list"] = {
      summary = "All questionnaires, with what waits for the caller and what they have answered",
      access = "signed_in", params = {}, run = list,
    },
    ["questionnaire.get"] = {
      summary = "One questionnaire as data: items, options, pages, in all languages",
      access = "signed_in", params = { questionnaire = text { required = true, max = 60 } },
      run = function(ctx, p) return forms.data(form_of(ctx, p.questionnaire), store.array) end,
    },
    ["questionnaire.submit"] = {
      summary = "Scores and keeps answers; what is left out or null was passed over",
      access = "signed_in", writes = true,
      params = {
        questionnaire = text { required = true, max = 60 }, programme = ref "programme", moment = text { min = 1, max = 30 },
        answers = map { required = true, max = 500 }, person = ref "person",
      },
      run = submit,
    },
    ["questionnaire.preview"] = {
      summary = "What answers would give: scores, bands and the text of the result; nothing is kept",
      access = { "administrator" },
      params = { questionnaire = text { required = true, max = 60 }, answers = map { required = true, max = 500 } }, run = preview,
    },
    ["questionnaire.mine"] = {
      summary = "The caller's own results",
      access = "signed_in", params = { questionnaire = text { max = 60 } }, run = mine,
    },
    ["questionnaire.open"] = {
      summary = "Scores of a result that was entrusted to the caller; who opened it and why is kept",
      access = { "psychologist" }, writes = true,
      params = { result = text { required = true, max = 200 }, why = text { required = true, min = 3, max = 200 } }, run = open,
    },
  },
  tests = {
    ["answers of an open programme count for it, once"] = function(t)
      local now = t.ctx.now
      store.put("person", { id = "a", data = { name = "Aziz", name_folded = "aziz", kind = "student" } })
      local programme = store.put("programme", { data = { title = "Kuz", term = "2026", starts = now - clocks.day,
        ends = now + 90 * clocks.day, state = "active", questionnaires = { { id = "adaptation", moment = "before" } } } })
      local me = { person = "a", roles = { "student" } }
      t:equal(#t:call("questionnaire.list", {}, me).items[1].due, 1)
      local answers = {}
      for _, item in ipairs(plugins.get("questionnaire", "adaptation").items) do answers[item.id] = 3 end
      local given = t:call("questionnaire.submit", { questionnaire = "adaptation", answers = answers }, me)
      t:equal(given.id, "a:adaptation:" .. programme.id .. ":before")
      t:equal(#t:call("questionnaire.list", {}, me).items[1].due, 0)
      t:fails(function()
        t:call("questionnaire.submit", { questionnaire = "adaptation", programme = programme.id, moment = "before", answers = answers }, me)
      end)
    end,
    ["an answer that is not on the scale is refused"] = function(t)
      store.put("person", { id = "a", data = { name = "Aziz", name_folded = "aziz", kind = "student" } })
      local item = plugins.get("questionnaire", "adaptation").items[1].id
      local me = { person = "a", roles = { "student" } }
      t:fails(function() t:call("questionnaire.submit", { questionnaire = "adaptation", answers = { [item] = 9 } }, me) end)
      t:fails(function() t:call("questionnaire.submit", { questionnaire = "adaptation", answers = { nonsense = 1 } }, me) end)
    end,
    ["a preview scores made-up answers and keeps nothing"] = function(t)
      local answers = { g1 = 3, g2 = 3, g3 = 3, g4 = 3, g5 = 3, g6 = 3, g7 = 3 }
      local out = t:call("questionnaire.preview", { questionnaire = "gad7", answers = answers })
      t:equal({ out.scores.GAD7, out.urgent }, { 21, true })
      t:equal(store.count("questionnaire_result"), 0)
      t:fails(function() t:call("questionnaire.preview", { questionnaire = "gad7", answers = { g1 = 99 } }) end)
    end,
    ["scores of a sensitive questionnaire are not given out, and nobody types them in for another"] = function(t)
      store.put("person", { id = "a", data = { name = "Aziz", name_folded = "aziz", kind = "student" } })
      local answers = { g1 = 3, g2 = 3, g3 = 3, g4 = 3, g5 = 3, g6 = 3, g7 = 3 }
      local given = t:call("questionnaire.submit", { questionnaire = "gad7", answers = answers }, { person = "a", roles = { "student" } })
      t:ok(given.scores == nil and given.bands == nil)
      local kept = store.get("questionnaire_result", given.id)
      t:ok(kept.data.scores == nil)
      t:equal(kept.data.urgent, true)
      for _, principal in ipairs(kept.audience) do
        t:ok(principal ~= "role:coordinator" and principal ~= "role:administrator" and principal ~= "institution")
      end
      t:fails(function()
        t:call("questionnaire.submit", { questionnaire = "gad7", answers = answers, person = "a" }, { person = "b", roles = { "student" } })
      end)
    end,
  },
}
