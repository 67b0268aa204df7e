-- Mini-IPIP: five broad traits in twenty short sentences. Public domain. No bands: a trait is neither good nor bad.

local function item(id, key, reverse, en, uz, cyrl, ru)
  return likert { id, { en = en, uz = uz, ["uz-Cyrl"] = cyrl, ru = ru }, scale = accuracy5, key = key, reverse = reverse }
end

return questionnaire {
  id = "mini-ipip",
  title = { en = "What are you like? (Mini-IPIP)", uz = "Siz qandaysiz? (Mini-IPIP)", ["uz-Cyrl"] = "Сиз қандайсиз? (Mini-IPIP)",
    ru = "Какой вы человек? (Mini-IPIP)" },
  intro = {
    en = "How well does each sentence describe you, as you are now? Nobody is graded here.",
    uz = "Har bir gap sizni, hozirgi holatingizni, qanchalik toʻgʻri tasvirlaydi? Bu yerda hech kimga baho qoʻyilmaydi.",
    ["uz-Cyrl"] = "Ҳар бир гап сизни, ҳозирги ҳолатингизни, қанчалик тўғри тасвирлайди? Бу ерда ҳеч кимга баҳо қўйилмайди.",
    ru = "Насколько каждая фраза описывает вас, какой вы сейчас человек? Оценок здесь не ставят.",
  },
  source = "Mini-IPIP: Donnellan, Oswald, Baird & Lucas 2006, Psychological Assessment 18:192-203; items of the International "
    .. "Personality Item Pool, public domain (ipip.ori.org). The translations into Uzbek and Russian are ours and not validated.",
  audience = { "self", "role:psychologist" },
  minutes = 4,
  items = {
    item("m1", "E", false, "Am the life of the party.", "Davraning guliman.", "Давранинг гулиман.", "Я душа компании."),
    item("m2", "A", false, "Sympathize with others’ feelings.", "Boshqalarning his-tuygʻulariga hamdard boʻlaman.",
      "Бошқаларнинг ҳис-туйғуларига ҳамдард бўламан.", "Сопереживаю чувствам других."),
    item("m3", "C", false, "Get chores done right away.", "Yumushlarni darrov bajaraman.", "Юмушларни дарров бажараман.",
      "Повседневные дела делаю сразу."),
    item("m4", "N", false, "Have frequent mood swings.", "Kayfiyatim tez-tez oʻzgarib turadi.", "Кайфиятим тез-тез ўзгариб туради.",
      "У меня часто меняется настроение."),
    item("m5", "I", false, "Have a vivid imagination.", "Tasavvurim jonli va boy.", "Тасаввурим жонли ва бой.",
      "У меня живое воображение."),
    item("m6", "E", true, "Don’t talk a lot.", "Kam gapiraman.", "Кам гапираман.", "Говорю немного."),
    item("m7", "A", true, "Am not interested in other people’s problems.", "Boshqalarning muammolari meni qiziqtirmaydi.",
      "Бошқаларнинг муаммолари мени қизиқтирмайди.", "Проблемы других людей меня не интересуют."),
    item("m8", "C", true, "Often forget to put things back in their proper place.",
      "Narsalarni joyiga qoʻyishni koʻpincha unutaman.", "Нарсаларни жойига қўйишни кўпинча унутаман.",
      "Часто забываю класть вещи на место."),
    item("m9", "N", true, "Am relaxed most of the time.", "Koʻpincha oʻzimni xotirjam his qilaman.",
      "Кўпинча ўзимни хотиржам ҳис қиламан.", "Чаще всего чувствую себя спокойно."),
    item("m10", "I", true, "Am not interested in abstract ideas.", "Mavhum gʻoyalar meni qiziqtirmaydi.",
      "Мавҳум ғоялар мени қизиқтирмайди.", "Отвлечённые идеи меня не интересуют."),
    item("m11", "E", false, "Talk to a lot of different people at parties.", "Davralarda har xil odamlar bilan koʻp suhbatlashaman.",
      "Давраларда ҳар хил одамлар билан кўп суҳбатлашаман.", "В гостях и на праздниках общаюсь с самыми разными людьми."),
    item("m12", "A", false, "Feel others’ emotions.", "Boshqalarning kechinmalarini his qilaman.",
      "Бошқаларнинг кечинмаларини ҳис қиламан.", "Чувствую, что переживают другие."),
    item("m13", "C", false, "Like order.", "Tartibni yaxshi koʻraman.", "Тартибни яхши кўраман.", "Люблю порядок."),
    item("m14", "N", false, "Get upset easily.", "Tez xafa boʻlaman.", "Тез хафа бўламан.", "Меня легко расстроить."),
    item("m15", "I", true, "Have difficulty understanding abstract ideas.", "Mavhum gʻoyalarni tushunish menga qiyin.",
      "Мавҳум ғояларни тушуниш менга қийин.", "Мне трудно понимать отвлечённые идеи."),
    item("m16", "E", true, "Keep in the background.", "Koʻzga tashlanmay yurishni maʼqul koʻraman.",
      "Кўзга ташланмай юришни маъқул кўраман.", "Держусь в тени."),
    item("m17", "A", true, "Am not really interested in others.", "Boshqa odamlar meni unchalik qiziqtirmaydi.",
      "Бошқа одамлар мени унчалик қизиқтирмайди.", "Другие люди мне не особенно интересны."),
    item("m18", "C", true, "Make a mess of things.", "Ishlarni chalkashtirib yuboraman.", "Ишларни чалкаштириб юбораман.",
      "Вношу в дела беспорядок."),
    item("m19", "N", true, "Seldom feel blue.", "Kamdan-kam maʼyus boʻlaman.", "Камдан-кам маъюс бўламан.", "Редко грущу."),
    item("m20", "I", true, "Do not have a good imagination.", "Tasavvurim unchalik boy emas.", "Тасаввурим унчалик бой эмас.",
      "У меня не очень богатое воображение."),
  },
  pages = { { "m1", "m2", "m3", "m4", "m5" }, { "m6", "m7", "m8", "m9", "m10" }, { "m11", "m12", "m13", "m14", "m15" },
    { "m16", "m17", "m18", "m19", "m20" } },
  scales = {
    E = mean { min_answered = 0.75, title = { en = "Extraversion", uz = "Ekstraversiya", ["uz-Cyrl"] = "Экстраверсия", ru = "Экстраверсия" } },
    A = mean { min_answered = 0.75, title = { en = "Agreeableness", uz = "Xushfeʼllik", ["uz-Cyrl"] = "Хушфеъллик", ru = "Доброжелательность" } },
    C = mean { min_answered = 0.75, title = { en = "Conscientiousness", uz = "Masʼuliyatlilik", ["uz-Cyrl"] = "Масъулиятлилик", ru = "Добросовестность" } },
    N = mean { min_answered = 0.75, title = { en = "Sensitivity to stress", uz = "Zoʻriqishga sezgirlik", ["uz-Cyrl"] = "Зўриқишга сезгирлик", ru = "Чувствительность к стрессу" } },
    I = mean { min_answered = 0.75, title = { en = "Imagination", uz = "Tasavvur", ["uz-Cyrl"] = "Тасаввур", ru = "Воображение" } },
  },
  result = function()
    return {
      en = "Thank you. There are no good or bad traits; different people go well together, each in their own way.",
      uz = "Rahmat. Yaxshi yoki yomon feʼl degani yoʻq; turli odamlar bir-birini toʻldiradi.",
      ["uz-Cyrl"] = "Раҳмат. Яхши ёки ёмон феъл дегани йўқ; турли одамлар бир-бирини тўлдиради.",
      ru = "Спасибо. Хороших и плохих черт нет: разные люди дополняют друг друга, каждый по-своему.",
    }
  end,
  tests = {
    ["the published key: reversed are 6 to 10 and 15 to 20"] = function(t)
      for i, it in ipairs(plugins.get("questionnaire", "mini-ipip").items) do
        t:equal(it.id, "m" .. i)
        t:equal(it.reverse or false, i >= 6 and i <= 10 or i >= 15, it.id)
      end
    end,
    ["with one of four answers missing a scale is scored, with two it is not"] = function(t)
      local scoring = require "lib.scoring"
      local form = plugins.get("questionnaire", "mini-ipip")
      t:equal(scoring.score(form, { m1 = 5, m6 = 1, m11 = 5 }).scores.E, 5.0)
      t:ok(scoring.score(form, { m1 = 5, m6 = 1 }).scores.E == nil)
    end,
  },
}
