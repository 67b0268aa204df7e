-- Shapes of data, for all kinds of plugins: text{}, integer{}, list{ of = text{} }, … A shape is a table {schema = "text", …}, which
-- the host checks values against and shows as JSON Schema. Options of every shape: required, default, title, description.

local common = { required = "boolean", default = "any", title = "any", description = "string" }
local options = {
  text = { min = "number", max = "number", max_length = "number" }, -- in characters
  integer = { min = "number", max = "number" },
  number = { min = "number", max = "number" },
  boolean = {},
  choice = { values = "table" },
  list = { of = "table", min = "number", max = "number" },
  object = { fields = "table", open = "boolean" },
  map = { of = "table", max = "number" },
  date = {},                                      -- "2026-09-01"
  time = { min = "number", max = "number" },      -- whole milliseconds since 1970 UTC
  ref = { to = "string" },                        -- id of a record
  any = {},
  translated = { max = "number", max_length = "number" }, -- text, or texts by language
}

local function is_shape(v) return type(v) == "table" and rawget(v, "schema") ~= nil end

return function()
  local made = {}

  -- A bare constructor ("name = text") stands for itself without options.
  local function shape_of(v, path)
    if is_shape(v) then return v end
    if type(v) == "function" or type(v) == "table" and getmetatable(v) == false then
      local ok, out = pcall(v, {})
      if ok and is_shape(out) then return out end
    end
    error(path .. ": must be a shape such as text{} or integer{ min = 1 }", 0)
  end

  -- A table of named shapes, checked; always a fresh one.
  local function fields_of(fields, path)
    if type(fields) ~= "table" then error(path .. ": must be a table of shapes by name", 0) end
    local out = {}
    for name, v in pairs(fields) do
      if type(name) ~= "string" then error(path .. ": every shape needs a name", 0) end
      out[name] = shape_of(v, path .. "." .. name)
    end
    return out
  end

  local function all_shapes(t)
    for name, v in pairs(t) do
      if type(name) ~= "string" or not (is_shape(v) or type(v) == "function") then return false end
    end
    return next(t) ~= nil
  end

  -- What people write in short: ref "person", list(text{}), choice{ "a", "b" }, object{ name = text{} }.
  local function spelled_out(kind, given)
    if given == nil then return {} end
    if type(given) == "string" and kind == "ref" then return { to = given } end
    if type(given) ~= "table" then error(kind .. ": takes a table of options", 0) end
    if (kind == "list" or kind == "map") and is_shape(given) then return { of = given } end
    if kind == "choice" and given.values == nil and given[1] ~= nil then
      local out, values = {}, {}
      for name, v in pairs(given) do
        if math.type(name) == "integer" then values[name] = v else out[name] = v end
      end
      out.values = values
      return out
    end
    if kind == "object" and given.fields == nil and all_shapes(given) then return { fields = given } end
    return given
  end

  local make
  local meta = { __metatable = false, __call = function(self, more) return make(self.schema, more, self) end }

  function make(kind, given, base)
    local out = { schema = kind }
    for name, v in pairs(base or {}) do out[name] = v end
    for name, v in pairs(spelled_out(kind, given)) do
      local want = options[kind][name] or common[name]
      if not want then
        if name ~= "schema" then error(kind .. ": the option '" .. tostring(name) .. "' is not known", 0) end
      elseif want ~= "any" and type(v) ~= want and not (want == "table" and type(v) == "function") then
        error(kind .. ": " .. name .. " must be a " .. want, 0)
      else
        out[name] = v
      end
    end
    if out.of ~= nil then out.of = shape_of(out.of, kind .. ".of") end
    if kind == "object" and out.fields then out.fields = fields_of(out.fields, "object") end
    if kind == "choice" and (type(out.values) ~= "table" or #out.values == 0) then error("choice: needs values", 0) end
    return setmetatable(out, meta)
  end

  for kind in pairs(options) do
    made[kind] = function(given) return make(kind, given) end
  end
  made._fields = fields_of
  made._shape = shape_of
  return made
end
