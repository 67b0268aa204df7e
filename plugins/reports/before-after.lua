-- What changed: the same people measured before and after, mentees beside those who met the same condition but had no mentor.
-- Words first, then numbers with n and a 95 % interval. Fewer than five people are never shown.
local change = require "lib.change"
local measures = require "lib.measures"
local say = require "lib.say"

local SMALLEST = 5

local titles = {
  grade = { en = "Grades", uz = "Baholar", ["uz-Cyrl"] = "Баҳолар", ru = "Оценки" },
  mentees = { en = "With a mentor", uz = "Mentori borlar", ["uz-Cyrl"] = "Ментори борлар", ru = "С наставником" },
  comparison = { en = "Same condition, no mentor", uz = "Sharoiti oʻxshash, mentorsiz", ["uz-Cyrl"] = "Шароити ўхшаш, менторсиз",
    ru = "То же условие, без наставника" },
  everyone = { en = "Everybody measured twice", uz = "Ikki marta oʻlchanganlarning hammasi",
    ["uz-Cyrl"] = "Икки марта ўлчанганларнинг ҳаммаси", ru = "Все, кого измерили дважды" },
}

local sentences = {
  higher = {
    en = "{group}: {what} about {mean} points higher than before. With {n} {n:person|people} the change is likely between {low} and {high}.",
    uz = "{group}: {what} oldingidan taxminan {mean} ball yuqori. {n} kishi boʻyicha oʻzgarish ehtimol {low} bilan {high} orasida.",
    ["uz-Cyrl"] = "{group}: {what} олдингидан тахминан {mean} балл юқори. {n} киши бўйича ўзгариш эҳтимол {low} билан {high} орасида.",
    ru = "{group}: {what} примерно на {mean} балла выше, чем раньше. По данным {n} {n:человека|человек|человек} изменение, вероятно, от {low} до {high}.",
  },
  lower = {
    en = "{group}: {what} about {mean} points lower than before. With {n} {n:person|people} the change is likely between {low} and {high}.",
    uz = "{group}: {what} oldingidan taxminan {mean} ball past. {n} kishi boʻyicha oʻzgarish ehtimol {low} bilan {high} orasida.",
    ["uz-Cyrl"] = "{group}: {what} олдингидан тахминан {mean} балл паст. {n} киши бўйича ўзгариш эҳтимол {low} билан {high} орасида.",
    ru = "{group}: {what} примерно на {mean} балла ниже, чем раньше. По данным {n} {n:человека|человек|человек} изменение, вероятно, от {low} до {high}.",
  },
  unclear = {
    en = "{group}: one cannot say that {what} changed. With {n} {n:person|people} it could be anything from {low} to {high} points.",
    uz = "{group}: {what} oʻzgardi, deb boʻlmaydi. {n} kishi boʻyicha bu {low} balldan {high} ballgacha boʻlishi mumkin.",
    ["uz-Cyrl"] = "{group}: {what} ўзгарди, деб бўлмайди. {n} киши бўйича бу {low} баллдан {high} баллгача бўлиши мумкин.",
    ru = "{group}: {what} — нельзя сказать, что есть изменение. По данным {n} {n:человека|человек|человек} оно может быть от {low} до {high} балла.",
  },
  more_than = {
    en = "Those with a mentor changed by about {mean} points more than those without; likely between {low} and {high}.",
    uz = "Mentori borlar mentorsizlarga qaraganda taxminan {mean} ball koʻproq oʻzgardi; ehtimol {low} bilan {high} orasida.",
    ["uz-Cyrl"] = "Ментори борлар менторсизларга қараганда тахминан {mean} балл кўпроқ ўзгарди; эҳтимол {low} билан {high} орасида.",
    ru = "У тех, кто с наставником, изменение примерно на {mean} балла больше, чем у остальных; вероятно, от {low} до {high}.",
  },
  less_than = {
    en = "Those with a mentor changed by about {mean} points less than those without; likely between {low} and {high}.",
    uz = "Mentori borlar mentorsizlarga qaraganda taxminan {mean} ball kamroq oʻzgardi; ehtimol {low} bilan {high} orasida.",
    ["uz-Cyrl"] = "Ментори борлар менторсизларга қараганда тахминан {mean} балл камроқ ўзгарди; эҳтимол {low} билан {high} орасида.",
    ru = "У тех, кто с наставником, изменение примерно на {mean} балла меньше, чем у остальных; вероятно, от {low} до {high}.",
  },
  same_as = {
    en = "One cannot say that a mentor made a difference: it could be anything from {low} to {high} points.",
    uz = "Mentor farq qildi, deb boʻlmaydi: farq {low} balldan {high} ballgacha boʻlishi mumkin.",
    ["uz-Cyrl"] = "Ментор фарқ қилди, деб бўлмайди: фарқ {low} баллдан {high} баллгача бўлиши мумкин.",
    ru = "Нельзя сказать, что дело в наставнике: разница может быть от {low} до {high} балла.",
  },
  not_random = {
    en = "Nobody drew lots for a mentor, so those without one may differ in other ways, too.",
    uz = "Mentorlar qurʼa bilan berilmagan, shuning uchun mentorsizlar boshqa jihatdan ham farq qilishi mumkin.",
    ["uz-Cyrl"] = "Менторлар қуръа билан берилмаган, шунинг учун менторсизлар бошқа жиҳатдан ҳам фарқ қилиши мумкин.",
    ru = "Наставников не распределяли по жребию, поэтому остальные могли отличаться и в чём-то другом.",
  },
  regression_to_mean = {
    en = "There is nobody to compare with. Whoever is chosen for a low score mostly scores higher the next time, with or without help: part of this change would have come by itself.",
    uz = "Solishtirish uchun guruh yoʻq. Past natijasi uchun tanlanganlarning keyingi natijasi, yordam boʻlsa ham, boʻlmasa ham, odatda oʻsadi: bu oʻzgarishning bir qismi oʻz-oʻzidan boʻlar edi.",
    ["uz-Cyrl"] = "Солиштириш учун гуруҳ йўқ. Паст натижаси учун танланганларнинг кейинги натижаси, ёрдам бўлса ҳам, бўлмаса ҳам, одатда ўсади: бу ўзгаришнинг бир қисми ўз-ўзидан бўлар эди.",
    ru = "Сравнить не с кем. У выбранных за низкий результат следующий обычно выше, с помощью или без неё: часть этого изменения произошла бы сама собой.",
  },
  not_yet = {
    en = "{missing} {missing:person|people} measured before have no second measure yet and are left out.",
    uz = "Avval oʻlchangan {missing} kishining ikkinchi oʻlchovi hali yoʻq, ular hisobga olinmadi.",
    ["uz-Cyrl"] = "Аввал ўлчанган {missing} кишининг иккинчи ўлчови ҳали йўқ, улар ҳисобга олинмади.",
    ru = "Повторного измерения пока нет: {missing} {missing:человек|человека|человек}; в отчёт они не вошли.",
  },
  other_version = {
    en = "{count} {count:person|people} answered another version of the questionnaire the second time and are left out.",
    uz = "{count} kishi ikkinchi safar soʻrovnomaning boshqa variantiga javob bergan, ular hisobga olinmadi.",
    ["uz-Cyrl"] = "{count} киши иккинчи сафар сўровноманинг бошқа вариантига жавоб берган, улар ҳисобга олинмади.",
    ru = "Во второй раз отвечали на другую версию опросника: {count} {count:человек|человека|человек}; в отчёт они не вошли.",
  },
  hidden = {
    en = "Too few people have been measured twice: fewer than {k} are not shown, so that nobody can be recognised.",
    uz = "Ikki marta oʻlchanganlar juda kam: hech kim tanilib qolmasligi uchun {k} kishidan kam guruh koʻrsatilmaydi.",
    ["uz-Cyrl"] = "Икки марта ўлчанганлар жуда кам: ҳеч ким танилиб қолмаслиги учун {k} кишидан кам гуруҳ кўрсатилмайди.",
    ru = "Дважды измерено слишком мало людей: группы меньше {k} не показываются, чтобы никого нельзя было узнать.",
  },
  hidden_comparison = {
    en = "The group to compare with is smaller than {k} and is not shown, so that nobody can be recognised.",
    uz = "Solishtirish guruhi {k} kishidan kam, hech kim tanilib qolmasligi uchun koʻrsatilmaydi.",
    ["uz-Cyrl"] = "Солиштириш гуруҳи {k} кишидан кам, ҳеч ким танилиб қолмаслиги учун кўрсатилмайди.",
    ru = "Группа для сравнения меньше {k} и не показывается, чтобы никого нельзя было узнать.",
  },
}

-- ---- what was measured ----------------------------------------------------------------------------------------------------------

-- {before = {person = value}, after = …, title, max, note, changed = people whose second answers are of another version}
local function of_measure(name, programme)
  local out = { before = {}, after = {}, title = titles[name] or name }
  for _, moment in ipairs { "before", "after" } do
    for person, data in pairs(measures.by_person(store, name, moment, programme)) do
      out[moment][person] = data.value
      out.max = out.max or data.max
    end
  end
  return out
end

local function of_questionnaire(ctx, id, scale, programme)
  local form = plugins.get("questionnaire", id)
  if not form then ctx:not_found() end
  if form.sensitive then
    ctx:refuse("sensitive", { text = {
      en = "This questionnaire is between each person and the psychologist.",
      uz = "Bu soʻrovnoma har bir kishi bilan psixolog oʻrtasida qoladi.",
      ["uz-Cyrl"] = "Бу сўровнома ҳар бир киши билан психолог ўртасида қолади.",
      ru = "Этот опросник остаётся между человеком и психологом.",
    } })
  end
  local declared = (form.scales or {})[scale]
  if not declared then ctx:invalid("params.measure", "the questionnaire has no such scale") end
  local out = { before = {}, after = {}, title = declared.title or scale, max = 5, note = declared.note, changed = 0 }
  local version = {}
  for _, moment in ipairs { "before", "after" } do
    for result in store.each("questionnaire_result", { index = "by_questionnaire", equals = { id, moment } }) do
      local data = result.data
      local value = data.scores and data.scores[scale]
      if value and (not programme or data.programme == programme) then
        if moment == "before" then
          version[data.person] = data.version
          out.before[data.person] = value
        elseif version[data.person] == data.version then
          out.after[data.person] = value
        elseif version[data.person] then
          out.changed = out.changed + 1
        end
      end
    end
  end
  return out
end

-- ---- who is compared ------------------------------------------------------------------------------------------------------------

local function mentees_of(programme)
  local out = {}
  local options = programme and { index = "by_programme", equals = { programme } } or {}
  for pair in store.each("pair", options) do
    local data = pair.data
    if data.starts and data.state ~= "requested" then out[data.mentee] = true end
  end
  return out
end

-- Those who met the rule's condition for a mentee when pairs were approved, but had none then or later.
local function without_mentor(programme, mentees)
  local out = {}
  for proposal in store.each("proposal", { index = "by_state", equals = { "approved" } }) do
    if not programme or proposal.data.programme == programme then
      for _, one in ipairs(proposal.data.unmatched or {}) do
        if not mentees[one.mentee] then out[one.mentee] = true end
      end
    end
  end
  return out
end

local function values_of(measured, who)
  local before, after, missing, persons = {}, {}, 0, {}
  for person in pairs(measured.before) do
    if not who or who[person] then persons[#persons + 1] = person end
  end
  table.sort(persons) -- sums of the same numbers in the same order: the same report, bit for bit
  for _, person in ipairs(persons) do
    if measured.after[person] then
      before[#before + 1], after[#after + 1] = measured.before[person] + 0.0, measured.after[person] + 0.0
    else
      missing = missing + 1
    end
  end
  return before, after, missing
end

-- ---- words -----------------------------------------------------------------------------------------------------------------------

local function digits_for(measured) return measured.max and measured.max <= 10 and 2 or 1 end

local function about_group(group, measured)
  local c, digits = group.change, digits_for(measured)
  local key = c.low > 0 and "higher" or c.high < 0 and "lower" or "unclear"
  local low, high = c.low, c.high
  if key == "lower" then low, high = -c.high, -c.low end -- "lower by 1 to 3", not "by -3 to -1"
  local line = say.line("report." .. key, sentences[key], { group = group.title, what = measured.title, n = group.n,
    mean = say.decimal(math.abs(c.mean), digits), low = say.decimal(low, digits), high = say.decimal(high, digits) })
  line.args = { group = group.name, n = group.n, mean = c.mean, low = c.low, high = c.high }
  return line
end

local function about_difference(d, measured)
  local digits = digits_for(measured)
  local key = d.low > 0 and "more_than" or d.high < 0 and "less_than" or "same_as"
  local low, high = d.low, d.high
  if key == "less_than" then low, high = -d.high, -d.low end
  local line = say.line("report." .. key, sentences[key], { mean = say.decimal(math.abs(d.mean), digits),
    low = say.decimal(low, digits), high = say.decimal(high, digits) })
  line.args = { mean = d.mean, low = d.low, high = d.high }
  return line
end

local function hidden_answer(measured)
  return { groups = store.array {}, sentences = store.array {}, measure = measured.title,
    hidden = say.line("report.hidden", sentences.hidden, { k = SMALLEST }) }
end

local function run(ctx, p)
  local measure = p.measure or "grade"
  local form, scale = measure:match("^([^.:]+)[.:](.+)$")
  local measured = form and of_questionnaire(ctx, form, scale, p.programme) or of_measure(measure, p.programme)
  local mentees = mentees_of(p.programme)
  local name = next(mentees) and "mentees" or "everyone"
  local before, after, missing = values_of(measured, name == "mentees" and mentees or nil)
  if #before < SMALLEST then return hidden_answer(measured) end

  local out = { measure = measured.title, max = measured.max, groups = {}, sentences = {} }
  local function tell(line) out.sentences[#out.sentences + 1] = line end
  local function add(group_name, b, a)
    local group = change.describe(b, a)
    group.name, group.title = group_name, titles[group_name]
    out.groups[#out.groups + 1] = group
    tell(about_group(group, measured))
  end
  add(name, before, after)

  local compared, too_few = false, false
  if name == "mentees" and p.compare ~= false then
    local b, a = values_of(measured, without_mentor(p.programme, mentees))
    if #b >= SMALLEST then
      compared = true
      add("comparison", b, a)
      out.difference = change.difference(before, after, b, a)
      tell(about_difference(out.difference, measured))
      tell(say.line("report.not_random", sentences.not_random))
    else
      too_few = #b > 0
    end
  end
  if too_few then tell(say.line("report.hidden_comparison", sentences.hidden_comparison, { k = SMALLEST })) end
  if not compared then tell(say.line("report.regression_to_mean", sentences.regression_to_mean)) end
  if measured.note then tell { key = "report.note", args = {}, text = measured.note } end
  if missing > 0 then tell(say.line("report.not_yet", sentences.not_yet, { missing = missing })) end
  if (measured.changed or 0) > 0 then tell(say.line("report.other_version", sentences.other_version, { count = measured.changed })) end
  return out
end

-- For the tests: people with a grade before and after, some of them mentees.
local function give(id, before, after, mentee)
  for moment, value in pairs { before = before, after = after } do
    measures.write(store, { person = id, name = "grade", moment = moment, value = value, max = 20 })
  end
  if mentee then
    store.put("pair", { data = { mentor = "m", mentee = id, mentor_name = "M", mentee_name = id, state = "active", starts = 1 } })
  end
end
local function has(out, key)
  for _, line in ipairs(out.sentences) do
    if line.key == key then return line end
  end
end

return report {
  id = "before-after",
  title = { en = "What changed", uz = "Nima oʻzgardi", ["uz-Cyrl"] = "Нима ўзгарди", ru = "Что изменилось" },
  access = { "coordinator", "administrator", "psychologist" },
  params = {
    programme = ref "programme",
    measure = text { max = 120, default = "grade" }, -- or questionnaire.scale, such as adaptation.study
    compare = boolean { default = true },
  },
  run = run,
  tests = {
    ["four people are not shown"] = function(t)
      for i = 1, 4 do give("p" .. i, 8, 10, true) end
      local out = t:call("report.run", { report = "before-after" }, { roles = { "coordinator" } })
      t:equal(out.hidden.key, "report.hidden")
      t:equal(#out.groups, 0)
    end,
    ["change of six mentees, with n and interval, and a warning when there is nobody to compare with"] = function(t)
      for i, gain in ipairs { 1, 2, 3, 1, 2, 3 } do give("p" .. i, 8 + i % 2, 8 + i % 2 + gain, true) end
      local out = t:call("report.run", { report = "before-after" }, { roles = { "coordinator" } })
      t:equal(out.groups[1].n, 6)
      t:equal(out.groups[1].change.mean, 2.0)
      -- sd of the changes 0.8944, so 2 ± 2.5706 * 0.8944 / sqrt(6)
      t:ok(math.abs(out.groups[1].change.low - 1.0614) < 0.001)
      t:ok(math.abs(out.groups[1].change.high - 2.9386) < 0.001)
      t:ok(has(out, "report.higher"))
      t:ok(has(out, "report.regression_to_mean"))
    end,
    ["those who met the condition but had no mentor are the comparison"] = function(t)
      for i, gain in ipairs { 4, 5, 6, 4, 5, 6 } do give("p" .. i, 8, 8 + gain, true) end
      local unmatched = {}
      for i, gain in ipairs { 0, 1, 2, 0, 1, 2 } do
        give("q" .. i, 8, 8 + gain)
        unmatched[i] = { mentee = "q" .. i, name = "Q", why = {} }
      end
      store.put("proposal", { data = { programme = "x", rule = "r", rule_version = "1", state = "approved", matched = 6,
        unmatched = unmatched, summary = { mentees = 12 }, made = 1 } })
      local out = t:call("report.run", { report = "before-after" }, { roles = { "coordinator" } })
      t:equal(out.groups[2].name, "comparison")
      t:equal(out.difference.mean, 4.0)
      t:ok(has(out, "report.more_than"))
      t:ok(not has(out, "report.regression_to_mean"))
    end,
    ["whoever has no second measure is left out, and one is told"] = function(t)
      for i = 1, 6 do give("p" .. i, 8, 9 + i % 2, true) end
      measures.write(store, { person = "p7", name = "grade", moment = "before", value = 5, max = 20 })
      store.put("pair", { data = { mentor = "m", mentee = "p7", mentor_name = "M", mentee_name = "P", state = "active", starts = 1 } })
      local out = t:call("report.run", { report = "before-after" }, { roles = { "coordinator" } })
      t:equal(out.groups[1].n, 6)
      t:equal(has(out, "report.not_yet").args.missing, 1)
    end,
    ["answers to another version of a questionnaire are not compared"] = function(t)
      for i = 1, 6 do
        for moment, version in pairs { before = "v1", after = i == 6 and "v2" or "v1" } do
          store.put("questionnaire_result", { id = "p" .. i .. moment, data = { person = "p" .. i, questionnaire = "adaptation",
            version = version, moment = moment, answers = {}, scores = { study = moment == "before" and 4 or 3 - i / 10 }, taken = 1 } })
        end
      end
      local out = t:call("report.run", { report = "before-after", params = { measure = "adaptation.study" } }, { roles = { "coordinator" } })
      t:equal(out.groups[1].n, 5)
      t:ok(has(out, "report.other_version"))
      t:ok(has(out, "report.lower"))
    end,
    ["means of a sensitive questionnaire are not given to a coordinator"] = function(t)
      t:fails(function()
        t:call("report.run", { report = "before-after", params = { measure = "gad7.GAD7" } }, { roles = { "coordinator" } })
      end, "sensitive")
    end,
  },
}
