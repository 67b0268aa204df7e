-- What is to be done next, for whoever asks: at most five things, the most urgent first, each one sentence, one button and its
-- clock. An empty list is a good state.
local clocks = require "lib.clocks"
local forms = require "lib.forms"
local people = require "lib.people"
local say = require "lib.say"

local MOST = 5
local LOOK_AT = 500 -- pairs that a coordinator's list looks at for silence

-- One row a thing: what it says and what its button says.
local things = {
  request = {
    text = {
      en = "{name} asks whether you would be their mentor.",
      uz = "{name} sizdan mentor boʻlishingizni soʻrayapti.",
      ["uz-Cyrl"] = "{name} сиздан ментор бўлишингизни сўраяпти.",
      ru = "{name} спрашивает, станете ли вы наставником.",
    },
    label = { en = "Answer", uz = "Javob berish", ["uz-Cyrl"] = "Жавоб бериш", ru = "Ответить" },
  },
  waiting = {
    text = {
      en = "{name} has your request. If there is no answer in time, you can ask somebody else.",
      uz = "{name} soʻrovingizni oldi. Vaqtida javob kelmasa, boshqa kishidan soʻrashingiz mumkin.",
      ["uz-Cyrl"] = "{name} сўровингизни олди. Вақтида жавоб келмаса, бошқа кишидан сўрашингиз мумкин.",
      ru = "Ваша просьба у {name}. Если ответа не будет в срок, можно попросить другого.",
    },
    label = { en = "See", uz = "Koʻrish", ["uz-Cyrl"] = "Кўриш", ru = "Посмотреть" },
  },
  proposed = {
    text = {
      en = "{name} proposes a time to meet.",
      uz = "{name} uchrashuv vaqtini taklif qildi.",
      ["uz-Cyrl"] = "{name} учрашув вақтини таклиф қилди.",
      ru = "{name} предлагает время встречи.",
    },
    label = { en = "Answer", uz = "Javob berish", ["uz-Cyrl"] = "Жавоб бериш", ru = "Ответить" },
  },
  how = {
    text = {
      en = "How did your meeting with {name} go?",
      uz = "{name} bilan uchrashuv qanday oʻtdi?",
      ["uz-Cyrl"] = "{name} билан учрашув қандай ўтди?",
      ru = "Встреча: {name}. Как она прошла?",
    },
    label = { en = "Tell", uz = "Aytib berish", ["uz-Cyrl"] = "Айтиб бериш", ru = "Рассказать" },
  },
  message = {
    text = {
      en = "{name} wrote to you.",
      uz = "{name} sizga xat yozdi.",
      ["uz-Cyrl"] = "{name} сизга хат ёзди.",
      ru = "Вам пишет {name}.",
    },
    label = { en = "Read and answer", uz = "Oʻqish va javob yozish", ["uz-Cyrl"] = "Ўқиш ва жавоб ёзиш", ru = "Прочитать и ответить" },
  },
  first_meeting = {
    text = {
      en = "You and {name} have not planned your first meeting yet.",
      uz = "{name} bilan birinchi uchrashuv hali rejalashtirilmagan.",
      ["uz-Cyrl"] = "{name} билан биринчи учрашув ҳали режалаштирилмаган.",
      ru = "Первая встреча ещё не назначена: {name}.",
    },
    label = { en = "Find a time", uz = "Vaqt topish", ["uz-Cyrl"] = "Вақт топиш", ru = "Найти время" },
  },
  fits = {
    text = {
      en = "You have met {name}. Does it fit? Only you and the coordinator will know your answer.",
      uz = "{name} bilan uchrashdingiz. Sizga mos keldimi? Javobingizni faqat siz va koordinator biladi.",
      ["uz-Cyrl"] = "{name} билан учрашдингиз. Сизга мос келдими? Жавобингизни фақат сиз ва координатор билади.",
      ru = "Вы уже встречались: {name}. Подходит ли вам эта пара? Ответ узнаете только вы и координатор.",
    },
    label = { en = "Say how it is", uz = "Fikr bildirish", ["uz-Cyrl"] = "Фикр билдириш", ru = "Сказать" },
  },
  questionnaire = {
    text = {
      en = "“{title}” takes about {minutes} {minutes:minute|minutes}. Your answers help to find what would help you.",
      uz = "“{title}”: taxminan {minutes} daqiqa. Javoblaringiz sizga nima yordam berishini topishga xizmat qiladi.",
      ["uz-Cyrl"] = "“{title}”: тахминан {minutes} дақиқа. Жавобларингиз сизга нима ёрдам беришини топишга хизмат қилади.",
      ru = "«{title}»: около {minutes} {minutes:минуты|минут|минут}. Ваши ответы помогут понять, что вам поможет.",
    },
    label = { en = "Begin", uz = "Boshlash", ["uz-Cyrl"] = "Бошлаш", ru = "Начать" },
  },
  upcoming = {
    text = {
      en = "You are going to meet {name}.",
      uz = "{name} bilan uchrashasiz.",
      ["uz-Cyrl"] = "{name} билан учрашасиз.",
      ru = "У вас встреча: {name}.",
    },
    label = { en = "See", uz = "Koʻrish", ["uz-Cyrl"] = "Кўриш", ru = "Посмотреть" },
  },
  find_mentor = {
    text = {
      en = "An older student who has been through it can walk with you. See who is free.",
      uz = "Buni boshidan kechirgan katta kurs talabasi sizga hamroh boʻla oladi. Kim boʻshligini koʻring.",
      ["uz-Cyrl"] = "Буни бошидан кечирган катта курс талабаси сизга ҳамроҳ бўла олади. Ким бўшлигини кўринг.",
      ru = "Рядом может пойти старшекурсник, который через это прошёл. Посмотрите, кто свободен.",
    },
    label = { en = "See mentors", uz = "Mentorlarni koʻrish", ["uz-Cyrl"] = "Менторларни кўриш", ru = "Посмотреть наставников" },
  },
  import = {
    text = {
      en = "Nobody is here yet. Begin with the list of your students.",
      uz = "Bu yerda hali hech kim yoʻq. Talabalar roʻyxatidan boshlang.",
      ["uz-Cyrl"] = "Бу ерда ҳали ҳеч ким йўқ. Талабалар рўйхатидан бошланг.",
      ru = "Здесь пока никого нет. Начните со списка студентов.",
    },
    label = { en = "Import a list", uz = "Roʻyxatni yuklash", ["uz-Cyrl"] = "Рўйхатни юклаш", ru = "Загрузить список" },
  },
  begin = {
    text = {
      en = "People are here. Begin a programme for this term.",
      uz = "Odamlar roʻyxati tayyor. Shu semestr uchun dastur boshlang.",
      ["uz-Cyrl"] = "Одамлар рўйхати тайёр. Шу семестр учун дастур бошланг.",
      ru = "Люди есть. Начните программу на этот семестр.",
    },
    label = { en = "Begin", uz = "Boshlash", ["uz-Cyrl"] = "Бошлаш", ru = "Начать" },
  },
  run = {
    text = {
      en = "“{title}” has no pairs yet. Let the rule propose some; nothing happens before you approve.",
      uz = "“{title}” dasturida hali juftliklar yoʻq. Qoida taklif qilsin; siz tasdiqlamaguningizcha hech narsa oʻzgarmaydi.",
      ["uz-Cyrl"] = "“{title}” дастурида ҳали жуфтликлар йўқ. Қоида таклиф қилсин; сиз тасдиқламагунингизча ҳеч нарса ўзгармайди.",
      ru = "В программе «{title}» ещё нет пар. Пусть правило их предложит: без вашего согласия ничего не изменится.",
    },
    label = { en = "Run a match", uz = "Tanlashni boshlash", ["uz-Cyrl"] = "Танлашни бошлаш", ru = "Подобрать пары" },
  },
  approve = {
    text = {
      en = "A proposal with {pairs} {pairs:pair|pairs} waits for you to look at it.",
      uz = "{pairs} ta juftlikdan iborat taklif koʻrib chiqishingizni kutmoqda.",
      ["uz-Cyrl"] = "{pairs} та жуфтликдан иборат таклиф кўриб чиқишингизни кутмоқда.",
      ru = "Предложение ждёт вашего решения: {pairs} {pairs:пара|пары|пар}.",
    },
    label = { en = "Look and approve", uz = "Koʻrish va tasdiqlash", ["uz-Cyrl"] = "Кўриш ва тасдиқлаш", ru = "Посмотреть и утвердить" },
  },
  rematch = {
    text = {
      en = "{mentee} and {mentor}: one of them asks for another match.",
      uz = "{mentee} va {mentor}: ulardan biri boshqa juftlik soʻrayapti.",
      ["uz-Cyrl"] = "{mentee} ва {mentor}: улардан бири бошқа жуфтлик сўраяпти.",
      ru = "{mentee} и {mentor}: кто-то из них просит другую пару.",
    },
    label = { en = "See", uz = "Koʻrish", ["uz-Cyrl"] = "Кўриш", ru = "Посмотреть" },
  },
  silent = {
    text = {
      en = "{pairs} {pairs:pair is|pairs are} quiet. Longest: {mentee} and {mentor}, {days} {days:day|days}.",
      uz = "{pairs} ta juftlik jim. Eng uzoq: {mentee} va {mentor}, {days} kun.",
      ["uz-Cyrl"] = "{pairs} та жуфтлик жим. Энг узоқ: {mentee} ва {mentor}, {days} кун.",
      ru = "{pairs} {pairs:пара молчит|пары молчат|пар молчат}. Дольше всех: {mentee} и {mentor}, {days} {days:день|дня|дней}.",
    },
    label = { en = "Ask how they are", uz = "Hol soʻrash", ["uz-Cyrl"] = "Ҳол сўраш", ru = "Спросить, как дела" },
  },
  results = {
    text = {
      en = "The second measurement is coming in. See what changed.",
      uz = "Ikkinchi oʻlchov natijalari kelmoqda. Nima oʻzgarganini koʻring.",
      ["uz-Cyrl"] = "Иккинчи ўлчов натижалари келмоқда. Нима ўзгарганини кўринг.",
      ru = "Поступают повторные измерения. Посмотрите, что изменилось.",
    },
    label = { en = "See what changed", uz = "Oʻzgarishlarni koʻrish", ["uz-Cyrl"] = "Ўзгаришларни кўриш", ru = "Что изменилось" },
  },
  urgent_result = {
    text = {
      en = "{name} may be having a hard time ({title}). Please look today and find a way to talk.",
      uz = "{name}: hozir unga qiyin boʻlishi mumkin ({title}). Bugun koʻrib chiqing va suhbatlashing.",
      ["uz-Cyrl"] = "{name}: ҳозир унга қийин бўлиши мумкин ({title}). Бугун кўриб чиқинг ва суҳбатлашинг.",
      ru = "Возможно, сейчас трудно: {name} ({title}). Посмотрите сегодня и найдите возможность поговорить.",
    },
    label = { en = "Open", uz = "Ochish", ["uz-Cyrl"] = "Очиш", ru = "Открыть" },
  },
}

-- rank: what comes first among things that are equally urgent.
local function add(items, key, rank, args, more)
  items[#items + 1] = {
    key = key, rank = rank, args = args, text = say.fill(things[key].text, args), label = things[key].label,
    urgent = more.urgent or false, due = more.due, action = { screen = more.screen, id = more.id },
  }
end

-- ---- a student, as mentor and as mentee ---------------------------------------------------------------------------------------

local function pair_requested(ctx, items, pair)
  local due, mine = pair.data.due or ctx.now, pair.data.mentor == ctx.person
  if due < ctx.now then return end
  local args = { name = people.other_name(pair, ctx.person), days = clocks.days_left(ctx.now, due) }
  add(items, mine and "request" or "waiting", mine and 1 or 9, args,
    { urgent = mine and due - ctx.now < clocks.day, due = due, screen = "pair", id = pair.id })
end

local function pair_meetings(ctx, items, pair, name)
  local planned = false
  local recent = { index = "by_pair", equals = { pair.id }, from = ctx.now - 60 * clocks.day }
  for meeting in store.each("meeting", recent) do
    local data = meeting.data
    local past = data.starts + data.minutes * clocks.minute < ctx.now
    local args = { name = name, starts = data.starts }
    if data.state == "proposed" and not past then
      planned = true
      if data.proposed_by ~= ctx.person then
        add(items, "proposed", 2, args, { urgent = data.starts - ctx.now < clocks.day, due = data.starts, screen = "pair", id = pair.id })
      end
    elseif data.state == "accepted" and past then
      planned = true
      add(items, "how", 4, args, { screen = "pair", id = pair.id })
    elseif data.state == "accepted" then
      planned = true
      add(items, "upcoming", 8, args, { due = data.starts, screen = "pair", id = pair.id })
    end
  end
  return planned
end

local function pair_active(ctx, items, pair)
  local data, name = pair.data, people.other_name(pair, ctx.person)
  local planned = pair_meetings(ctx, items, pair, name)
  local last = store.first("message", { index = "by_to", equals = { "pair:" .. pair.id }, order = "desc" })
  if last and last.data.from ~= ctx.person and not last.data.imported then
    local due = last.data.sent + clocks.reply
    add(items, "message", 3, { name = name }, { urgent = due < ctx.now, due = due, screen = "pair", id = pair.id })
  end
  if (data.held or 0) == 0 and not planned then
    local due = (data.starts or pair.created) + clocks.first_meeting
    add(items, "first_meeting", 5, { name = name }, { urgent = due < ctx.now, due = due, screen = "pair", id = pair.id })
  elseif (data.held or 0) > 0 and not (data.answers or {})[ctx.person] then
    add(items, "fits", 6, { name = name }, { screen = "pair", id = pair.id })
  end
end

local function for_student(ctx, items)
  local me = store.get("person", ctx.person)
  if not me then return end
  local as_mentee = false
  for _, pair in ipairs(people.pairs_of(store, ctx.person, "requested")) do
    as_mentee = as_mentee or pair.data.mentee == ctx.person
    pair_requested(ctx, items, pair)
  end
  for _, pair in ipairs(people.pairs_of(store, ctx.person, "active")) do
    as_mentee = as_mentee or pair.data.mentee == ctx.person
    pair_active(ctx, items, pair)
  end
  for _, due in ipairs(forms.due(store, ctx.person, ctx.now)) do
    local form = plugins.get("questionnaire", due.questionnaire)
    add(items, "questionnaire", 7, { title = form.title, minutes = form.minutes or 5, moment = due.moment },
      { due = due.due, urgent = due.due and due.due - ctx.now < 2 * clocks.day, screen = "questionnaire", id = form.id })
  end
  if me.data.year == 1 and not as_mentee and people.capacity(me.data) == 0 and people.current_programme(store, ctx.now) then
    add(items, "find_mentor", 10, {}, { screen = "pair" })
  end
end

-- ---- staff ----------------------------------------------------------------------------------------------------------------------

local function silent_pairs(ctx, items)
  local silent, longest, since = 0, nil, nil
  for pair in store.each("pair", { index = "by_state", equals = { "active" }, limit = LOOK_AT }) do
    local at = people.last_sign(store, pair)
    if ctx.now - at >= clocks.quiet then
      silent = silent + 1
      if not since or at < since then longest, since = pair, at end
    end
  end
  if not longest then return end
  add(items, "silent", 4, { pairs = silent, mentor = longest.data.mentor_name, mentee = longest.data.mentee_name,
    days = clocks.days_since(ctx.now, since) }, { urgent = true, screen = "pair", id = longest.id })
end

local function for_coordinator(ctx, items)
  if not store.first("person", { index = "by_kind", equals = { "student" } }) then
    return add(items, "import", 1, {}, { screen = "people" })
  end
  local programme = people.current_programme(store, ctx.now)
  if not programme then return add(items, "begin", 1, {}, { screen = "match" }) end
  local draft = store.first("proposal", { index = "by_state", equals = { "draft" }, order = "desc" })
  if draft then
    add(items, "approve", 1, { pairs = draft.data.matched }, { screen = "match", id = draft.id })
  elseif not store.first("pair", { index = "by_programme", equals = { programme.id } }) then
    add(items, "run", 2, { title = programme.data.title }, { screen = "match" })
  end
  for asked in store.each("pair_answer", { index = "by_open", equals = { true }, limit = 3 }) do
    add(items, "rematch", 3, { mentor = asked.data.mentor_name, mentee = asked.data.mentee_name },
      { urgent = true, due = asked.data.answered + clocks.request, screen = "pair", id = asked.data.pair })
  end
  silent_pairs(ctx, items)
  local answered = store.first("questionnaire_result", { index = "by_programme", equals = { programme.id, "after" } })
  if answered or store.first("measure", { index = "by_name", equals = { "grade", "after" } }) then
    add(items, "results", 9, {}, { screen = "changes" })
  end
end

local function for_administrator(_, items)
  if not store.first("person", { index = "by_kind", equals = { "student" } }) then
    add(items, "import", 1, {}, { screen = "people" })
  end
end

local function for_psychologist(ctx, items)
  local unseen = { index = "by_urgent", equals = { true, false }, limit = MOST }
  for result in store.each("questionnaire_result", unseen) do
    if ctx:can_see(result) then
      local person = store.get("person", result.data.person)
      local form = plugins.get("questionnaire", result.data.questionnaire)
      add(items, "urgent_result", 1, { name = person and person.data.name or "", title = form and form.title or "" },
        { urgent = true, due = result.data.taken + clocks.day, screen = "questionnaire", id = result.id })
    end
  end
end

local function list(ctx)
  local items = {}
  if ctx.person then for_student(ctx, items) end
  if ctx:has_role "coordinator" then
    for_coordinator(ctx, items)
  elseif ctx:has_role "administrator" then
    for_administrator(ctx, items)
  end
  if ctx:has_role "psychologist" then for_psychologist(ctx, items) end
  table.sort(items, function(a, b)
    if a.urgent ~= b.urgent then return a.urgent end
    if a.rank ~= b.rank then return a.rank < b.rank end
    return (a.due or math.maxinteger) < (b.due or math.maxinteger)
  end)
  for i = #items, MOST + 1, -1 do items[i] = nil end
  for _, item in ipairs(items) do item.rank = nil end
  return { items = store.array(items) }
end

-- For the tests.
local function pair_of(now, state, more)
  for _, id in ipairs { "m", "e" } do
    store.put("person", { id = id, data = { name = "Name " .. id, name_folded = id, kind = "student", year = 3 } })
  end
  local data = { mentor = "m", mentee = "e", mentor_name = "Aziza", mentee_name = "Bobur", state = state, starts = now }
  for k, v in pairs(more or {}) do data[k] = v end
  return store.put("pair", { data = data })
end
local mentor, mentee = { person = "m", roles = { "student" } }, { person = "e", roles = { "student" } }
local function keys(t, who)
  local out = {}
  for i, item in ipairs(t:call("today.list", {}, who).items) do out[i] = item.key end
  return out
end

return service {
  id = "today",
  title = { en = "Today", uz = "Bugun", ["uz-Cyrl"] = "Бугун", ru = "Сегодня" },
  methods = {
    ["today.list"] = {
      summary = "What is to be done next: at most five things, the most urgent first",
      access = "signed_in", params = {}, run = list,
    },
  },
  tests = {
    ["a mentor sees who waits for an answer, with the clock"] = function(t)
      pair_of(t.ctx.now, "requested", { due = t.ctx.now + clocks.request })
      local items = t:call("today.list", {}, mentor).items
      t:equal(items[1].key, "request")
      t:equal(items[1].due, t.ctx.now + clocks.request)
      t:equal(items[1].text.en, "Bobur asks whether you would be their mentor.")
      t:equal(keys(t, mentee)[1], "waiting")
    end,
    ["a pair that has not planned to meet is asked to, and after meeting whether it fits"] = function(t)
      local pair = pair_of(t.ctx.now, "active")
      t:equal(keys(t, mentee)[1], "first_meeting")
      store.patch("pair", pair.id, { held = 1 })
      t:equal(keys(t, mentee)[1], "fits")
      store.patch("pair", pair.id, { answers = { e = "answered" } })
      t:equal(#keys(t, mentee), 0)
    end,
    ["a message that nobody answered for two days is urgent, for the one who did not"] = function(t)
      local pair = pair_of(t.ctx.now - 3 * clocks.day, "active", { held = 1, answers = { m = "answered", e = "answered" } })
      store.put("message", { data = { to = "pair:" .. pair.id, from = "e", text = "Salom", sent = t.ctx.now - 3 * clocks.day } })
      local items = t:call("today.list", {}, mentor).items
      t:equal(items[1].key, "message")
      t:equal(items[1].urgent, true)
      t:equal(#keys(t, mentee), 0)
    end,
    ["never more than five things, urgent ones first"] = function(t)
      for i = 1, 7 do
        pair_of(t.ctx.now, "requested", { mentee = "e" .. i, due = t.ctx.now + clocks.request })
        store.delete("person", "m")
        store.delete("person", "e")
      end
      pair_of(t.ctx.now - 11 * clocks.day, "active")
      local items = t:call("today.list", {}, mentor).items
      t:equal(#items, 5)
      t:equal(items[1].key, "first_meeting")
      t:equal(items[1].urgent, true)
      t:equal(items[2].key, "request")
    end,
    ["a coordinator of an empty institution begins with the list of students"] = function(t)
      t:equal(keys(t, { person = "c", roles = { "coordinator" } })[1], "import")
    end,
    ["a quiet pair reaches the coordinator"] = function(t)
      store.put("programme", { id = "p", data = { title = "Kuz", term = "2026", starts = t.ctx.now - 40 * clocks.day,
        ends = t.ctx.now + 40 * clocks.day, state = "active" } })
      pair_of(t.ctx.now - 20 * clocks.day, "active", { programme = "p" })
      t:equal(keys(t, { person = "c", roles = { "coordinator" } })[1], "silent")
    end,
  },
}
