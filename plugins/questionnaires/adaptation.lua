-- How a first-year student settles in: studies, change, people, strain. An own draft that nobody has validated yet: no bands, and
-- alpha only from 30 answers on. Higher means harder.

local function item(id, key, reverse, en, uz, cyrl, ru)
  return likert { id, { en = en, uz = uz, ["uz-Cyrl"] = cyrl, ru = ru }, scale = agree5, key = key, reverse = reverse }
end

local hardest = {
  study = {
    en = "Thank you. Just now your studies ask most of you. Nearly everybody knows this in the first year; an older student can show you how they do it.",
    uz = "Rahmat. Hozir sizga eng koʻp oʻqish qiyinchilik tugʻdirayapti. Birinchi kursda bu deyarli hammada boʻladi; katta kurs talabasi oʻz usullarini koʻrsatib beradi.",
    ["uz-Cyrl"] = "Раҳмат. Ҳозир сизга энг кўп ўқиш қийинчилик туғдираяпти. Биринчи курсда бу деярли ҳаммада бўлади; катта курс талабаси ўз усулларини кўрсатиб беради.",
    ru = "Спасибо. Сейчас больше всего сил забирает учёба. На первом курсе так почти у всех; старшекурсник покажет, как справляется он.",
  },
  change = {
    en = "Thank you. So much that is new takes strength. Step by step it becomes everyday life, and you need not take the steps alone.",
    uz = "Rahmat. Shuncha yangilik koʻp kuch oladi. Asta-sekin bular kundalik hayotga aylanadi, va bu yoʻlni yolgʻiz bosib oʻtishingiz shart emas.",
    ["uz-Cyrl"] = "Раҳмат. Шунча янгилик кўп куч олади. Аста-секин булар кундалик ҳаётга айланади, ва бу йўлни ёлғиз босиб ўтишингиз шарт эмас.",
    ru = "Спасибо. Столько нового забирает силы. Шаг за шагом оно станет привычным, и идти эти шаги в одиночку не нужно.",
  },
  people = {
    en = "Thank you. Finding one’s place among new people takes time. A familiar face to begin with makes it easier.",
    uz = "Rahmat. Yangi odamlar orasida oʻz oʻrnini topish vaqt talab qiladi. Avvaliga bitta tanish chehra ham ishni osonlashtiradi.",
    ["uz-Cyrl"] = "Раҳмат. Янги одамлар орасида ўз ўрнини топиш вақт талаб қилади. Аввалига битта таниш чеҳра ҳам ишни осонлаштиради.",
    ru = "Спасибо. Найти своё место среди новых людей — дело времени. Легче, когда сначала есть хотя бы одно знакомое лицо.",
  },
  strain = {
    en = "Thank you. Worry has been taking your sleep. You may talk about it; your psychologist listens and tells nobody.",
    uz = "Rahmat. Xavotir uyqungizni buzayapti. Bu haqda gaplashish mumkin; psixolog tinglaydi va hech kimga aytmaydi.",
    ["uz-Cyrl"] = "Раҳмат. Хавотир уйқунгизни бузаяпти. Бу ҳақда гаплашиш мумкин; психолог тинглайди ва ҳеч кимга айтмайди.",
    ru = "Спасибо. Тревога мешает вам спать. Об этом можно поговорить: психолог выслушает и никому не расскажет.",
  },
}
local going_well = {
  en = "Thank you. Much is going well already. Perhaps soon you will be the one who helps somebody else.",
  uz = "Rahmat. Koʻp narsa yaxshi ketayapti. Balki tez orada oʻzingiz boshqalarga yordam berarsiz.",
  ["uz-Cyrl"] = "Раҳмат. Кўп нарса яхши кетаяпти. Балки тез орада ўзингиз бошқаларга ёрдам берарсиз.",
  ru = "Спасибо. Многое уже получается. Возможно, скоро вы сами будете кому-то помогать.",
}

local harder = {
  en = "Here higher means harder: lower is better.", uz = "Bu yerda ball qancha yuqori boʻlsa, shuncha qiyin: pasaygani yaxshi.",
  ["uz-Cyrl"] = "Бу ерда балл қанча юқори бўлса, шунча қийин: пасайгани яхши.", ru = "Здесь чем выше, тем труднее: снижение — к лучшему.",
}

return questionnaire {
  id = "adaptation",
  title = { en = "How are you settling in?", uz = "Moslashuvingiz qanday?", ["uz-Cyrl"] = "Мослашувингиз қандай?", ru = "Как вы осваиваетесь?" },
  intro = {
    en = "Twelve short sentences about your first months. There are no right answers. Only you and the psychologist see yours.",
    uz = "Dastlabki oylaringiz haqida oʻn ikkita qisqa gap. Toʻgʻri yoki notoʻgʻri javob yoʻq. Javobingizni faqat siz va psixolog koʻradi.",
    ["uz-Cyrl"] = "Дастлабки ойларингиз ҳақида ўн иккита қисқа гап. Тўғри ёки нотўғри жавоб йўқ. Жавобингизни фақат сиз ва психолог кўради.",
    ru = "Двенадцать коротких фраз о ваших первых месяцах. Правильных ответов нет. Ваши видите только вы и психолог.",
  },
  source = "Own draft of the Hamroh project, MIT licence, unvalidated: no norms, no bands. The translations into Uzbek and "
    .. "Russian are ours and not validated.",
  audience = { "self", "role:psychologist" },
  minutes = 3,
  items = {
    item("a1", "study", false, "I lose the thread during lectures.",
      "Maʼruza davomida fikr izini yoʻqotib qoʻyaman.", "Маъруза давомида фикр изини йўқотиб қўяман.",
      "На лекциях я теряю нить."),
    item("a2", "study", true, "I can write notes I can use later.",
      "Keyin foydalanadigan konspekt yoza olaman.", "Кейин фойдаланадиган конспект ёза оламан.",
      "Я умею писать конспекты, которыми потом пользуюсь."),
    item("a3", "study", false, "I do not know how to start when I must work with literature.",
      "Adabiyotlar bilan ishlash kerak boʻlsa, nimadan boshlashni bilmayman.",
      "Адабиётлар билан ишлаш керак бўлса, нимадан бошлашни билмайман.",
      "Когда нужно работать с литературой, я не знаю, с чего начать."),
    item("a4", "study", true, "Preparing for seminars on my own goes well.",
      "Seminarlarga mustaqil tayyorgarligim yaxshi ketadi.", "Семинарларга мустақил тайёргарлигим яхши кетади.",
      "Самостоятельно готовиться к семинарам у меня получается."),
    item("a5", "study", false, "I cannot plan my time in the examination session.",
      "Sessiya paytida vaqtimni rejalashtira olmayman.", "Сессия пайтида вақтимни режалаштира олмайман.",
      "В сессию я не умею распланировать своё время."),
    item("a6", "change", false, "Every new teacher means starting from zero for me.",
      "Har bir yangi oʻqituvchi bilan hammasini noldan boshlagandek boʻlaman.",
      "Ҳар бир янги ўқитувчи билан ҳаммасини нолдан бошлагандек бўламан.",
      "С каждым новым преподавателем я начинаю с нуля."),
    item("a7", "change", true, "I manage daily life without my family.",
      "Oilamdan uzoqda ham kundalik hayotni eplayman.", "Оиламдан узоқда ҳам кундалик ҳаётни эплайман.",
      "Я справляюсь с повседневной жизнью без семьи."),
    item("a8", "change", true, "I know why I chose this subject.",
      "Bu mutaxassislikni nima uchun tanlaganimni bilaman.", "Бу мутахассисликни нима учун танлаганимни биламан.",
      "Я знаю, почему у меня именно эта специальность."),
    item("a9", "people", false, "I feel like an outsider in my group.",
      "Guruhimda oʻzimni begonadek his qilaman.", "Гуруҳимда ўзимни бегонадек ҳис қиламан.",
      "В своей группе я чувствую себя чужим человеком."),
    item("a10", "people", true, "I know whom to ask when I do not understand something.",
      "Biror narsani tushunmasam, kimdan soʻrashni bilaman.", "Бирор нарсани тушунмасам, кимдан сўрашни биламан.",
      "Я знаю, кого спросить, если чего-то не понимаю."),
    item("a11", "people", false, "Before I speak in public I cannot calm down.",
      "Omma oldida soʻzlashdan oldin oʻzimni tinchlantira olmayman.", "Омма олдида сўзлашдан олдин ўзимни тинчлантира олмайман.",
      "Перед публичным выступлением я не могу успокоиться."),
    item("a12", "strain", false, "Because of worry about my studies I sleep badly.",
      "Oʻqish haqidagi xavotirdan yomon uxlayman.", "Ўқиш ҳақидаги хавотирдан ёмон ухлайман.",
      "Из-за переживаний об учёбе я плохо сплю."),
  },
  pages = { { "a1", "a2", "a3", "a4" }, { "a5", "a6", "a7", "a8" }, { "a9", "a10", "a11", "a12" } },
  scales = {
    study = mean { min_answered = 0.8, note = harder, title = { en = "Studies", uz = "Oʻqish", ["uz-Cyrl"] = "Ўқиш", ru = "Учёба" } },
    change = mean { min_answered = 0.6, note = harder, title = { en = "Change", uz = "Oʻzgarishlar", ["uz-Cyrl"] = "Ўзгаришлар", ru = "Перемены" } },
    people = mean { min_answered = 0.6, note = harder, title = { en = "People", uz = "Odamlar", ["uz-Cyrl"] = "Одамлар", ru = "Люди" } },
    strain = mean { min_answered = 1, note = harder, title = { en = "Strain", uz = "Zoʻriqish", ["uz-Cyrl"] = "Зўриқиш", ru = "Напряжение" } },
  },
  result = function(scores)
    local worst, most = nil, 3
    for _, key in ipairs { "study", "change", "people", "strain" } do
      local value = scores[key]
      if value and value > most then worst, most = key, value end
    end
    return hardest[worst] or going_well
  end,
  tests = {
    ["whoever finds everything easy scores 1 on every scale, whatever way the sentence is turned"] = function(t)
      local scoring = require "lib.scoring"
      local form = plugins.get("questionnaire", "adaptation")
      local answers = {}
      for _, i in ipairs(form.items) do answers[i.id] = i.reverse and 5 or 1 end
      local scores = scoring.score(form, answers).scores
      for _, key in ipairs { "study", "change", "people", "strain" } do t:equal(scores[key], 1.0) end
      t:equal(form.result(scores), going_well)
    end,
    ["the result speaks of what is hardest"] = function(t)
      local form = plugins.get("questionnaire", "adaptation")
      t:equal(form.result { study = 2.0, people = 4.2, change = 3.1 }, hardest.people)
    end,
  },
}
