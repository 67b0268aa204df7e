-- Sentences in all four languages. A sentence is a table {en=, uz=, ["uz-Cyrl"]=, ru=}; `fill` puts arguments into it.
--
--   {name}                    an argument; a table {en=, uz=, …} gives each language its own
--   {days:day|days}           the word that fits the number: two forms in English, three in Russian, one in Uzbek
--
-- Numbers that are not whole are written with one decimal, with a comma where the language wants one.
local say = {}

say.languages = { "en", "uz", "uz-Cyrl", "ru" }

local function number(n, language, digits)
  if math.type(n) == "integer" or (n == math.floor(n) and not digits) then
    return string.format("%d", n)
  end
  local s = string.format("%." .. (digits or 1) .. "f", n)
  if language ~= "en" then s = s:gsub("%.", ",") end
  return s
end

-- A number as one writes it in every language, with so many decimals.
function say.decimal(n, digits)
  local out = {}
  for _, language in ipairs(say.languages) do
    out[language] = number(n + 0.0, language, digits or 1)
  end
  return out
end

local function form(n, language, forms)
  local list = {}
  for word in (forms .. "|"):gmatch("([^|]*)|") do list[#list + 1] = word end
  n = math.abs(n)
  if language == "ru" and #list == 3 then
    local ten, hundred = n % 10, n % 100
    if n ~= math.floor(n) then return list[2] end
    if ten == 1 and hundred ~= 11 then return list[1] end
    if ten >= 2 and ten <= 4 and (hundred < 12 or hundred > 14) then return list[2] end
    return list[3]
  end
  if n == 1 or #list == 1 then return list[1] end
  return list[#list]
end

local function shown(value, language)
  if type(value) == "number" then return number(value, language) end
  if type(value) == "table" then return tostring(value[language] or value.en or "") end
  return tostring(value)
end

function say.fill(sentence, args)
  args = args or {}
  local out = {}
  for _, language in ipairs(say.languages) do
    local pattern = sentence[language] or sentence.en
    if pattern then
      out[language] = pattern:gsub("{([%w_]+):?([^}]*)}", function(name, forms)
        local value = args[name]
        if value == nil then return "" end
        if forms ~= "" then return form(value, language, forms) end
        return shown(value, language)
      end)
    end
  end
  return out
end

-- "a, b and c" in every language; items are texts or translated tables.
local last = { en = " and ", uz = " va ", ["uz-Cyrl"] = " ва ", ru = " и " }
function say.list(items, most)
  local out = {}
  for _, language in ipairs(say.languages) do
    local parts = {}
    for i = 1, math.min(#items, most or #items) do parts[i] = shown(items[i], language) end
    local n = #parts
    if n > 1 then
      out[language] = table.concat(parts, ", ", 1, n - 1) .. last[language] .. parts[n]
    else
      out[language] = parts[1] or ""
    end
  end
  return out
end

-- {key=, args=, text=}: what a client shows, and what a program may tell apart.
function say.line(key, sentence, args)
  return { key = key, args = args or {}, text = say.fill(sentence, args) }
end

return say
