-- Reading a table of people as their institution keeps it. `map` says where each field of a person comes from; `read` turns
-- rows into persons and measures, or into a reason why not, with the line number. Nothing here looks into the store, so that
-- a preview, an import and a test all read the same.
--
-- A field of the map is one of
--   {"column": "G1", "number": true, "scale": [0,20,0,5]}   a cell; as a number, moved from one scale to another
--   {"column": "sex", "values": {"F": "f", "M": "m"}}       a cell whose words are replaced
--   {"column": "born", "date": true}                        a cell with a date as people write it: 01.09.2006
--   {"column": "langs", "split": ","}                       a cell that holds a list ("number": true for a list of numbers)
--   {"template": "{school}-{line}"}                         cells put into a text; {line} is the line in the file
--   {"value": 2}                                            the same for all
--   {"capacity": {…}}                                       an object of such fields
local say = require "lib.say"

local roster = {}

local texts = {
  no_name = {
    en = "There is no name.", uz = "Ism yoʻq.", ["uz-Cyrl"] = "Исм йўқ.", ru = "Нет имени.",
  },
  no_key = {
    en = "There is nothing to tell this person by (the key is empty).",
    uz = "Bu kishini ajratib turadigan belgi yoʻq (kalit boʻsh).",
    ["uz-Cyrl"] = "Бу кишини ажратиб турадиган белги йўқ (калит бўш).",
    ru = "Нечем отличить этого человека (ключ пуст).",
  },
  twice = {
    en = "The same person is in line {detail} already.",
    uz = "Shu kishi {detail}-qatorda bor.",
    ["uz-Cyrl"] = "Шу киши {detail}-қаторда бор.",
    ru = "Этот человек уже есть в строке {detail}.",
  },
  not_a_number = {
    en = "Not a number: {detail}", uz = "Son emas: {detail}", ["uz-Cyrl"] = "Сон эмас: {detail}", ru = "Не число: {detail}",
  },
  not_a_date = {
    en = "Not a date: {detail}", uz = "Sana emas: {detail}", ["uz-Cyrl"] = "Сана эмас: {detail}", ru = "Не дата: {detail}",
  },
  unknown_value = {
    en = "The map does not say what this means: {detail}",
    uz = "Bu nimani bildirishi xaritada aytilmagan: {detail}",
    ["uz-Cyrl"] = "Бу нимани билдириши харитада айтилмаган: {detail}",
    ru = "В карте не сказано, что это значит: {detail}",
  },
  out_of_range = {
    en = "Outside of what is possible: {detail}",
    uz = "Mumkin boʻlgan chegaradan tashqarida: {detail}",
    ["uz-Cyrl"] = "Мумкин бўлган чегарадан ташқарида: {detail}",
    ru = "Вне возможных значений: {detail}",
  },
  short_row = {
    en = "The line has fewer cells than the first line.",
    uz = "Qatorda birinchi qatordagidan kam katak bor.",
    ["uz-Cyrl"] = "Қаторда биринчи қатордагидан кам катак бор.",
    ru = "В строке меньше ячеек, чем в первой.",
  },
}

local warnings = {
  absent = {
    en = "In {count} {count:line|lines}, {column} says that the person was absent: no measure was taken from there.",
    uz = "{count} ta qatorda {column} ustuni kishi qatnashmaganini bildiradi: u yerdan oʻlchov olinmadi.",
    ["uz-Cyrl"] = "{count} та қаторда {column} устуни киши қатнашмаганини билдиради: у ердан ўлчов олинмади.",
    ru = "В {count} {count:строке|строках|строках} {column} значит, что человека не было: показатель оттуда не взят.",
  },
  partial = {
    en = "The preview compares the first {count} lines; the import will read them all.",
    uz = "Oldindan koʻrishda dastlabki {count} ta qator solishtirildi; import hammasini oʻqiydi.",
    ["uz-Cyrl"] = "Олдиндан кўришда дастлабки {count} та қатор солиштирилди; импорт ҳаммасини ўқийди.",
    ru = "Для просмотра сравнены первые {count} {count:строка|строки|строк}; импорт прочтёт все.",
  },
}

function roster.skip(line, reason, detail)
  detail = detail and tostring(detail)
  return { line = line, reason = reason, detail = detail, text = say.fill(texts[reason], { detail = detail or "" }) }
end

function roster.warning(key, args)
  local line = say.line("roster." .. key, warnings[key], args)
  line.count = args.count
  return line
end

local function is_field(spec)
  return type(spec) == "table" and (spec.column ~= nil or spec.template ~= nil or spec.value ~= nil)
end

-- ---- what a map may say ---------------------------------------------------------------------------------------------------

-- Checks the map against the columns of the file. Gives a list of {path, message}: empty when all is well.
function roster.check(map, columns)
  local faults = {}
  local function fault(path, ...) faults[#faults + 1] = { path = path, message = string.format(...) } end

  local function field(path, spec)
    if type(spec) ~= "table" then
      fault(path, "must say where it comes from, such as {\"column\": \"name\"}")
    elseif is_field(spec) then
      if spec.column ~= nil and not columns[spec.column] then fault(path .. ".column", "there is no column '%s'", tostring(spec.column)) end
      if spec.template ~= nil then
        for name in tostring(spec.template):gmatch("{([^}]*)}") do
          if name ~= "line" and not columns[name] then fault(path .. ".template", "there is no column '%s'", name) end
        end
      end
      if spec.scale ~= nil and (type(spec.scale) ~= "table" or #spec.scale ~= 4 or spec.scale[1] == spec.scale[2]) then
        fault(path .. ".scale", "must be four numbers: from low, from high, to low, to high")
      end
    else
      if next(spec) == nil then fault(path, "is empty") end
      for name, inner in pairs(spec) do field(path .. "." .. tostring(name), inner) end
    end
  end

  if type(map.key) ~= "table" or not is_field(map.key) then
    fault("map.key", "must say how a person is told from others, such as {\"column\": \"id\"}")
  else
    field("map.key", map.key)
  end
  if map.person ~= nil and type(map.person) ~= "table" then
    fault("map.person", "must be an object of fields")
  else
    for name, spec in pairs(map.person or {}) do
      if roster.fields[name] then field("map.person." .. name, spec) else fault("map.person." .. tostring(name), "a person has no such field") end
    end
  end
  for name in pairs(map.where or {}) do
    if not columns[name] then fault("map.where", "there is no column '%s'", tostring(name)) end
  end
  for i, m in ipairs(map.measures or {}) do
    local path = "map.measures[" .. i .. "]"
    if type(m) ~= "table" or type(m.name) ~= "string" or type(m.moment) ~= "string" or type(m.column) ~= "string" then
      fault(path, "needs name, moment and column")
    elseif not columns[m.column] then
      fault(path .. ".column", "there is no column '%s'", m.column)
    end
  end
  return faults
end

-- ---- one cell -------------------------------------------------------------------------------------------------------------

local function to_number(cell)
  local n = tonumber((cell:gsub(",", ".")))
  if n and n == math.floor(n) and math.abs(n) < 2 ^ 53 then return math.tointeger(n) end
  return n
end

local function rescale(n, scale)
  local from_low, from_high, low, high = scale[1], scale[2], scale[3], scale[4]
  local out = low + (n - from_low) * (high - low) / (from_high - from_low)
  return math.floor(out * 100 + 0.5) / 100
end

-- value | nil (empty) | nil, reason, detail
local function one(spec, cell)
  if spec.values then
    local value = spec.values[cell]
    if value == nil then return nil, "unknown_value", cell end
    return value
  end
  if spec.date then
    local day = text.match_date(cell)
    if not day then return nil, "not_a_date", cell end
    return day
  end
  if spec.number or spec.scale then
    local n = to_number(cell)
    if not n then return nil, "not_a_number", cell end
    if spec.scale then n = rescale(n, spec.scale) end
    return n
  end
  return cell
end

local function resolve(spec, row)
  if spec.value ~= nil then return spec.value end
  if spec.template then
    local filled = spec.template:gsub("{([^}]*)}", function(name)
      if name == "line" then return tostring(row.line) end
      return row.cells[row.columns[name]] or ""
    end)
    filled = text.trim(filled)
    if filled == "" then return nil end
    return filled
  end
  if spec.column then
    local cell = text.trim(row.cells[row.columns[spec.column]] or "")
    if cell == "" then return nil end
    if not spec.split then return one(spec, cell) end
    local list = {}
    for _, part in ipairs(text.split(cell, spec.split)) do
      part = text.trim(part)
      if part ~= "" then
        local value, reason, detail = one(spec, part)
        if reason then return nil, reason, detail end
        list[#list + 1] = value
      end
    end
    if #list == 0 then return nil end
    return list
  end
  local object = {}
  for name, inner in pairs(spec) do
    local value, reason, detail = resolve(inner, row)
    if reason then return nil, reason, detail end
    object[name] = value
  end
  if next(object) == nil then return nil end
  return object
end

-- ---- what a person may be -------------------------------------------------------------------------------------------------

local function whole(low, high)
  return function(v) return math.type(v) == "integer" and v >= low and v <= high end
end
local function between(low, high)
  return function(v) return type(v) == "number" and v >= low and v <= high end
end
local function words(most)
  return function(v) return type(v) == "string" and #v <= most end
end
local function any_of(...)
  local allowed = {}
  for _, v in ipairs { ... } do allowed[v] = true end
  return function(v) return allowed[v] == true end
end
local function list_of(check)
  return function(v)
    if type(v) ~= "table" or #v > 168 then return false end
    for _, item in ipairs(v) do
      if not check(item) then return false end
    end
    return true
  end
end

-- The same bounds as services/person.lua declares; checked here, too, so that one bad line does not spoil the whole import.
roster.fields = {
  name = words(200), kind = any_of("student", "staff"), year = whole(1, 8), group = words(60), faculty = words(120),
  gender = any_of("f", "m"), gpa = between(0, 5),
  birth_date = function(v) return type(v) == "string" and text.match_date(v) == v end,
  languages = list_of(words(60)), interests = list_of(words(60)), strengths = list_of(words(60)), needs = list_of(words(60)),
  availability = list_of(whole(0, 167)), gender_preference = any_of("same", "any"), waited_terms = whole(0, 20),
  status = any_of("active", "left"), special = words(200),
  mentoring = function(v)
    return type(v) == "table" and (v.capacity == nil or whole(0, 20)(v.capacity))
      and (v.status == nil or v.status == "active" or v.status == "off")
  end,
}

local function shown(value)
  if type(value) == "table" then return table.concat(value, ", ") end
  return tostring(value)
end

-- ---- rows -----------------------------------------------------------------------------------------------------------------

local function read_person(map, row)
  local person = {}
  for name, spec in pairs(map.person or {}) do
    local value, reason, detail = resolve(spec, row)
    if reason then return nil, reason, (spec.column and spec.column .. " = " or "") .. tostring(detail) end
    if value ~= nil then
      if not roster.fields[name](value) then return nil, "out_of_range", name .. " = " .. shown(value) end
      person[name] = value
    end
  end
  return person
end

local function read_measures(map, row, absent)
  local out = {}
  for i, m in ipairs(map.measures or {}) do
    local cell = text.trim(row.cells[row.columns[m.column]] or "")
    if cell ~= "" then
      local n = to_number(cell)
      if not n then return nil, "not_a_number", m.column .. " = " .. cell end
      local away = false
      for _, value in ipairs(m.absent or {}) do away = away or value == n end
      if away then
        absent[i] = (absent[i] or 0) + 1
      elseif n < (m.min or 0) or m.max and n > m.max then
        return nil, "out_of_range", m.column .. " = " .. cell
      else
        out[#out + 1] = { name = m.name, moment = m.moment, value = n, max = m.max, programme = m.programme }
      end
    end
  end
  return out
end

local function wanted(map, row)
  for name, value in pairs(map.where or {}) do
    if text.trim(row.cells[row.columns[name]] or "") ~= tostring(value) then return false end
  end
  return true
end

-- csv: the text of the file. most: so many lines are read, more are only counted. Gives {columns (list), items = {{line, key, person, measures}…}, skipped, warnings, total, outside},
-- or nil and the faults of the map. total counts the lines that the map asks for.
function roster.read(csv, map, most)
  local parsed = text.csv(csv, { separator = map.separator })
  local header = parsed.rows[1]
  if not header then return nil, { { path = "csv", message = "the file is empty" } } end
  local columns, names = {}, {}
  for i, name in ipairs(header.cells) do
    names[i] = text.trim(name)
    if not columns[names[i]] then columns[names[i]] = i end
  end
  local faults = roster.check(map, columns)
  if #faults > 0 then return nil, faults end

  local out = { columns = names, items = {}, skipped = {}, warnings = {}, total = 0, outside = 0 }
  local first_line, absent = {}, {}
  local function skip(line, reason, detail) out.skipped[#out.skipped + 1] = roster.skip(line, reason, detail) end

  local function take(row)
    if #row.cells < #names then return skip(row.line, "short_row") end
    local key, reason, detail = resolve(map.key, row)
    if reason then return skip(row.line, reason, detail) end
    if key == nil then return skip(row.line, "no_key") end
    key = tostring(key)
    if first_line[key] then return skip(row.line, "twice", first_line[key]) end
    local person, measures
    person, reason, detail = read_person(map, row)
    if not person then return skip(row.line, reason, detail) end
    measures, reason, detail = read_measures(map, row, absent)
    if not measures then return skip(row.line, reason, detail) end
    if map.person and map.person.name and not person.name then return skip(row.line, "no_name") end
    first_line[key] = row.line
    person.external_id = key
    out.items[#out.items + 1] = { line = row.line, key = key, person = person, measures = measures }
  end

  for i = 2, #parsed.rows do
    local row = parsed.rows[i]
    row.columns = columns
    if not wanted(map, row) then
      out.outside = out.outside + 1
    else
      out.total = out.total + 1
      if not most or out.total <= most then take(row) end
    end
  end
  for i, m in ipairs(map.measures or {}) do
    if absent[i] then out.warnings[#out.warnings + 1] = roster.warning("absent", { count = absent[i], column = m.column }) end
  end
  return out
end

-- The fields of `wanted` that `have` does not hold already, or nil. `initial`: fields that are for new persons only.
function roster.difference(have, wanted_fields, initial)
  local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for k, v in pairs(b) do
      if not same(a[k], v) then return false end
    end
    return #a == #b
  end
  local changed
  for name, value in pairs(wanted_fields) do
    if not initial[name] and not same(have[name], value) then
      changed = changed or {}
      changed[name] = value
    end
  end
  return changed
end

return roster
