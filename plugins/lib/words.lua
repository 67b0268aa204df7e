-- Names of the codes that people pick from lists (languages, strengths and needs, interests), in four languages. A code that
-- is not here is shown as it was written: institutions may use words of their own.
local function w(en, uz, cyrl, ru) return { en = en, uz = uz, ["uz-Cyrl"] = cyrl, ru = ru } end

local words = {
  languages = {
    uz = w("Uzbek", "oʻzbek tili", "ўзбек тили", "узбекский"),
    ru = w("Russian", "rus tili", "рус тили", "русский"),
    en = w("English", "ingliz tili", "инглиз тили", "английский"),
    kaa = w("Karakalpak", "qoraqalpoq tili", "қорақалпоқ тили", "каракалпакский"),
    tg = w("Tajik", "tojik tili", "тожик тили", "таджикский"),
    kk = w("Kazakh", "qozoq tili", "қозоқ тили", "казахский"),
  },
  topics = {
    calculus = w("calculus", "matematik tahlil", "математик таҳлил", "математический анализ"),
    algebra = w("algebra", "algebra", "алгебра", "алгебра"),
    physics = w("physics", "fizika", "физика", "физика"),
    programming = w("programming", "dasturlash", "дастурлаш", "программирование"),
    english = w("English", "ingliz tili", "инглиз тили", "английский язык"),
    history = w("history", "tarix", "тарих", "история"),
    pedagogy = w("pedagogy", "pedagogika", "педагогика", "педагогика"),
    literature = w("working with literature", "adabiyotlar bilan ishlash", "адабиётлар билан ишлаш", "работа с литературой"),
    notes = w("taking notes", "konspekt yozish", "конспект ёзиш", "конспектирование"),
    planning = w("planning time", "vaqtni rejalashtirish", "вақтни режалаштириш", "планирование времени"),
    speaking = w("speaking in public", "omma oldida soʻzlash", "омма олдида сўзлаш", "публичные выступления"),
    exams = w("preparing for exams", "imtihonga tayyorgarlik", "имтиҳонга тайёргарлик", "подготовка к экзаменам"),
    daily_life = w("living on one’s own", "mustaqil yashash", "мустақил яшаш", "самостоятельная жизнь"),
    group = w("feeling at home in a group", "guruhga qoʻshilish", "гуруҳга қўшилиш", "вхождение в группу"),
    leadership = w("leading a team", "jamoani boshqarish", "жамоани бошқариш", "руководство командой"),
    calm = w("staying calm", "xotirjamlik", "хотиржамлик", "спокойствие"),
  },
  interests = {
    football = w("football", "futbol", "футбол", "футбол"),
    chess = w("chess", "shaxmat", "шахмат", "шахматы"),
    books = w("books", "kitoblar", "китоблар", "книги"),
    music = w("music", "musiqa", "мусиқа", "музыка"),
    robotics = w("robotics", "robototexnika", "робототехника", "робототехника"),
    theatre = w("theatre", "teatr", "театр", "театр"),
    volunteering = w("volunteering", "koʻngillilik", "кўнгиллилик", "волонтёрство"),
    photography = w("photography", "suratga olish", "суратга олиш", "фотография"),
    cooking = w("cooking", "pazandalik", "пазандалик", "кулинария"),
    travel = w("travel", "sayohat", "саёҳат", "путешествия"),
    art = w("drawing", "rasm chizish", "расм чизиш", "рисование"),
    volleyball = w("volleyball", "voleybol", "волейбол", "волейбол"),
    films = w("films", "kino", "кино", "кино"),
    games = w("computer games", "kompyuter oʻyinlari", "компьютер ўйинлари", "компьютерные игры"),
  },
}

-- The translated name of a code, or the code itself.
function words.name(code)
  return words.topics[code] or words.interests[code] or words.languages[code] or code
end

-- Within one list, where a code may mean different things ("english" the subject, "en" the language).
function words.in_list(list, code)
  local known = words[list]
  return known and known[code] or words.name(code)
end

-- A list of codes as names, translated where they are known.
function words.names(list, codes)
  local out = {}
  for i, code in ipairs(codes or {}) do out[i] = words.in_list(list, code) end
  return store.array(out)
end

return words
