-- Checks that the constructors of all kinds share. A fault is an error "path: what is wrong"; the host adds the file and the line.
-- A constructor goes on behind a fault, so that an author sees all of them at once: each part is checked by declare.part, and the
-- whole by declare.whole_of, which raises what was found: a text when it is one fault, else {faults = {text, …}}.
local declare = {}
local being = {} -- being.found: faults of the declaration that is checked; only while plugins are loaded

function declare.fault(path, what) error(path .. ": " .. what, 0) end
local fault = declare.fault

function declare.is_table(path, v)
  if type(v) ~= "table" then fault(path, "must be a table") end
  return v
end

-- The table, or an empty one when nothing was given.
function declare.map(path, v)
  if v == nil then return {} end
  return declare.is_table(path, v)
end

function declare.name(path, name)
  if type(name) ~= "string" or not name:match("^[a-z][a-z0-9_]*$") or #name > 64 then
    fault(path, "the name '" .. tostring(name) .. "' must be small letters, digits and _")
  end
end

-- Does the table hold only these names? A slip of the hand is shown with the name that was meant, as far as one can tell.
function declare.names(path, t, known)
  declare.is_table(path, t)
  local allowed = {}
  for _, name in ipairs(known) do allowed[name] = true end
  for name in pairs(t) do
    if not allowed[name] then
      local wrong, near = tostring(name), nil
      for _, other in ipairs(known) do
        if other:sub(1, 3) == wrong:sub(1, 3) or other:sub(-3) == wrong:sub(-3) then near = near or other end
      end
      declare.note(path == "" and wrong or path .. "." .. wrong, "is not known here" .. (near and "; did you mean '" .. near .. "'?" or ""))
    end
  end
end

function declare.whole(path, v, low, high)
  if math.type(v) ~= "integer" or v < low or v > high then fault(path, ("must be a whole number from %d to %d"):format(low, high)) end
  return v
end

-- A text in one or more languages.
function declare.translated(path, v, required)
  if v == nil and not required then return end
  if type(v) == "string" then return end
  if type(v) ~= "table" then fault(path, "must be a text in several languages, such as { en = …, uz = … }") end
  local any = false
  for language, text in pairs(v) do
    if type(language) ~= "string" or type(text) ~= "string" then fault(path, "must be texts by language") end
    any = true
  end
  if not any then fault(path, "has no text in it") end
end

-- What all declarations have in common.
function declare.declaration(decl, kind, own)
  if type(decl) ~= "table" then fault(kind, "takes a table") end
  if decl.kind ~= nil and decl.kind ~= kind then fault("kind", "this is a " .. tostring(decl.kind)) end
  decl.kind = kind
  local known = { "id", "title", "summary", "tests", "kind", "version", "layer", "file" }
  for _, name in ipairs(own) do known[#known + 1] = name end
  declare.names("", decl, known)
  if type(decl.id) ~= "string" or not decl.id:match("^[a-z][a-z0-9_.-]*$") then
    declare.note("id", "must be a name of small letters, digits, '-', '_' and '.'")
  end
  declare.part(declare.translated, "title", decl.title, kind ~= "service")
  for name, test in pairs(declare.map("tests", decl.tests)) do
    if type(test) ~= "function" then declare.note("tests." .. tostring(name), "must be a function(t)") end
  end
  return decl
end

-- Runs one check. A fault in it ends this check only.
function declare.part(check, ...)
  if not being.found then return check(...) end
  local ok, wrong = pcall(check, ...)
  if ok then return wrong end
  if type(wrong) ~= "string" then error(wrong, 0) end
  being.found[#being.found + 1] = wrong
end

-- A fault behind which its check can go on.
function declare.note(path, what)
  if not being.found then fault(path, what) end
  being.found[#being.found + 1] = path .. ": " .. what
end

-- The constructor that runs check(decl, …) and raises everything that it found.
function declare.whole_of(check)
  return function(...)
    local outer = being.found
    being.found = {}
    local mine = being.found
    local ok, out = pcall(declare.part, check, ...)
    being.found = outer
    if not ok then error(out, 0) end
    if #mine == 1 then error(mine[1], 0) end
    -- Tables have no order: by path, so that the same source always gives the same list.
    table.sort(mine)
    if #mine > 1 then error({ faults = mine }, 0) end
    return out
  end
end

return declare
