-- questionnaire{ id, title, source, items, pages, scales, bands, alert, result }. Items: likert{ "q1", {en = …}, scale = agree5, key =
-- "study", reverse = true }, choice_item, yes_no, number_item, text_item. Scales: mean{ min_answered = 0.8 }, sum{ … }. Scoring itself is
-- lib/scoring.lua.
local check = require "lib.declare"

local function four(en, uz, cyrl, ru) return { en = en, uz = uz, ["uz-Cyrl"] = cyrl, ru = ru } end
local function scale_of(first, texts)
  local out = { min = first, max = first + #texts - 1, options = {} }
  for i, text in ipairs(texts) do out.options[i] = { value = first + i - 1, text = text } end
  return out
end

local agree5 = scale_of(1, {
  four("strongly disagree", "mutlaqo qoʻshilmayman", "мутлақо қўшилмайман", "совершенно не согласен (не согласна)"),
  four("disagree", "qoʻshilmayman", "қўшилмайман", "не согласен (не согласна)"),
  four("neither agree nor disagree", "bir narsa deyishim qiyin", "бир нарса дейишим қийин", "трудно сказать"),
  four("agree", "qoʻshilaman", "қўшиламан", "согласен (согласна)"),
  four("strongly agree", "toʻliq qoʻshilaman", "тўлиқ қўшиламан", "полностью согласен (согласна)"),
})
local difficulty5 = scale_of(1, {
  four("not difficult at all", "umuman qiyin emas", "умуман қийин эмас", "совсем не трудно"),
  four("a little difficult", "biroz qiyin", "бироз қийин", "немного трудно"),
  four("fairly difficult", "oʻrtacha qiyin", "ўртача қийин", "умеренно трудно"),
  four("very difficult", "juda qiyin", "жуда қийин", "очень трудно"),
  four("extremely difficult", "haddan tashqari qiyin", "ҳаддан ташқари қийин", "чрезвычайно трудно"),
})
local accuracy5 = scale_of(1, {
  four("very inaccurate", "mutlaqo toʻgʻri kelmaydi", "мутлақо тўғри келмайди", "совсем не похоже на меня"),
  four("moderately inaccurate", "koʻproq toʻgʻri kelmaydi", "кўпроқ тўғри келмайди", "скорее не похоже на меня"),
  four("neither accurate nor inaccurate", "bir narsa deyishim qiyin", "бир нарса дейишим қийин", "трудно сказать"),
  four("moderately accurate", "koʻproq toʻgʻri keladi", "кўпроқ тўғри келади", "скорее похоже на меня"),
  four("very accurate", "juda toʻgʻri keladi", "жуда тўғри келади", "очень похоже на меня"),
})
local frequency4 = scale_of(0, {
  four("not at all", "umuman yoʻq", "умуман йўқ", "ни разу"),
  four("several days", "bir necha kun", "бир неча кун", "несколько дней"),
  four("more than half the days", "kunlarning yarmidan koʻpida", "кунларнинг ярмидан кўпида", "более половины дней"),
  four("nearly every day", "deyarli har kuni", "деярли ҳар куни", "почти каждый день"),
})
local yes, no = four("yes", "ha", "ҳа", "да"), four("no", "yoʻq", "йўқ", "нет")

return function()
  local fault, note, part = check.fault, check.note, check.part

  local function item(kind, given, options)
    if type(given) ~= "table" then fault(kind, "takes a table") end
    local out = { type = kind, id = given[1] or given.id, text = given[2] or given.text }
    local known = { id = true, text = true, key = true, required = true, note = true, type = true }
    for name in pairs(options) do known[name] = true end
    for name, v in pairs(given) do
      if math.type(name) ~= "integer" then
        if not known[name] then fault(tostring(out.id) .. "." .. tostring(name), "is not known here") end
        out[name] = v
      elseif name > 2 then
        fault(tostring(out.id), "an item has an id and a text; everything else has a name")
      end
    end
    if type(out.id) ~= "string" or not out.id:match("^[A-Za-z][A-Za-z0-9_]*$") then fault(kind, "the first value must be the item's id") end
    check.translated(out.id .. ".text", out.text, true)
    if out.key ~= nil and type(out.key) ~= "string" then fault(out.id .. ".key", "must name a scale") end
    return out
  end

  -- Options as {value, text} with numbers; a list of texts counts up from min.
  local function scale(path, given)
    if type(given) ~= "table" then fault(path, "must be a scale such as agree5") end
    local out = { min = given.min, max = given.max, options = {} }
    for i, option in ipairs(given.options or {}) do
      local whole = type(option) == "table" and option.text ~= nil
      local value = whole and option.value or nil
      if value == nil then value = (given.min or 1) + i - 1 end
      local text = whole and option.text or option
      check.translated(path .. ".options[" .. i .. "]", text, true)
      if type(value) ~= "number" then fault(path .. ".options[" .. i .. "].value", "must be a number") end
      out.options[i] = { value = value, text = text }
      out.min, out.max = math.min(out.min or value, value), math.max(out.max or value, value)
    end
    if type(out.min) ~= "number" or type(out.max) ~= "number" or out.min >= out.max then fault(path, "needs min and max, or options") end
    return out
  end

  local function likert(given)
    local out = item("likert", given, { scale = true, reverse = true })
    out.scale = scale(out.id .. ".scale", out.scale)
    if out.reverse ~= nil and type(out.reverse) ~= "boolean" then fault(out.id .. ".reverse", "must be true or false") end
    out.reverse = out.reverse or nil
    return out
  end

  -- options = { {"a", text, score = 1}, … }
  local function choice_item(given)
    local out = item("choice", given, { options = true, many = true })
    local options, seen = {}, {}
    if type(out.options) ~= "table" or #out.options < 2 then fault(out.id .. ".options", "must be a list of at least two") end
    for i, option in ipairs(out.options) do
      local path = out.id .. ".options[" .. i .. "]"
      if type(option) ~= "table" then fault(path, "must be { value, text }") end
      local value, text = option.value, option.text
      if value == nil then value, text = option[1], option[2] end
      if type(value) ~= "string" and type(value) ~= "number" or seen[value] then fault(path, "needs a value of its own") end
      seen[value] = true
      check.translated(path .. ".text", text, true)
      options[i] = { value = value, text = text, score = option.score }
    end
    out.options = options
    return out
  end

  local function yes_no(given)
    local out = item("choice", given, { reverse = true, options = true })
    local yes_score = out.reverse and 0 or 1
    out.reverse = nil
    out.options = { { value = "yes", text = yes, score = yes_score }, { value = "no", text = no, score = 1 - yes_score } }
    return out
  end

  local function number_item(given)
    local out = item("number", given, { min = true, max = true, whole = true, unit = true })
    if out.min ~= nil and type(out.min) ~= "number" then fault(out.id .. ".min", "must be a number") end
    if out.max ~= nil and type(out.max) ~= "number" then fault(out.id .. ".max", "must be a number") end
    return out
  end

  local function text_item(given)
    local out = item("text", given, { max = true, lines = true })
    out.max = check.whole(out.id .. ".max", out.max or 2000, 1, 20000)
    return out
  end

  local function scoring(method)
    return function(given)
      given = given or {}
      check.names(method, given, { "min_answered", "title", "method", "note" })
      local f = given.min_answered or 0.8
      if type(f) ~= "number" or f <= 0 or f > 1 then fault(method .. ".min_answered", "must be a part of 1, such as 0.8") end
      return { method = method, min_answered = f, title = given.title, note = given.note }
    end
  end

  -- items may come as declared by the constructors above only, so that they have been checked.
  local function check_items(decl)
    local by_id = {}
    if type(decl.items) ~= "table" or #decl.items == 0 then fault("items", "must be a list of items") end
    for i, it in ipairs(decl.items) do
      if type(it) ~= "table" or not it.type or not it.id then
        note("items[" .. i .. "]", "must be made by likert{…} or another item")
      else
        if by_id[it.id] then note("items[" .. i .. "]", "the id '" .. it.id .. "' comes twice") end
        if it.key and not (decl.scales or {})[it.key] then note("items." .. it.id .. ".key", "there is no scale '" .. it.key .. "'") end
        by_id[it.id] = it
      end
    end
    return by_id
  end

  local function check_pages(decl, by_id)
    if decl.pages == nil then return end
    local on_page = {}
    for i, page in ipairs(check.is_table("pages", decl.pages)) do
      for _, id in ipairs(check.is_table("pages[" .. i .. "]", page)) do
        if not by_id[id] then note("pages[" .. i .. "]", "there is no item '" .. tostring(id) .. "'") end
        if on_page[id] then note("pages[" .. i .. "]", "'" .. id .. "' comes twice") end
        on_page[id] = true
      end
    end
    for id in pairs(by_id) do
      if not on_page[id] then note("pages", "the item '" .. id .. "' is on no page") end
    end
  end

  local function check_scales(decl)
    local used = {}
    for _, it in ipairs(decl.items) do
      if type(it) == "table" then used[it.key or ""] = true end
    end
    for key, one in pairs(check.map("scales", decl.scales)) do
      if type(one) ~= "table" or not one.method then note("scales." .. tostring(key), "must be mean{…} or sum{…}") end
      if not used[key] then note("scales." .. tostring(key), "no item has this key") end
    end
    for key, list in pairs(check.map("bands", decl.bands)) do
      if not (decl.scales or {})[key] then note("bands." .. tostring(key), "there is no such scale") end
      local last
      for i, band in ipairs(check.is_table("bands." .. key, list)) do
        local path = "bands." .. key .. "[" .. i .. "]"
        check.is_table(path, band)
        check.names(path, band, { 1, "below", "title", "needs", "text" })
        if type(band[1]) ~= "string" then note(path, "needs a name") end
        if band.below == nil and i < #list then note(path, "below is missing; only the last band goes without") end
        if band.below ~= nil and type(band.below) ~= "number" then note(path .. ".below", "must be a number") end
        if last and band.below and band.below <= last then note(path .. ".below", "must grow") end
        last = band.below
      end
    end
  end

  local function questionnaire(decl)
    check.declaration(decl, "questionnaire", { "source", "sensitive", "audience", "minutes", "intro", "stem", "items", "pages", "show_if",
      "scales", "bands", "alert", "result", "active" })
    if type(decl.source) ~= "string" or decl.source == "" then note("source", "must say where the instrument is from, and its licence") end
    part(check.translated, "intro", decl.intro)
    part(check.translated, "stem", decl.stem)
    for i, who in ipairs(check.map("audience", decl.audience)) do
      if who ~= "self" and not tostring(who):match("^role:%l+$") then
        note("audience[" .. i .. "]", "must be \"self\" or a role such as \"role:psychologist\"")
      end
    end
    local by_id = part(check_items, decl)
    if not by_id then return end -- everything else is about them
    part(check_pages, decl, by_id)
    part(check_scales, decl)
    for id, fn in pairs(check.map("show_if", decl.show_if)) do
      if not by_id[id] then note("show_if." .. tostring(id), "there is no such item") end
      if type(fn) ~= "function" then note("show_if." .. tostring(id), "must be a function(answers)") end
    end
    for _, name in ipairs { "alert", "result" } do
      if decl[name] ~= nil and type(decl[name]) ~= "function" then note(name, "must be a function") end
    end
    return decl
  end

  -- tests = { scored{ answers = {…}, gives = { study = 3.4 } } }
  local function scored(given)
    check.names("scored", given, { "answers", "gives", "bands" })
    return function(t)
      local score = require("lib.scoring").score(t.plugin, given.answers)
      for key, value in pairs(given.gives or {}) do t:equal(score.scores[key], value, key) end
      for key, band in pairs(given.bands or {}) do t:equal(score.bands[key], band, key) end
    end
  end

  return {
    questionnaire = check.whole_of(questionnaire), likert = likert, choice_item = choice_item, yes_no = yes_no, number_item = number_item,
    text_item = text_item, mean = scoring "mean", sum = scoring "sum", scored = scored,
    agree5 = agree5, difficulty5 = difficulty5, accuracy5 = accuracy5, frequency4 = frequency4,
  }
end
