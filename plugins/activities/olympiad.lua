-- Olympiads, competitions and championships of professional skills: rounds with points, and a ranking.
return activity {
  id = "olympiad",
  title = { en = "Olympiad", uz = "Olimpiada", ["uz-Cyrl"] = "Олимпиада", ru = "Олимпиада" },
  icon = "trophy",
  fields = {
    subject = text { required = true, max = 120 },
    level = choice { values = { "group", "faculty", "institution", "cluster", "national" }, default = "faculty" },
    rounds = integer { min = 1, max = 9, default = 1 },
    team_size = integer { min = 1, max = 10, default = 1 },
  },
  stages = { "announced", "registration", "preparation", "rounds", "results" },
  stage_titles = {
    announced = { en = "Announced", uz = "Eʼlon qilingan", ["uz-Cyrl"] = "Эълон қилинган", ru = "Объявлена" },
    registration = { en = "Registration", uz = "Roʻyxatga olish", ["uz-Cyrl"] = "Рўйхатга олиш", ru = "Регистрация" },
    preparation = { en = "Preparation", uz = "Tayyorgarlik", ["uz-Cyrl"] = "Тайёргарлик", ru = "Подготовка" },
    rounds = { en = "Rounds", uz = "Bosqichlar", ["uz-Cyrl"] = "Босқичлар", ru = "Туры" },
    results = { en = "Results", uz = "Natijalar", ["uz-Cyrl"] = "Натижалар", ru = "Результаты" },
  },
  roles = { participant = {}, mentor = {}, jury = { sees = "all" }, coach = {} },

  on_register = function(_, activity)
    if activity.data.stage ~= "registration" then
      return false, "registration_closed", {
        en = "One can sign up while registration is open.",
        uz = "Roʻyxatga olish ochiq paytda yozilish mumkin.",
        ["uz-Cyrl"] = "Рўйхатга олиш очиқ пайтда ёзилиш мумкин.",
        ru = "Записаться можно, пока открыта регистрация.",
      }
    end
  end,

  -- The points of all rounds that were played: values round_1, round_2, …
  score = function(_, activity, entry)
    local sum = 0
    for i = 1, activity.data.fields.rounds or 1 do sum = sum + (entry.data.values["round_" .. i] or 0) end
    return sum
  end,

  -- Equal points share a place; the next one is counted on: 1, 1, 3.
  rank = function(_, _, entries)
    table.sort(entries, function(a, b)
      if (a.data.score or 0) ~= (b.data.score or 0) then return (a.data.score or 0) > (b.data.score or 0) end
      return a.id < b.id
    end)
    local out = {}
    for i, entry in ipairs(entries) do
      local before = entries[i - 1]
      local place = before and (before.data.score or 0) == (entry.data.score or 0) and out[i - 1].place or i
      out[i] = { id = entry.id, place = place }
    end
    return out
  end,

  outcome = function(_, _, entries)
    local winners = {}
    for _, entry in ipairs(entries) do
      if (entry.data.place or 99) <= 3 then winners[#winners + 1] = { person = entry.data.person, place = entry.data.place } end
    end
    return { participants = #entries, winners = store.array(winners) }
  end,

  tests = {
    ["who was not there has no points, and does not stop the ranking"] = function(t)
      local decl = plugins.get("activity", "olympiad")
      local placed = decl.rank(t.ctx, {}, { { id = "x", data = {} }, { id = "y", data = { score = 3 } } })
      t:equal(placed[1].id, "y")
      t:equal(placed[2].place, 2)
    end,
  },
}
