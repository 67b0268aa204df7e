-- The institution `demo`: 240 students with plausible names, a programme of this term, pairs, conversations, meetings and
-- first results, made through the same methods as people's own work. The same seed gives the same people.
--
--   hamroh run --data DIR [--seed N] scripts/demo.lua
--
-- Nobody here is real. Accounts: coordinator, psychologist, coach, administrator, mentor, mentee; password hamroh-demo.
local PASSWORD = "hamroh-demo"
local STUDENTS = 240
local DAY = 24 * 60 * 60 * 1000
local now = time_ms()
local here = { institution = "demo" }

local function pick(list) return list[random(#list)] end
local function chance(percent) return random(100) <= percent end
-- About normal, from twelve dice (mean 0, deviation 1).
local function noise()
  local sum = 0
  for _ = 1, 12 do sum = sum + random(1000) / 1000 end
  return sum - 6.006
end

-- ---- people --------------------------------------------------------------------------------------------------------------

local first = {
  f = { "Dilnoza", "Malika", "Nilufar", "Gulnora", "Zarina", "Madina", "Sevara", "Shahnoza", "Kamola", "Feruza", "Nargiza", "Lola",
    "Oʻgʻiloy", "Mohira", "Dildora", "Iroda", "Barno", "Nodira", "Sabina", "Umida", "Yulduz", "Zilola", "Munisa", "Rayhona" },
  m = { "Aziz", "Bobur", "Sardor", "Jasur", "Otabek", "Sherzod", "Ulugʻbek", "Doniyor", "Javohir", "Islom", "Bekzod", "Akmal",
    "Oʻktam", "Farrux", "Rustam", "Shohruh", "Temur", "Anvar", "Diyor", "Muhammad", "Nodir", "Zafar", "Gʻayrat", "Eldor" },
}
local family = { "Karim", "Rahim", "Toʻra", "Yusup", "Abdulla", "Sodiq", "Qodir", "Ismoil", "Xolmat", "Ergash", "Nazar", "Umar",
  "Saidmurod", "Mirza", "Joʻra", "Haydar", "Olim", "Boboqul", "Sharif", "Gʻani", "Hamid", "Usmon", "Norqul", "Egamberdi" }

local function surname(stem, gender)
  local vowel = stem:find("[aeiou]$") ~= nil
  return stem .. (vowel and "yev" or "ov") .. (gender == "f" and "a" or "")
end

local function new_name(gender, taken)
  for _ = 1, 1000 do
    local name = surname(pick(family), gender) .. " " .. pick(first[gender])
    if not taken[name] then
      taken[name] = true
      return name
    end
  end
  error("no more names")
end

local faculties = {
  { name = "Matematika", short = "MAT", topics = { "calculus", "algebra", "physics" } },
  { name = "Axborot texnologiyalari", short = "AXT", topics = { "programming", "algebra", "english" } },
  { name = "Pedagogika", short = "PED", topics = { "pedagogy", "speaking", "literature" } },
  { name = "Tarix", short = "TAR", topics = { "history", "literature", "notes" } },
  { name = "Filologiya", short = "FIL", topics = { "english", "literature", "speaking" } },
}
local general = { "notes", "planning", "exams", "literature", "speaking", "group", "daily_life", "calm" }
local interests = { "football", "chess", "books", "music", "robotics", "theatre", "volunteering", "photography", "cooking",
  "travel", "art", "volleyball", "films", "games" }

-- n different ones of a list.
local function some(list, n)
  local left, out = {}, {}
  for i, v in ipairs(list) do left[i] = v end
  for _ = 1, math.min(n, #left) do out[#out + 1] = table.remove(left, random(#left)) end
  return out
end

local function joined(...)
  local out, seen = {}, {}
  for _, list in ipairs { ... } do
    for _, v in ipairs(list) do
      if not seen[v] then
        seen[v] = true
        out[#out + 1] = v
      end
    end
  end
  return out
end

-- Free hours of the week: some evenings, and parts of the weekend.
local function free_hours()
  local hours = {}
  local function block(day, from, long)
    for h = from, from + long - 1 do hours[day * 24 + h] = true end
  end
  for _, day in ipairs(some({ 0, 1, 2, 3, 4 }, 1 + random(2))) do block(day, 16 + random(2), 2 + random(2)) end
  for _, day in ipairs(chance(55) and { 5, 6 } or { 4 + random(2) }) do block(day, 8 + random(5), 3 + random(3)) end
  local out = {}
  for h = 0, 167 do
    if hours[h] then out[#out + 1] = h end
  end
  return out
end

local function student(i, taken)
  local s = { id = string.format("NU-%04d", i), gender = chance(54) and "f" or "m" }
  s.year = i <= 80 and 1 or i <= 140 and 2 or i <= 195 and 3 or 4
  s.faculty = faculties[1 + (i - 1) % #faculties]
  s.name = new_name(s.gender, taken)
  s.group = string.format("%s-%d%02d", s.faculty.short, s.year, 1 + (i // #faculties) % 2)
  s.ability = 70 + 12 * noise() - (s.year == 1 and 5 or 0)
  s.before = math.max(25, math.min(99, math.floor(s.ability + 6 * noise() + 0.5)))
  s.languages = joined({ "uz" }, chance(45) and { "ru" } or {}, chance(30) and { "en" } or {}, chance(7) and { "kaa" } or {})
  if chance(6) then s.languages = { "ru" } end
  s.interests = some(interests, 2 + random(3))
  s.strengths = s.before >= 72 and joined(some(s.faculty.topics, 2), some(general, 2)) or some(general, 1)
  if s.year >= 2 and chance(25) then s.strengths = joined(s.strengths, { "leadership" }) end
  s.needs = s.before < 66 and joined(some(s.faculty.topics, 2), some(general, 2)) or some(general, s.year == 1 and 2 or 1)
  local leads = s.strengths[#s.strengths] == "leadership"
  s.places = s.year >= 2 and (s.before >= 80 and chance(80) or leads and chance(60)) and random(2) or 0
  s.same_gender = s.gender == "f" and chance(25)
  s.hours = free_hours()
  return s
end

local function write_csv(header, rows)
  local lines = { table.concat(header, ";") }
  for _, row in ipairs(rows) do lines[#lines + 1] = table.concat(row, ";") end
  return table.concat(lines, "\r\n") .. "\r\n"
end

local function make_students()
  local students, rows, taken = {}, {}, {}
  for i = 1, STUDENTS do
    local s = student(i, taken)
    students[i] = s
    rows[i] = { s.id, s.name, s.year, s.group, s.faculty.name, s.gender == "f" and "ayol" or "erkak", s.before,
      table.concat(s.languages, ","), table.concat(s.interests, ","), table.concat(s.strengths, ","), table.concat(s.needs, ","),
      table.concat(s.hours, ","), s.places, s.same_gender and "bir xil" or "farqi yoʻq" }
  end
  return students, write_csv({ "ID", "F.I.Sh.", "Kurs", "Guruh", "Fakultet", "Jinsi", "Ball", "Tillar", "Qiziqishlar",
    "Kuchli tomonlari", "Yordam kerak", "Boʻsh soatlar", "Mentor oʻrni", "Mentor jinsi" }, rows)
end

local map = {
  key = { column = "ID" },
  person = {
    name = { column = "F.I.Sh." }, year = { column = "Kurs", number = true }, group = { column = "Guruh" },
    faculty = { column = "Fakultet" }, gender = { column = "Jinsi", values = { ayol = "f", erkak = "m" } },
    gpa = { column = "Ball", number = true, scale = { 0, 100, 0, 5 } },
    languages = { column = "Tillar", split = "," }, interests = { column = "Qiziqishlar", split = "," },
    strengths = { column = "Kuchli tomonlari", split = "," }, needs = { column = "Yordam kerak", split = "," },
    availability = { column = "Boʻsh soatlar", split = ",", number = true },
    mentoring = { capacity = { column = "Mentor oʻrni", number = true }, status = { value = "active" } },
    gender_preference = { column = "Mentor jinsi", values = { ["bir xil"] = "same", ["farqi yoʻq"] = "any" } },
  },
  measures = { { name = "grade", moment = "before", column = "Ball", max = 100 } },
  initial = { "availability", "languages", "interests", "strengths", "needs", "mentoring", "gender_preference" },
}

local function job(method, params)
  local started = must(method, params, here)
  local done = wait_job(started.job, here)
  if done.state ~= "done" then error(method .. ": " .. json.encode(done.error or done)) end
  return done.result
end

local function all_records(type, params)
  local out, cursor = {}, nil
  repeat
    local page = must("record.list", { type = type, index = params.index, equals = params.equals, limit = 500, cursor = cursor }, here)
    for _, record in ipairs(page.items) do out[#out + 1] = record end
    cursor = page.cursor
  until not cursor
  return out
end

-- ---- the institution and its people -----------------------------------------------------------------------------------------

local made, trouble = call("institution.create", { id = "demo", zone_minutes = 300, title = {
  en = "Sample University", uz = "Namuna universiteti", ["uz-Cyrl"] = "Намуна университети", ru = "Университет «Намуна»",
} })
if not made then
  if trouble.code == -32004 then
    print("The institution demo is there already; nothing was changed.")
    return
  end
  error(trouble.message)
end

local hash = hash_password(PASSWORD)
local function account(login, person, roles)
  must("account.create", { login = login, password_hash = hash, person = person, roles = roles, demo = true }, here)
end

local staff = {
  { login = "coordinator", name = "Rasulova Gulchehra", roles = { "coordinator" } },
  { login = "psychologist", name = "Tursunova Nafisa", roles = { "psychologist" } },
  { login = "coach", name = "Hakimov Alisher", roles = { "coach" } },
  { login = "administrator", name = "Ortiqov Shavkat", roles = { "administrator" } },
}
for _, one in ipairs(staff) do
  local person = must("person.create", { name = one.name, kind = "staff" }, here)
  account(one.login, person.id, one.roles)
end

local students, csv = make_students()
local imported = job("roster.apply", { csv = csv, map = map })
print(string.format("%d students imported, %d lines skipped", imported.created, #imported.skipped))

local by_number, person_id = {}, {}
for _, s in ipairs(students) do by_number[s.id] = s end
for _, record in ipairs(all_records("person", { index = "by_external" })) do
  local s = by_number[record.data.external_id]
  if s then
    s.person = record.id
    person_id[record.id] = s
  end
end

-- ---- this term's programme, and the diagnosis before it -----------------------------------------------------------------------

local programme = must("programme.create", {
  title = { en = "First steps together", uz = "Birinchi qadamlar birga", ["uz-Cyrl"] = "Биринчи қадамлар бирга", ru = "Первые шаги вместе" },
  purpose = {
    en = "Older students help younger ones with their studies, so that nobody is lost before the first session.",
    uz = "Katta kurs talabalari kichiklarga oʻqishda yordam beradi, toki birinchi sessiyagacha hech kim ortda qolmasin.",
    ["uz-Cyrl"] = "Катта курс талабалари кичикларга ўқишда ёрдам беради, токи биринчи сессиягача ҳеч ким ортда қолмасин.",
    ru = "Старшекурсники помогают младшим в учёбе, чтобы до первой сессии никто не отстал.",
  },
  term = "2026-1", starts = now - 42 * DAY, ends = now + 70 * DAY, rule = "successful-unsuccessful",
  questionnaires = { { id = "adaptation", moment = "before" }, { id = "adaptation", moment = "after" } },
}, here)

-- Paper forms of first-year students, typed in by the staff; every third has not handed theirs in.
local function answer_adaptation(s)
  local form = must("questionnaire.get", { questionnaire = "adaptation" }, here)
  local answers, hard = {}, (70 - s.ability) / 15
  for _, item in ipairs(form.items) do
    local value = math.max(1, math.min(5, math.floor(3 + hard * 0.6 + noise() + 0.5)))
    if not chance(4) then answers[item.id] = item.reverse and 6 - value or value end
  end
  must("questionnaire.submit", { questionnaire = "adaptation", programme = programme.id, moment = "before", person = s.person,
    answers = answers }, here)
end

-- ---- match, approve ---------------------------------------------------------------------------------------------------------------

local matched = job("match.run", { programme = programme.id, rule = "successful-unsuccessful" })
must("match.approve", { proposal = matched.proposal, starts = now - 28 * DAY }, here)
local pairs_made = all_records("pair", { index = "by_programme", equals = { programme.id, "active" } })
print(string.format("%d pairs approved", #pairs_made))
table.sort(pairs_made, function(a, b)
  if a.data.points ~= b.data.points then return (a.data.points or 0) > (b.data.points or 0) end
  return person_id[a.data.mentee].id < person_id[b.data.mentee].id
end)

-- The best pair in which a first-year student is the mentee is the one to look at.
local shown
for _, pair in ipairs(pairs_made) do
  if not shown and person_id[pair.data.mentee].year == 1 then shown = pair end
end
shown = shown or pairs_made[1]
account("mentor", shown.data.mentor, { "student" })
account("mentee", shown.data.mentee, { "student" })

for i, s in ipairs(students) do
  if s.year == 1 and i % 3 ~= 0 and s.person ~= shown.data.mentee then answer_adaptation(s) end
end

-- Two students have told the psychologist how they are.
for i, answers in ipairs { { g1 = 2, g2 = 2, g3 = 3, g4 = 2, g5 = 1, g6 = 2, g7 = 1 }, { g1 = 1, g2 = 0, g3 = 1, g4 = 1, g5 = 0, g6 = 1, g7 = 0 } } do
  must("questionnaire.submit", { questionnaire = "gad7", person = students[3 + 7 * i].person, answers = answers }, here)
end

-- ---- the weeks since then ------------------------------------------------------------------------------------------------------------

local function login(name)
  return { institution = "demo", as = must("session.login", { institution = "demo", login = name, password = PASSWORD }).token }
end

-- Last Sunday (or n Sundays before it) at so many hours in the institution's zone.
local function sunday(n, hour)
  local zone = 5 * 60 * 60 * 1000
  local day = (now + zone) // DAY
  local weekday = (day + 3) % 7 -- 0 = Monday
  return (day - weekday - 1 - 7 * n) * DAY + hour * 60 * 60 * 1000 - zone
end

local mentor, mentee = login "mentor", login "mentee"
local room = "pair:" .. shown.id
for _, line in ipairs {
  { mentor, "Salom! Men yuqori kursdaman, shu semestr birga yuramiz. Oʻqishda nima eng qiyin boʻlyapti?" },
  { mentee, "Assalomu alaykum! Maʼruzalarni yozib ulgurmayapman, keyin hech narsa tushunarli boʻlmay qoladi." },
  { mentor, "Menda ham shunday edi. Yakshanba kuni kutubxonada uchrashsak, konspekt usulimni koʻrsataman." },
  { mentee, "Rahmat, boraman! Daftarimni ham olib kelaymi?" },
  { mentor, "Ha, albatta. Oxirgi uchta maʼruzani birga koʻrib chiqamiz." },
} do
  must("message.send", { to = room, text = line[2] }, line[1])
end
must("meeting.log", { pair = shown.id, starts = sunday(0, 11), outcome = "held", topic = "Konspekt yozish usuli", place = "Kutubxona" }, mentor)
local free = must("meeting.slots", { pair = shown.id, days = 14 }, mentor).slots
if free[1] then
  local best = free[1]
  for _, slot in ipairs(free) do
    if slot.weekend then
      best = slot
      break
    end
  end
  must("meeting.propose", { pair = shown.id, starts = best.starts, topic = "Seminarga tayyorgarlik", place = "Kutubxona" }, mentor)
end
must("message.send", { to = room, text = "Yakshanba yaxshi oʻtdi! Keyingi uchrashuvga vaqt taklif qildim, sizga qulaymi?" }, mentor)

-- The other pairs: most meet, some often, a few have gone quiet.
local lines = {
  { "Salom! Tanishganimdan xursandman. Qachon boʻshsiz?", "Salom! Shanba kuni tushdan keyin." },
  { "Imtihon savollarini yuboraymi?", "Ha, iltimos. Birinchi bobidan boshlaymiz." },
  { "Bugungi mavzu tushunarli boʻldimi?", "Ancha tushunarli, rahmat!" },
  { "Здравствуйте! Как прошёл семинар?", "Хорошо, спасибо! Помог ваш план." },
}
local messages = {}
for i, pair in ipairs(pairs_made) do
  if pair.id ~= shown.id and i % 6 ~= 0 then
    local held = random(5) - (i % 4 == 0 and 2 or 0)
    for n = 1, held do
      must("meeting.log", { pair = pair.id, starts = sunday((held - n) % 4, 9 + random(6)), outcome = chance(92) and "held" or "no_show",
        topic = pick { "Matematik tahlil", "Konspekt", "Imtihonga tayyorgarlik", "Vaqtni rejalashtirish" } }, here)
    end
    local exchange, at = pick(lines), now - random(9) * DAY
    messages[#messages + 1] = { to = "pair:" .. pair.id, from = pair.data.mentor, text = exchange[1], sent = at }
    messages[#messages + 1] = { to = "pair:" .. pair.id, from = pair.data.mentee, text = exchange[2], sent = at + 3600 * 1000 }
  end
end
must("message.import", { messages = messages }, here)

-- Mid-term marks for those who have them: everybody moves towards what they can do, and mentees a little further.
local in_pair, rows = {}, {}
for _, pair in ipairs(pairs_made) do in_pair[pair.data.mentee] = true end
for _, s in ipairs(students) do
  local after = s.ability + 6 * noise() + (in_pair[s.person] and 4 or 0)
  if chance(82) then rows[#rows + 1] = { s.id, math.max(20, math.min(100, math.floor(after + 0.5))) } end
end
local second = job("roster.apply", {
  csv = write_csv({ "ID", "Oraliq ball" }, rows),
  map = { key = { column = "ID" }, measures = { { name = "grade", moment = "after", column = "Oraliq ball", max = 100 } } },
})
print(string.format("%d mid-term marks taken", second.updated))

-- Two activities of the coach.
local coach = login "coach"
local olympiad = must("activity.create", { kind = "olympiad", title = { en = "Autumn algebra olympiad", uz = "Kuzgi algebra olimpiadasi",
  ["uz-Cyrl"] = "Кузги алгебра олимпиадаси", ru = "Осенняя олимпиада по алгебре" }, fields = { subject = "algebra", rounds = 2 },
  starts = now + 12 * DAY, place = "2-bino, 214-xona", programme = programme.id }, coach)
must("activity.advance", { activity = olympiad.id, stage = "registration" }, coach)
must("activity.register", { activity = olympiad.id }, mentor)
must("activity.create", { kind = "volunteering", title = { en = "Trees for the yard", uz = "Hovliga daraxt ekamiz",
  ["uz-Cyrl"] = "Ҳовлига дарахт экамиз", ru = "Деревья для двора" }, fields = { task = "Daraxt ekish", hours_planned = 4 },
  starts = now + 5 * DAY, seats = 25, programme = programme.id }, coach)

-- Something for the coordinator to look at: another rule's proposal, not decided yet.
job("match.run", { programme = programme.id, rule = "passive-leader" })

print("The demo is ready: sign in at institution demo as coordinator, psychologist, coach, administrator, mentor or mentee; password "
  .. PASSWORD .. ".")
