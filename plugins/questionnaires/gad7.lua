-- GAD-7: worry in the last two weeks. A screener, not a diagnosis: never used for matching, never seen by a mentor.

local function item(id, en, uz, cyrl, ru)
  return likert { id, { en = en, uz = uz, ["uz-Cyrl"] = cyrl, ru = ru }, scale = frequency4, key = "GAD7" }
end

local none_of_it = {
  en = " This is not a diagnosis. Only you and the psychologist of your institution can see your answers.",
  uz = " Bu tashxis emas. Javoblaringizni faqat siz va muassasangiz psixologi koʻra oladi.",
  ["uz-Cyrl"] = " Бу ташхис эмас. Жавобларингизни фақат сиз ва муассасангиз психологи кўра олади.",
  ru = " Это не диагноз. Ваши ответы можете видеть только вы и психолог вашего учреждения.",
}
local words = {
  low = {
    en = "Thank you. In the last two weeks worry has had little hold on you.",
    uz = "Rahmat. Soʻnggi ikki haftada xavotir sizni koʻp bezovta qilmagan.",
    ["uz-Cyrl"] = "Раҳмат. Сўнгги икки ҳафтада хавотир сизни кўп безовта қилмаган.",
    ru = "Спасибо. В последние две недели тревога мало вас беспокоила.",
  },
  some = {
    en = "Thank you. Worry has been with you on some days. Sleep, movement and a talk with somebody you trust often help.",
    uz = "Rahmat. Baʼzi kunlari xavotirlangansiz. Yaxshi uyqu, harakat va ishongan kishingiz bilan suhbat koʻpincha yordam beradi.",
    ["uz-Cyrl"] = "Раҳмат. Баъзи кунлари хавотирлангансиз. Яхши уйқу, ҳаракат ва ишонган кишингиз билан суҳбат кўпинча ёрдам беради.",
    ru = "Спасибо. В некоторые дни вас беспокоила тревога. Часто помогают сон, движение и разговор с тем, кому вы доверяете.",
  },
  much = {
    en = "Thank you for answering openly. You have been carrying a lot of worry. You need not manage this alone: the psychologist will look at your answers and offer you a talk.",
    uz = "Ochiq javob berganingiz uchun rahmat. Xavotir sizga ancha ogʻirlik qilayapti. Bu bilan yolgʻiz qolmaysiz: psixolog javoblaringizni koʻrib, suhbat taklif qiladi.",
    ["uz-Cyrl"] = "Очиқ жавоб берганингиз учун раҳмат. Хавотир сизга анча оғирлик қилаяпти. Бу билан ёлғиз қолмайсиз: психолог жавобларингизни кўриб, суҳбат таклиф қилади.",
    ru = "Спасибо за откровенные ответы. Тревоги у вас сейчас много. Справляться одному человеку не нужно: психолог посмотрит ваши ответы и предложит поговорить.",
  },
  unknown = {
    en = "Thank you. Some answers are missing, so nothing is worked out from them.",
    uz = "Rahmat. Baʼzi javoblar yoʻq, shuning uchun ulardan xulosa chiqarilmadi.",
    ["uz-Cyrl"] = "Раҳмат. Баъзи жавоблар йўқ, шунинг учун улардан хулоса чиқарилмади.",
    ru = "Спасибо. Некоторых ответов нет, поэтому выводов из них не сделано.",
  },
}
local function told(key)
  local out = {}
  for language, sentence in pairs(words[key]) do out[language] = sentence .. none_of_it[language] end
  return out
end

-- A sum with missing answers is prorated; it is looked up like the bands are.
local function rounded(total) return math.floor(total + 0.5) end

return questionnaire {
  id = "gad7",
  title = { en = "Worry in the last two weeks (GAD-7)", uz = "Soʻnggi ikki haftadagi xavotir (GAD-7)",
    ["uz-Cyrl"] = "Сўнгги икки ҳафтадаги хавотир (GAD-7)", ru = "Тревога за последние две недели (GAD-7)" },
  intro = {
    en = "This is not a diagnosis. Only you and the psychologist of your institution can see your answers; mentors and coordinators cannot.",
    uz = "Bu tashxis emas. Javoblaringizni faqat siz va muassasangiz psixologi koʻradi; mentor va koordinator koʻrmaydi.",
    ["uz-Cyrl"] = "Бу ташхис эмас. Жавобларингизни фақат сиз ва муассасангиз психологи кўради; ментор ва координатор кўрмайди.",
    ru = "Это не диагноз. Ваши ответы видите только вы и психолог вашего учреждения; наставники и координаторы их не видят.",
  },
  stem = {
    en = "Over the last 2 weeks, how often have you been bothered by any of the following problems?",
    uz = "Soʻnggi 2 hafta davomida quyidagi holatlar sizni qanchalik tez-tez bezovta qildi?",
    ["uz-Cyrl"] = "Сўнгги 2 ҳафта давомида қуйидаги ҳолатлар сизни қанчалик тез-тез безовта қилди?",
    ru = "Как часто за последние 2 недели вас беспокоило следующее?",
  },
  source = "GAD-7: Spitzer, Kroenke, Williams & Löwe 2006, Arch Intern Med 166:1092-1097. Free: no permission required to "
    .. "reproduce, translate, display or distribute (Pfizer notice). The translations into Uzbek and Russian are ours and not "
    .. "validated.",
  sensitive = true,
  audience = { "self", "role:psychologist" },
  minutes = 2,
  items = {
    item("g1", "Feeling nervous, anxious, or on edge",
      "Asabiylik, xavotir yoki taranglik his qilish", "Асабийлик, хавотир ёки таранглик ҳис қилиш",
      "Нервозность, тревога или чувство, что вы на взводе"),
    item("g2", "Not being able to stop or control worrying",
      "Xavotirlanishni toʻxtata olmaslik yoki jilovlay olmaslik", "Хавотирланишни тўхтата олмаслик ёки жиловлай олмаслик",
      "Невозможность прекратить беспокоиться или сдержать беспокойство"),
    item("g3", "Worrying too much about different things",
      "Turli narsalar haqida haddan tashqari koʻp xavotirlanish", "Турли нарсалар ҳақида ҳаддан ташқари кўп хавотирланиш",
      "Слишком сильное беспокойство по разным поводам"),
    item("g4", "Trouble relaxing",
      "Oʻzini erkin qoʻyib, dam olishga qiynalish", "Ўзини эркин қўйиб, дам олишга қийналиш",
      "Трудно расслабиться"),
    item("g5", "Being so restless that it is hard to sit still",
      "Bir joyda oʻtirish qiyin boʻladigan darajada bezovtalik", "Бир жойда ўтириш қийин бўладиган даражада безовталик",
      "Такое беспокойство, что трудно усидеть на месте"),
    item("g6", "Becoming easily annoyed or irritable",
      "Arzimagan narsadan achchiqlanish yoki jahli chiqish", "Арзимаган нарсадан аччиқланиш ёки жаҳли чиқиш",
      "Лёгкое раздражение или вспыльчивость"),
    item("g7", "Feeling afraid, as if something awful might happen",
      "Xuddi dahshatli bir narsa yuz beradigandek qoʻrquv", "Худди даҳшатли бир нарса юз берадигандек қўрқув",
      "Страх, будто может случиться что-то ужасное"),
  },
  scales = {
    GAD7 = sum { min_answered = 0.8, title = { en = "Worry", uz = "Xavotir", ["uz-Cyrl"] = "Хавотир", ru = "Тревога" } },
  },
  bands = {
    GAD7 = { { below = 5, "minimal" }, { below = 10, "mild" }, { below = 15, "moderate" }, { "severe" } },
  },
  -- From the published cut-off on, the psychologist is told at once.
  alert = function(scores) return scores.GAD7 ~= nil and rounded(scores.GAD7) >= 10 end,
  result = function(scores)
    if not scores.GAD7 then return told "unknown" end
    local total = rounded(scores.GAD7)
    return told(total >= 10 and "much" or total >= 5 and "some" or "low")
  end,
  tests = {
    ["ten points reach the psychologist, nine do not"] = function(t)
      local form = plugins.get("questionnaire", "gad7")
      t:equal(form.alert { GAD7 = 10 }, true)
      t:equal(form.alert { GAD7 = 9.5 }, true)
      t:equal(form.alert { GAD7 = 9 }, false)
      t:equal(form.alert {}, false)
    end,
    ["every result says that it is no diagnosis, in every language"] = function(t)
      local form = plugins.get("questionnaire", "gad7")
      for _, total in ipairs { 0, 7, 15 } do
        local text = form.result { GAD7 = total }
        t:ok(text.en:find("not a diagnosis", 1, true) and text.uz:find("tashxis emas", 1, true)
          and text["uz-Cyrl"]:find("ташхис эмас", 1, true) and text.ru:find("не диагноз", 1, true))
      end
    end,
    ["bands are those that were published"] = function(t)
      local scoring = require "lib.scoring"
      local form = plugins.get("questionnaire", "gad7")
      local function band(...)
        local answers = {}
        for i, v in ipairs { ... } do answers["g" .. i] = v end
        return scoring.score(form, answers).bands.GAD7
      end
      t:equal(band(1, 1, 1, 1, 0, 0, 0), "minimal")
      t:equal(band(1, 1, 1, 1, 1, 0, 0), "mild")
      t:equal(band(3, 3, 3, 1, 0, 0, 0), "moderate")
      t:equal(band(3, 3, 3, 3, 3, 0, 0), "severe")
    end,
  },
}
