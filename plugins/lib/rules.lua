-- Matching rules as words: who may be a mentor or a mentee by a rule, and what speaks for a pair or against it. The counting is in
-- lib/pairing.lua.
local say = require "lib.say"
local words = require "lib.words"

local rules = {}

-- A field of a person, "mentoring.capacity" included; nil when it is not known.
local function field(data, path)
  local value = data
  for name in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end
rules.field = field

local conditions = {
  at_least = function(v, c) return type(v) == "number" and v >= c.value end,
  at_most = function(v, c) return type(v) == "number" and v <= c.value end,
  below = function(v, c) return type(v) == "number" and v < c.value end,
  above = function(v, c) return type(v) == "number" and v > c.value end,
  equals = function(v, c) return v == c.value end,
  present = function(v) return v ~= nil and (type(v) ~= "table" or next(v) ~= nil) end,
  one_of = function(v, c)
    for _, want in ipairs(c.values) do
      if v == want then return true end
    end
    return false
  end,
  has = function(v, c)
    if type(v) ~= "table" then return v == c.value end
    for _, item in ipairs(v) do
      if item == c.value then return true end
    end
    return false
  end,
}

-- Does this person meet the conditions? What is not known does not.
function rules.meets(where, data)
  for path, condition in pairs(where or {}) do
    local value = field(data, path)
    if value == nil or not conditions[condition.condition](value, condition) then return false end
  end
  return true
end

-- What two lists have in common, in the order of the first.
local function common(a, b)
  local out, has = {}, {}
  for _, v in ipairs(b or {}) do has[v] = true end
  for _, v in ipairs(a or {}) do
    if has[v] then out[#out + 1] = v end
  end
  return out
end
rules.common = common

local function names(list, codes) return say.list(words.names(list, codes), 4) end

-- ---- what speaks for a pair --------------------------------------------------------------------------------------------------

local reasons = {
  complement = {
    en = "Strong in {topics}, where help is wanted.",
    uz = "Kuchli tomoni: {topics}. Aynan shunda yordam kerak.",
    ["uz-Cyrl"] = "Кучли томони: {topics}. Айнан шунда ёрдам керак.",
    ru = "Сильная сторона: {topics}. Именно здесь нужна помощь.",
  },
  shared = {
    en = "In common: {things}.", uz = "Umumiy qiziqishlar: {things}.", ["uz-Cyrl"] = "Умумий қизиқишлар: {things}.", ru = "Общее: {things}.",
  },
  same_year = {
    en = "In the same year of study.", uz = "Bir kursda oʻqiydi.", ["uz-Cyrl"] = "Бир курсда ўқийди.", ru = "Учатся на одном курсе.",
  },
  near = {
    en = "{years} {years:year|years} of study apart: it is still fresh in memory.",
    uz = "Kurslar farqi {years}: hammasi hali yodida.",
    ["uz-Cyrl"] = "Курслар фарқи {years}: ҳаммаси ҳали ёдида.",
    ru = "Разница — {years} {years:курс|курса|курсов}: всё ещё свежо в памяти.",
  },
  equal = {
    en = "Both: {what}.", uz = "Ikkalasi ham: {what}.", ["uz-Cyrl"] = "Иккаласи ҳам: {what}.", ru = "Оба: {what}.",
  },
  weekend = {
    en = "Both are free for {hours} {hours:hour|hours} at the weekend.",
    uz = "Dam olish kunlari ikkalasining {hours} soat umumiy boʻsh vaqti bor.",
    ["uz-Cyrl"] = "Дам олиш кунлари иккаласининг {hours} соат умумий бўш вақти бор.",
    ru = "В выходные у обоих есть {hours} {hours:общий свободный час|общих свободных часа|общих свободных часов}.",
  },
  higher = {
    en = "Does well in studies.", uz = "Oʻqishda natijasi yuqori.", ["uz-Cyrl"] = "Ўқишда натижаси юқори.", ru = "Хорошо учится.",
  },
  gap = {
    en = "Far enough ahead to be of help.", uz = "Yordam bera oladigan darajada oldinda.",
    ["uz-Cyrl"] = "Ёрдам бера оладиган даражада олдинда.", ru = "Достаточно впереди, чтобы помочь.",
  },
}

local function arguments(one, mentee, mentor)
  local op = one.prefer
  if op == "complement" then
    local codes = common(field(mentor, one.field), field(mentee, one.other))
    return op, { topics = names("topics", codes) }, codes
  elseif op == "shared" then
    local codes = common(field(mentor, one.field), field(mentee, one.field))
    return op, { things = names(one.field, codes) }, codes
  elseif op == "near" then
    local a, b = field(mentor, one.field), field(mentee, one.field)
    local apart = type(a) == "number" and type(b) == "number" and math.abs(a - b) or 0
    if apart == 0 then return "same_year", {} end
    return op, { years = apart }
  elseif op == "equal" then
    return op, { what = field(mentor, one.field) or "" }
  elseif op == "weekend" then
    return op, { hours = #calendar.weekend(common(field(mentor, one.field), field(mentee, one.field))) }
  end
  return op, {}
end

-- One reason: {key, args, points, text}.
function rules.reason(one, points, mentee, mentor)
  local key, args, codes = arguments(one, mentee, mentor)
  local line = say.line("match." .. key, one.text or reasons[key] or reasons.higher, args)
  if codes then line.args = { codes = store.array(codes) } end
  line.args.name = one.name
  line.points = points
  return line
end

-- What the rule's own function added or took away.
local own = {
  en = "The rule’s own reckoning.", uz = "Qoidaning oʻz hisobi.", ["uz-Cyrl"] = "Қоиданинг ўз ҳисоби.", ru = "Поправка самого правила.",
}
function rules.own(points, why)
  local sentence = type(why) == "table" and why or type(why) == "string" and { en = why, uz = why, ["uz-Cyrl"] = why, ru = why } or own
  return { key = "match.own", args = { name = "pair" }, points = points, text = sentence }
end

local by_hand = {
  en = "Put together by hand.", uz = "Koordinator tanlagan.", ["uz-Cyrl"] = "Координатор танлаган.", ru = "Подобрано вручную.",
}
function rules.by_hand() return { key = "match.by_hand", args = {}, points = 0, text = by_hand } end

-- ---- what speaks against it ---------------------------------------------------------------------------------------------------

local objections = {
  share = {
    en = "No mentor speaks a language of theirs.",
    uz = "Umumiy tilda gaplashadigan mentor yoʻq.",
    ["uz-Cyrl"] = "Умумий тилда гаплашадиган ментор йўқ.",
    ru = "Нет наставника с общим языком.",
  },
  respects = {
    en = "No mentor fits with the wish about gender.",
    uz = "Jins boʻyicha istakka mos mentor yoʻq.",
    ["uz-Cyrl"] = "Жинс бўйича истакка мос ментор йўқ.",
    ru = "Нет наставника, подходящего по пожеланию о поле.",
  },
  overlap = {
    en = "No mentor is free at the same hours. More free hours, perhaps at the weekend, would help.",
    uz = "Boʻsh vaqti mos mentor yoʻq. Yana boʻsh soatlar, masalan dam olish kunlari, yordam beradi.",
    ["uz-Cyrl"] = "Бўш вақти мос ментор йўқ. Яна бўш соатлар, масалан дам олиш кунлари, ёрдам беради.",
    ru = "Нет наставника, свободного в те же часы. Помогли бы ещё свободные часы, например в выходные.",
  },
  nobody = {
    en = "No mentor meets everything that this rule asks for.",
    uz = "Qoidaning barcha shartlariga mos mentor yoʻq.",
    ["uz-Cyrl"] = "Қоиданинг барча шартларига мос ментор йўқ.",
    ru = "Нет наставника, который отвечает всем условиям правила.",
  },
  full = {
    en = "{fits} {fits:mentor fits|mentors fit}, but all their places are taken by others who wait, too.",
    uz = "{fits} ta mentor mos, ammo ularning oʻrinlari boshqa kutayotganlarga berildi.",
    ["uz-Cyrl"] = "{fits} та ментор мос, аммо уларнинг ўринлари бошқа кутаётганларга берилди.",
    ru = "Подходящих наставников: {fits}, но их места заняли другие, кто тоже ждёт.",
  },
  no_mentors = {
    en = "Nobody offers a free place yet.",
    uz = "Hozircha hech kimda boʻsh oʻrin yoʻq.",
    ["uz-Cyrl"] = "Ҳозирча ҳеч кимда бўш ўрин йўқ.",
    ru = "Пока ни у кого нет свободного места.",
  },
  outside = {
    en = "By this rule they are not among those who get a mentor.", uz = "Bu qoidaga koʻra ular mentor oladiganlar qatorida emas.",
    ["uz-Cyrl"] = "Бу қоидага кўра улар ментор оладиганлар қаторида эмас.", ru = "По этому правилу они не входят в число тех, кому нужен наставник.",
  },
  removed = {
    en = "Taken out by hand.", uz = "Koordinator olib tashlagan.", ["uz-Cyrl"] = "Координатор олиб ташлаган.", ru = "Убрано вручную.",
  },
}

-- Why somebody has no mentor: key is an operation of `must`, or "full" (args.fits), "nobody", "no_mentors", "outside", "removed".
function rules.why(key, args)
  if not objections[key] then key = "nobody" end
  return say.line("match." .. key, objections[key], args)
end

-- ---- the people of a rule -----------------------------------------------------------------------------------------------------

local criteria = {
  complement_strengths = {
    en = "Strong where help is wanted", uz = "Yordam kerak joyda kuchli", ["uz-Cyrl"] = "Ёрдам керак жойда кучли",
    ru = "Сильные стороны там, где нужна помощь",
  },
  shared_interests = { en = "Common interests", uz = "Umumiy qiziqishlar", ["uz-Cyrl"] = "Умумий қизиқишлар", ru = "Общие интересы" },
  near_year = { en = "Close in year of study", uz = "Kurslari yaqin", ["uz-Cyrl"] = "Курслари яқин", ru = "Близкие курсы" },
  equal_faculty = { en = "Same faculty", uz = "Bir fakultet", ["uz-Cyrl"] = "Бир факультет", ru = "Один факультет" },
  weekend_availability = {
    en = "Free together at the weekend", uz = "Dam olish kuni umumiy vaqt", ["uz-Cyrl"] = "Дам олиш куни умумий вақт",
    ru = "Общее время в выходные",
  },
}

-- The criteria of a rule for a coordinator: {name, op, points, title}.
function rules.criteria(rule)
  local out = {}
  for i, one in ipairs(rule.prefer) do
    out[i] = { name = one.name, op = one.prefer, field = one.field, points = one.points, title = one.text or criteria[one.name] }
  end
  return out
end

-- The rule with other points, brought to 10,000 in all again; nil and the name when the rule has no such criterion, or nothing is left.
function rules.weighted(rule, weights)
  if not weights or next(weights) == nil then return rule end
  local copy, left = {}, {}
  for k, v in pairs(rule) do copy[k] = v end
  for name in pairs(weights) do left[name] = true end
  copy.prefer = {}
  for i, one in ipairs(rule.prefer) do
    local changed = {}
    for k, v in pairs(one) do changed[k] = v end
    if weights[one.name] then
      changed.points, left[one.name] = weights[one.name], nil
    end
    copy.prefer[i] = changed
  end
  local unknown = next(left)
  if unknown then return nil, unknown end
  local sum, rest = 0, 10000
  for _, one in ipairs(copy.prefer) do sum = sum + one.points end
  if sum == 0 then return nil, next(weights) end
  for _, one in ipairs(copy.prefer) do
    one.points = one.points * 10000 // sum
    rest = rest - one.points
  end
  for _, one in ipairs(copy.prefer) do -- what rounding left over, to those that count
    if rest > 0 and one.points > 0 then one.points, rest = one.points + 1, rest - 1 end
  end
  return copy
end

return rules
