-- service{ id, title, records, methods, on, every, tests }: record types with their fields and indexes, methods, reactions.
-- Declarations are checked here as far as they are data; what is wrong is told as "methods.pair.end.access: …".
local check = require "lib.declare"
local upgrade = require "lib.upgrade"

return function(host)
  local schema = host.schema
  local fault, note, part = check.fault, check.note, check.part

  local function index(path, declared, record)
    check.names(path, declared, { "fields", "unique", "multi" })
    if type(declared.fields) ~= "table" or #declared.fields == 0 then fault(path .. ".fields", "must be a list of fields") end
    if declared.multi and #declared.fields ~= 1 then fault(path .. ".fields", "must be one field when multi is set") end
    for i, field in ipairs(declared.fields) do
      if type(field) ~= "string" then fault(path .. ".fields[" .. i .. "]", "must be the name of a field") end
      local first = field:match("^[^.]+")
      if not field:match("^@") and record.fields and not record.fields[first] then
        fault(path .. ".fields[" .. i .. "]", "the record has no field '" .. field .. "'")
      end
      for _, sealed in ipairs(record.sealed or {}) do
        if first == sealed then fault(path .. ".fields[" .. i .. "]", "a sealed field cannot be in an index") end
      end
    end
  end

  local function record(path, name, declared)
    check.is_table(path, declared)
    part(check.name, path, name)
    check.names(path, declared, { "title", "version", "upgrade", "key", "about", "sealed", "fields", "open", "indexes" })
    declared.key = declared.key or "uuid"
    if declared.key ~= "uuid" and declared.key ~= "natural" then note(path .. ".key", "must be \"uuid\" or \"natural\"") end
    if declared.fields == nil then fault(path .. ".fields", "is missing") end
    local shape = declared.fields
    declared.fields = part(schema._fields, shape, path .. ".fields")
    if not declared.fields then return end -- what is in them is not known
    if declared.about ~= nil and not (type(declared.about) == "string" and declared.fields[declared.about:match("^[^.]+")]) then
      note(path .. ".about", "must name the field that holds the person's id")
    end
    if declared.sealed ~= nil then
      if type(declared.sealed) ~= "table" then fault(path .. ".sealed", "must be a list of fields") end
      if not declared.about and #declared.sealed > 0 then note(path .. ".sealed", "needs about: whose key seals it?") end
      for i, field in ipairs(declared.sealed) do
        if not declared.fields[field] then note(path .. ".sealed[" .. i .. "]", "the record has no field '" .. tostring(field) .. "'") end
      end
    end
    part(upgrade.check, path, declared)
    for index_name, one in pairs(declared.indexes or {}) do
      part(check.name, path .. ".indexes", index_name)
      part(index, path .. ".indexes." .. tostring(index_name), one, declared)
    end
  end

  local function access(path, given)
    if given == "public" or given == "signed_in" then return end
    if type(given) ~= "table" or #given == 0 then
      fault(path, "must be \"public\", \"signed_in\", or a list of roles such as {\"coordinator\"}")
    end
    local known = { administrator = true, coordinator = true, psychologist = true, coach = true, student = true }
    for i, role in ipairs(given) do
      if not known[role] then note(path .. "[" .. i .. "]", "there is no role '" .. tostring(role) .. "'") end
    end
  end

  local function method(path, name, declared)
    local word = "[a-z][a-z0-9_]*"
    if type(name) ~= "string" or not (name:match("^" .. word .. "$") or name:match("^" .. word .. "%." .. word .. "$")) then
      note(path, "a method is named noun.verb or verb, in small letters")
    end
    check.is_table(path, declared)
    check.names(path, declared, { "summary", "access", "writes", "params", "open_params", "patch", "result", "job", "run", "done", "title" })
    part(access, path .. ".access", declared.access)
    if type(declared.run) ~= "function" then note(path .. ".run", "must be a function(ctx, params)") end
    if declared.done ~= nil and type(declared.done) ~= "function" then note(path .. ".done", "must be a function(ctx, params, result)") end
    if declared.done and not declared.job then note(path .. ".done", "belongs to a job: say job = true") end
    if declared.patch ~= nil and type(declared.patch) ~= "boolean" then note(path .. ".patch", "must be true or false") end
    if declared.params == false then declared.params = nil end
    if declared.params ~= nil then
      local params = {}
      if type(declared.params) ~= "table" then fault(path .. ".params", "must be a table of shapes, or false") end
      for field, shape in pairs(declared.params) do params[field] = shape end
      if params.open == true then params.open, declared.open_params = nil, true end
      declared.params = part(schema._fields, params, path .. ".params")
    end
    if declared.result ~= nil then declared.result = part(schema._shape, declared.result, path .. ".result") end
  end

  local function service(decl)
    check.declaration(decl, "service", { "records", "methods", "on", "every" })
    for name, one in pairs(check.map("records", decl.records)) do
      part(record, "records." .. tostring(name), name, one)
    end
    for name, one in pairs(check.map("methods", decl.methods)) do
      part(method, "methods." .. tostring(name), name, one)
    end
    for event, fn in pairs(check.map("on", decl.on)) do
      local action = type(event) == "string" and event:match("^[a-z][a-z0-9_]*%.(%l+)$")
      if action ~= "created" and action ~= "updated" and action ~= "deleted" then
        note("on." .. tostring(event), "an event is named type.created, type.updated or type.deleted")
      end
      if type(fn) ~= "function" then note("on." .. tostring(event), "must be a function(ctx, change)") end
    end
    for cron, fn in pairs(check.map("every", decl.every)) do
      local path = "every." .. tostring(cron) -- what the time itself says is read by the host
      if type(cron) ~= "string" then note(path, "must be a time such as \"0 8 * * mon-fri\"") end
      if type(fn) == "table" then
        check.names(path, fn, { "run", "done", "job" })
        if type(fn.run) ~= "function" then note(path .. ".run", "must be a function(ctx, due)") end
        if fn.job ~= nil and type(fn.job) ~= "boolean" then note(path .. ".job", "must be true or false") end
        if fn.done ~= nil and type(fn.done) ~= "function" then note(path .. ".done", "must be a function(ctx, due, result)") end
        if fn.done and not fn.job then note(path .. ".done", "belongs to a job: say job = true") end
      elseif type(fn) ~= "function" then
        note(path, "must be a function(ctx, due), or { run = …, job = true }")
      end
    end
    return decl
  end

  return { service = check.whole_of(service) }
end
