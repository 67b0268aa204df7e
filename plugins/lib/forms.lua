-- Questionnaires as occasions (who is asked what, and until when), as data for a client, and the check of answers.
local clocks = require "lib.clocks"

local forms = {}

forms.thanks = {
  en = "Thank you for your answers.",
  uz = "Javoblaringiz uchun rahmat.",
  ["uz-Cyrl"] = "Жавобларингиз учун раҳмат.",
  ru = "Спасибо за ответы.",
}

-- When an occasion of a programme is open: {opens, closes}. "after" opens in the last weeks, anything else with the programme, and
-- closes half-way, so that "before" really is before.
function forms.window(programme, occasion)
  local starts, ends = programme.data.starts, programme.data.ends
  if occasion.moment == "after" then return occasion.opens or math.max(starts, ends - clocks.closing), ends end
  local opens = occasion.opens or starts
  return opens, occasion.opens and math.min(ends, opens + clocks.closing) or starts + (ends - starts) // 2
end

-- What waits for this person: {{questionnaire, programme, moment, due}…}, what closes first in front.
function forms.due(store, id, now)
  local person = store.get("person", id)
  local out = {}
  if not person or person.data.kind ~= "student" or person.data.status == "left" then return out end
  for programme in store.each("programme", { index = "by_state", equals = { "active" } }) do
    for _, occasion in ipairs(programme.data.questionnaires or {}) do
      local opens, closes = forms.window(programme, occasion)
      if now >= opens and now < closes and plugins.get("questionnaire", occasion.id) then
        local answered = store.get("questionnaire_result", id .. ":" .. occasion.id .. ":" .. programme.id .. ":" .. occasion.moment)
        if not answered then
          out[#out + 1] = { questionnaire = occasion.id, programme = programme.id, moment = occasion.moment, due = closes }
        end
      end
    end
  end
  table.sort(out, function(a, b)
    if a.due ~= b.due then return a.due < b.due end
    return a.questionnaire < b.questionnaire
  end)
  return out
end

local function fits(item, answer)
  if item.type == "likert" then
    return math.type(answer) == "integer" and answer >= item.scale.min and answer <= item.scale.max
  elseif item.type == "choice" then
    for _, option in ipairs(item.options) do
      if option.value == answer then return true end
    end
    return false
  elseif item.type == "number" then
    return type(answer) == "number" and (not item.min or answer >= item.min) and (not item.max or answer <= item.max)
  end
  return type(answer) == "string" and #answer <= 4 * (item.max or 2000)
end

-- {{path, message}…}: empty when every answer is one that the item offers. What is absent was passed over.
function forms.check(form, answers)
  local faults, known = {}, {}
  for _, item in ipairs(form.items) do
    known[item.id] = item
    local answer = answers[item.id]
    if answer ~= nil and not fits(item, answer) then
      faults[#faults + 1] = { path = "answers." .. item.id, message = "is not one of the answers that are offered" }
    end
  end
  for id in pairs(answers) do
    if not known[id] then faults[#faults + 1] = { path = "answers." .. tostring(id), message = "there is no such item" } end
  end
  return faults
end

-- The declaration as a client needs it: no functions, every item with its options.
function forms.data(form, array)
  local items, pages = {}, {}
  for i, item in ipairs(form.items) do
    local scale = item.scale or {}
    items[i] = { id = item.id, type = item.type, text = item.text, note = item.note, key = item.key, reverse = item.reverse or false,
      required = item.required or false, min = scale.min or item.min, max = scale.max or item.max, many = item.many,
      whole = item.whole, unit = item.unit, lines = item.lines, scale = item.scale,
      options = array(scale.options or item.options or {}) }
  end
  if form.pages then
    for i, page in ipairs(form.pages) do pages[i] = array(page) end
  else
    for i, item in ipairs(form.items) do
      if i % 5 == 1 then pages[#pages + 1] = {} end
      table.insert(pages[#pages], item.id)
    end
  end
  local scales = {}
  for key, scale in pairs(form.scales or {}) do scales[key] = { method = scale.method, title = scale.title } end
  return { id = form.id, title = form.title, intro = form.intro, stem = form.stem, source = form.source, minutes = form.minutes,
    sensitive = form.sensitive or false, version = form.version, items = array(items), pages = array(pages), scales = scales }
end

return forms
