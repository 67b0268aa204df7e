-- Volunteering: work that helps somebody, with hours that the organiser confirms.
local function hours(entry)
  local values = entry.data.values or {}
  return values.confirmed and values.hours or 0
end

return activity {
  id = "volunteering",
  title = { en = "Volunteering", uz = "Koʻngillilik", ["uz-Cyrl"] = "Кўнгиллилик", ru = "Волонтёрство" },
  icon = "hands",
  fields = {
    task = text { required = true, max = 300 },
    for_whom = text { max = 200 },
    hours_planned = number { min = 0.5, max = 500 },
  },
  stages = { "announced", "work", "confirmed" },
  stage_titles = {
    announced = { en = "Announced", uz = "Eʼlon qilingan", ["uz-Cyrl"] = "Эълон қилинган", ru = "Объявлено" },
    work = { en = "Under way", uz = "Davom etmoqda", ["uz-Cyrl"] = "Давом этмоқда", ru = "Идёт" },
    confirmed = { en = "Hours confirmed", uz = "Soatlar tasdiqlangan", ["uz-Cyrl"] = "Соатлар тасдиқланган", ru = "Часы подтверждены" },
  },
  roles = { participant = {}, organiser = { sees = "all" } },

  score = function(_, _, entry) return hours(entry) end,

  outcome = function(_, _, entries)
    local total, helped = 0, 0
    for _, entry in ipairs(entries) do
      total = total + hours(entry)
      if hours(entry) > 0 then helped = helped + 1 end
    end
    return { hours = total, helped = helped }
  end,

  tests = {
    ["hours that nobody confirmed do not count"] = function(t)
      local outcome = plugins.get("activity", "volunteering").outcome(t.ctx, {}, {
        { data = { values = { hours = 4, confirmed = true } } }, { data = { values = { hours = 8 } } },
      })
      t:equal(outcome.hours, 4)
      t:equal(outcome.helped, 1)
    end,
  },
}
