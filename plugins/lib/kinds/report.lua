-- report{ id, title, params, run = function(ctx, p) … end, charts }: figures with what they mean in words.
local check = require "lib.declare"

return function(host)
  local function report(decl)
    check.declaration(decl, "report", { "params", "run", "charts", "access" })
    decl.params = check.part(host.schema._fields, check.map("params", decl.params), "params")
    if type(decl.run) ~= "function" then check.note("run", "must be a function(ctx, params)") end
    if decl.charts ~= nil and type(decl.charts) ~= "table" then check.note("charts", "must be a list") end
    if decl.access ~= nil and type(decl.access) ~= "table" then check.note("access", "must be a list of roles") end
    return decl
  end
  return { report = check.whole_of(report) }
end
