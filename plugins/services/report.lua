-- Reports: which there are, and running one. What a report says is a plugin of its own (plugins/reports).
local staff = { "coordinator", "administrator" }

local function may_see(ctx, report)
  for _, role in ipairs(report.access or staff) do
    if ctx:has_role(role) then return true end
  end
  return false
end

return service {
  id = "report",
  title = { en = "Reports", uz = "Hisobotlar", ["uz-Cyrl"] = "Ҳисоботлар", ru = "Отчёты" },
  methods = {
    ["report.list"] = {
      summary = "Reports that the caller may run",
      access = { "coordinator", "administrator", "psychologist" }, params = {},
      run = function(ctx)
        local items = {}
        for _, report in ipairs(plugins.all "report") do
          if may_see(ctx, report) then
            items[#items + 1] = { id = report.id, title = report.title, version = report.version, params = report.params }
          end
        end
        return { items = store.array(items) }
      end,
    },
    ["report.run"] = {
      summary = "Runs a report",
      access = { "coordinator", "administrator", "psychologist" },
      params = { report = text { required = true, max = 60 }, params = map {} },
      run = function(ctx, p)
        local report = plugins.get("report", p.report)
        if not report then ctx:not_found() end
        ctx:require(table.unpack(report.access or staff))
        local out = report.run(ctx, p.params or {})
        out.report, out.title, out.version = report.id, report.title, report.version
        return out
      end,
    },
  },
  tests = {
    ["a student runs no reports"] = function(t)
      t:fails(function() t:call("report.run", { report = "before-after" }, { person = "a", roles = { "student" } }) end, "need")
    end,
  },
}
