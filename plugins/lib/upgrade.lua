-- Records of a type that has changed: how a declaration says it (records.NAME.version and .upgrade), and how old data is
-- brought into the new form. What a step does not say stays as it is; what no longer fits is the host's to find.
local check = require "lib.declare"
local fault = check.fault

local upgrade = {}

local function step(path, declared, record)
  if type(declared) == "function" then return end
  if type(declared) ~= "table" then fault(path, "must be a function(data), or a table with rename, set, drop") end
  check.names(path, declared, { "rename", "set", "drop" })
  local sealed = {}
  for _, field in ipairs(record.sealed or {}) do sealed[field] = true end
  for old, new in pairs(check.map(path .. ".rename", declared.rename)) do
    if type(old) ~= "string" or type(new) ~= "string" then fault(path .. ".rename", "must say { old = \"new\" }") end
    if sealed[new] then fault(path .. ".rename." .. old, "'" .. new .. "' is sealed: what is sealed under one name does not open under another") end
  end
  for field in pairs(check.map(path .. ".set", declared.set)) do
    if type(field) ~= "string" then fault(path .. ".set", "must say { field = value }") end
    if sealed[field] then fault(path .. ".set." .. field, "is sealed: give it its value in a method") end
  end
  for i, field in ipairs(check.map(path .. ".drop", declared.drop)) do
    if type(field) ~= "string" then fault(path .. ".drop[" .. i .. "]", "must be the name of a field") end
  end
end

-- record: the declaration, whose fields are known already.
function upgrade.check(path, record)
  record.version = record.version or 1
  check.whole(path .. ".version", record.version, 1, 10000)
  for version, declared in pairs(check.map(path .. ".upgrade", record.upgrade)) do
    if math.type(version) ~= "integer" or version < 2 or version > record.version then
      fault(path .. ".upgrade." .. tostring(version), "must be the version it leads to, from 2 to " .. record.version)
    end
    step(path .. ".upgrade." .. version, declared, record)
  end
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = copy(v) end
  return out
end

local function run_table(declared, data, lost)
  -- All at once, so that two fields may change names with each other.
  local moved = {}
  for old, new in pairs(declared.rename or {}) do
    if data[old] ~= nil then moved[new] = data[old] end
  end
  for old in pairs(declared.rename or {}) do data[old] = nil end
  for new, value in pairs(moved) do data[new] = value end
  for field, value in pairs(declared.set or {}) do
    if data[field] == nil then data[field] = copy(value) end
  end
  for _, field in ipairs(declared.drop or {}) do
    if data[field] ~= nil then lost[field] = data[field] end
    data[field] = nil
  end
end

-- The data of a record that was written by an older version, in the form of this one; and whether anything ran. `lost` gets
-- what steps drop.
function upgrade.run(record, version, data, lost)
  local ran = false
  for to = version + 1, record.version do
    local declared = record.upgrade and record.upgrade[to]
    if type(declared) == "function" then
      data = declared(data)
      if type(data) ~= "table" then error("upgrade[" .. to .. "] must return the data", 0) end
    elseif declared then
      run_table(declared, data, lost)
    end
    ran = ran or declared ~= nil
  end
  return data, ran
end

-- Takes away what stands at a path such as "slots[0].day"; false when there is nothing.
function upgrade.remove(data, path)
  local at, holder, last = data, nil, nil
  for name, index in path:gmatch("([^%.%[%]]+)(%]?)") do
    if type(at) ~= "table" then return false end
    holder, last = at, index == "]" and math.tointeger(tonumber(name)) + 1 or name
    at = at[last]
  end
  if holder == nil or at == nil then return false end
  if math.type(last) == "integer" then table.remove(holder, last) else holder[last] = nil end
  return true
end

return upgrade
