-- activity{ id, title, icon, fields, stages, stage_titles, roles, … }: a kind of thing that people do together, with its own
-- fields, stages and results. Functions: on_register(ctx, activity, person) -> false, reason; on_stage(ctx, activity, from, to);
-- score(ctx, activity, entry); rank(ctx, activity, entries); outcome(ctx, activity, entries).
local check = require "lib.declare"

return function(host)
  local fault = check.fault

  local function activity(decl)
    check.declaration(decl, "activity", { "icon", "fields", "entry", "stages", "stage_titles", "roles", "on_register", "on_stage", "score",
      "rank", "outcome" })
    decl.fields = check.part(host.schema._fields, check.map("fields", decl.fields), "fields")
    if decl.entry ~= nil then decl.entry = check.part(host.schema._fields, decl.entry, "entry") end
    if type(decl.stages) ~= "table" or #decl.stages == 0 then fault("stages", "must be a list of stages, the first one first") end
    local known = {}
    for i, stage in ipairs(decl.stages) do
      check.part(check.name, "stages[" .. i .. "]", stage)
      if known[stage] then check.note("stages[" .. i .. "]", "'" .. stage .. "' comes twice") end
      known[stage] = true
    end
    for stage, title in pairs(check.map("stage_titles", decl.stage_titles)) do
      if not known[stage] then check.note("stage_titles." .. tostring(stage), "there is no such stage") end
      check.part(check.translated, "stage_titles." .. tostring(stage), title, true)
    end
    for role, rights in pairs(check.map("roles", decl.roles)) do
      check.part(check.name, "roles", role)
      check.part(check.names, "roles." .. tostring(role), rights, { "title", "sees", "max" })
    end
    for _, name in ipairs { "on_register", "on_stage", "score", "rank", "outcome" } do
      if decl[name] ~= nil and type(decl[name]) ~= "function" then check.note(name, "must be a function") end
    end
    return decl
  end

  return { activity = check.whole_of(activity) }
end
