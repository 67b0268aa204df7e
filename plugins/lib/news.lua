-- What people are told when something happens that waits for them. The texts name nobody and say nothing private, so they may be
-- sent outside as they are. What one did oneself is no news.
local texts = {
  ["meeting.proposed"] = {
    en = "A meeting has been proposed to you. Please answer.",
    uz = "Sizga uchrashuv taklif qilindi. Javob bering.",
    ["uz-Cyrl"] = "Сизга учрашув таклиф қилинди. Жавоб беринг.",
    ru = "Вам предложили встречу. Ответьте, пожалуйста.",
  },
  ["meeting.accepted"] = {
    en = "Your meeting has been agreed to.",
    uz = "Uchrashuvingizga rozilik berildi.",
    ["uz-Cyrl"] = "Учрашувингизга розилик берилди.",
    ru = "На вашу встречу согласились.",
  },
  ["meeting.declined"] = {
    en = "The time you proposed does not fit. Please propose another.",
    uz = "Taklif qilgan vaqtingiz toʻgʻri kelmadi. Boshqa vaqt taklif qiling.",
    ["uz-Cyrl"] = "Таклиф қилган вақтингиз тўғри келмади. Бошқа вақт таклиф қилинг.",
    ru = "Предложенное вами время не подходит. Предложите другое.",
  },
  ["meeting.cancelled"] = {
    en = "A meeting has been called off.",
    uz = "Uchrashuv bekor qilindi.",
    ["uz-Cyrl"] = "Учрашув бекор қилинди.",
    ru = "Встреча отменена.",
  },
  ["pair.requested"] = {
    en = "Somebody asks you to be their mentor. Please answer.",
    uz = "Sizdan mentor boʻlishni soʻrashyapti. Javob bering.",
    ["uz-Cyrl"] = "Сиздан ментор бўлишни сўрашяпти. Жавоб беринг.",
    ru = "Вас просят стать наставником. Ответьте, пожалуйста.",
  },
  ["pair.accepted"] = {
    en = "Your mentor has agreed. You can write to each other now.",
    uz = "Mentoringiz rozi boʻldi. Endi yozishishingiz mumkin.",
    ["uz-Cyrl"] = "Менторингиз рози бўлди. Энди ёзишишингиз мумкин.",
    ru = "Ваш наставник согласился. Теперь вы можете переписываться.",
  },
  ["pair.declined"] = {
    en = "This mentor has no time now. Please choose another; there are many who like to help.",
    uz = "Bu mentorning hozir vaqti yoʻq. Boshqasini tanlang: yordam berishni xohlovchilar koʻp.",
    ["uz-Cyrl"] = "Бу менторнинг ҳозир вақти йўқ. Бошқасини танланг: ёрдам беришни хоҳловчилар кўп.",
    ru = "У этого наставника сейчас нет времени. Выберите другого: желающих помочь много.",
  },
}

local news = {}

function news.tell(person, key, action, urgent)
  notify.person(person, { key = key, text = texts[key], action = action, urgent = urgent, safe = true })
end

-- To both of a pair but who did it (nil: to both).
function news.tell_pair(pair, who, key, urgent)
  for _, person in ipairs { pair.data.mentor, pair.data.mentee } do
    if person ~= who then news.tell(person, key, "pair/" .. pair.id, urgent) end
  end
end

return news
