-- Reports: which there are, and running one. What a report says is a plugin of its own (plugins/reports).
local staff = { "coordinator", "administrator" }

-- What can be measured twice here: grades, and scales of questionnaires that are not sensitive.
local function measures()
  local out = { { id = "grade", title = { en = "Grades", uz = "Baholar", ["uz-Cyrl"] = "Баҳолар", ru = "Оценки" } } }
  for _, form in ipairs(plugins.all "questionnaire") do
    if not form.sensitive then
      local keys = {}
      for key in pairs(form.scales or {}) do keys[#keys + 1] = key end
      table.sort(keys)
      for _, key in ipairs(keys) do
        out[#out + 1] = { id = form.id .. "." .. key, questionnaire = form.id, title = form.scales[key].title or key }
      end
    end
  end
  return out
end

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
            items[#items + 1] = { id = report.id, title = report.title, version = report.version,
              measures = report.params.measure and measures() or nil }
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
    ["a coordinator is offered grades and open scales, never a sensitive one"] = function(t)
      local offered = t:call("report.list", {}, { roles = { "coordinator" } }).items[1].measures
      t:equal(offered[1].id, "grade")
      for _, measure in ipairs(offered) do t:ok(not measure.id:find("gad7", 1, true)) end
    end,
    ["a student runs no reports"] = function(t)
      t:fails(function() t:call("report.run", { report = "before-after" }, { person = "a", roles = { "student" } }) end, "need")
    end,
  },
}
