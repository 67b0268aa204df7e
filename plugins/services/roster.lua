-- Import of people from the table that their institution keeps, again and again: who is new is added, what changed is changed,
-- and a second import of the same file writes nothing.
local roster = require "lib.roster"
local measures = require "lib.measures"
local people = require "lib.people"

local PREVIEW_LINES = 1000 -- a preview is an interactive call: it reads so many lines

local function read(ctx, p, most)
  local plan, faults = roster.read(p.csv, p.map, most)
  if not plan then ctx:invalid(faults[1].path, faults[1].message) end
  return plan
end

-- What one line would do: "created", "updated", "unchanged", or nil and the reason. Fills item.id and item.changed.
local function compare(item, initial, empty)
  local old = not empty and store.first("person", { index = "by_external", equals = { item.key } }) or nil
  if not old then
    if not item.person.name then return nil, "no_name" end
    return "created"
  end
  item.id = old.id
  item.changed = roster.difference(old.data, item.person, initial)
  local state = item.changed and "updated" or "unchanged"
  for _, m in ipairs(item.measures) do
    m.person = old.id
    if measures.compare(store, m) ~= "unchanged" then
      m.write = true
      state = "updated"
    end
  end
  return state
end

local function write(ctx, item, state)
  if state == "created" then
    local data = item.person
    data.kind, data.status = data.kind or "student", data.status or "active"
    item.id = ctx:uuid()
    store.put("person", { id = item.id, data = people.named(data, text.fold), audience = people.audience(item.id) })
    for _, m in ipairs(item.measures) do
      m.person = item.id
      measures.write(store, m)
    end
    return
  end
  if item.changed then
    if item.changed.name then people.named(item.changed, text.fold) end
    store.patch("person", item.id, item.changed)
  end
  for _, m in ipairs(item.measures) do
    if m.write then measures.write(store, m) end
  end
end

-- Goes through the plan; `each` is called with every line that is not passed over. Gives the report.
local function go(plan, map, each)
  local report = { columns = plan.columns, total = plan.total, outside = plan.outside, created = 0, updated = 0, unchanged = 0,
    skipped = plan.skipped, warnings = plan.warnings }
  local initial = {}
  for _, name in ipairs(map.initial or {}) do initial[name] = true end
  local empty = store.first("person", { index = "by_external" }) == nil
  for i, item in ipairs(plan.items) do
    local state, reason = compare(item, initial, empty)
    if state then
      report[state] = report[state] + 1
      each(item, state, i)
    else
      report.skipped[#report.skipped + 1] = roster.skip(item.line, reason)
    end
  end
  table.sort(report.skipped, function(a, b) return a.line < b.line end)
  store.array(report.columns)
  store.array(report.skipped)
  store.array(report.warnings)
  return report
end

local params = {
  csv = text { required = true, max_length = 50000000 },
  map = object { required = true, fields = {}, open = true },
}

return service {
  id = "roster",
  title = { en = "Import of people", uz = "Odamlarni import qilish", ["uz-Cyrl"] = "Одамларни импорт қилиш", ru = "Импорт людей" },
  methods = {
    ["roster.preview"] = {
      summary = "What an import would do, with line numbers; nothing is written",
      access = { "coordinator", "administrator" },
      params = params,
      run = function(ctx, p)
        local sample = {}
        local report = go(read(ctx, p, PREVIEW_LINES), p.map, function(item, state)
          if #sample < 5 then
            sample[#sample + 1] = { line = item.line, person = item.person, measures = store.array(item.measures), state = state }
          end
        end)
        report.sample = store.array(sample)
        if report.total > PREVIEW_LINES then
          report.warnings[#report.warnings + 1] = roster.warning("partial", { count = PREVIEW_LINES })
        end
        return report
      end,
    },
    ["roster.apply"] = {
      summary = "Imports the people of a table; a job",
      access = { "coordinator", "administrator" }, writes = true, job = true,
      params = params,
      -- The long part only looks, so that a bad file is told early and with progress. The short part reads the file and the
      -- store again inside of its transaction: what others wrote in between is seen, and the plan need not be carried over.
      run = function(ctx, p)
        local plan = read(ctx, p)
        local all = #plan.items
        return go(plan, p.map, function(_, _, i)
          if i % 200 == 0 then ctx:progress(0.9 * i / all) end
        end)
      end,
      done = function(ctx, p)
        return go(read(ctx, p), p.map, function(item, state) write(ctx, item, state) end)
      end,
    },
  },
  tests = {
    ["a student's row becomes a person and measures"] = function(t)
      local plan = roster.read("id;F.I.Sh.;G1;sex\n7;Dilnoza Karimova;\"5\";F\n", {
        key = { column = "id" },
        person = {
          name = { column = "F.I.Sh." }, gender = { column = "sex", values = { F = "f", M = "m" } },
          gpa = { column = "G1", number = true, scale = { 0, 20, 0, 5 } }, mentoring = { capacity = { value = 3 } },
        },
        measures = { { name = "grade", moment = "before", column = "G1", max = 20 } },
      })
      local item = plan.items[1]
      t:equal(item.line, 2)
      t:equal(item.person.name, "Dilnoza Karimova")
      t:equal(item.person.gender, "f")
      t:equal(item.person.gpa, 1.25)
      t:equal(item.person.mentoring.capacity, 3)
      t:equal(item.measures[1].value, 5)
    end,
    ["a cell that cannot be read skips its line and says which"] = function(t)
      local plan = roster.read("id,name,gpa\n1,Aziz,4\n2,Bobur,four\n", {
        key = { column = "id" }, person = { name = { column = "name" }, gpa = { column = "gpa", number = true } },
      })
      t:equal(#plan.items, 1)
      t:equal(plan.skipped[1].line, 3)
      t:equal(plan.skipped[1].reason, "not_a_number")
    end,
    ["the same person twice in a file is taken once"] = function(t)
      local plan = roster.read("id,name\n1,Aziz\n1,Aziza\n", { key = { column = "id" }, person = { name = { column = "name" } } })
      t:equal(#plan.items, 1)
      t:equal(plan.skipped[1].reason, "twice")
      t:equal(plan.skipped[1].detail, "2")
    end,
    ["rows of another school are outside, not skipped"] = function(t)
      local plan = roster.read("school,name\nGP,Aziz\nMS,Bobur\n", {
        where = { school = "GP" }, key = { template = "{school}-{line}" }, person = { name = { column = "name" } },
      })
      t:equal(plan.outside, 1)
      t:equal(plan.total, 1)
      t:equal(plan.items[1].key, "GP-2")
    end,
    ["a mark that means absence is no measure, and one is told how many there were"] = function(t)
      local plan = roster.read("id,name,G3\n1,Aziz,0\n2,Bobur,12\n", {
        key = { column = "id" }, person = { name = { column = "name" } },
        measures = { { name = "grade", moment = "after", column = "G3", max = 20, absent = { 0 } } },
      })
      t:equal(#plan.items[1].measures, 0)
      t:equal(#plan.items[2].measures, 1)
      t:equal(plan.warnings[1].count, 1)
    end,
    ["a map that names a column which is not there is refused"] = function(t)
      local plan, faults = roster.read("id,name\n1,Aziz\n", { key = { column = "nr" }, person = { name = { column = "name" } } })
      t:ok(plan == nil)
      t:equal(faults[1].path, "map.key.column")
    end,
    ["a second import of the same changes nothing, and a corrected grade changes just that"] = function(t)
      local staff = { roles = { "coordinator" } }
      local map = { key = { column = "id" }, person = { name = { column = "name" }, interests = { column = "likes", split = "," } },
        initial = { "interests" }, measures = { { name = "grade", moment = "before", column = "G1", max = 20 } } }
      local function import(csv) return t:call("roster.apply", { csv = csv, map = map }, staff) end
      t:equal(import("id,name,likes,G1\n1,Aziz,chess,8\n2,Bobur,,9\n").created, 2)
      local again = import("id,name,likes,G1\n1,Aziz,chess,8\n2,Bobur,,9\n")
      t:equal({ again.created, again.updated, again.unchanged }, { 0, 0, 2 })
      local aziz = store.first("person", { index = "by_external", equals = { "1" } })
      store.patch("person", aziz.id, { interests = { "films" } }) -- his own word, which an import leaves alone
      local corrected = import("id,name,likes,G1\n1,Aziz Karimov,chess,10\n2,Bobur,,9\n")
      t:equal({ corrected.updated, corrected.unchanged }, { 1, 1 })
      t:equal(store.get("measure", aziz.id .. ":grade:before").data.value, 10)
      local after = store.get("person", aziz.id).data
      t:equal(after.interests, { "films" })
      t:equal(after.name, "Aziz Karimov")
      t:equal(after.name_folded, "aziz karimov")
    end,
    ["a preview writes nothing"] = function(t)
      local seen = t:call("roster.preview", { csv = "id,name\n1,Aziz\n", map = { key = { column = "id" },
        person = { name = { column = "name" } } } }, { roles = { "coordinator" } })
      t:equal(seen.created, 1)
      t:equal(seen.sample[1].person.name, "Aziz")
      t:equal(store.count("person"), 0)
    end,
    ["only what differs is changed"] = function(t)
      local have = { name = "Aziz", year = 1, languages = { "uz", "ru" }, mentoring = { capacity = 2, status = "active" } }
      t:ok(roster.difference(have, { name = "Aziz", languages = { "uz", "ru" }, mentoring = { capacity = 2 } }, {}) == nil)
      local changed = roster.difference(have, { year = 2, languages = { "uz" } }, { languages = true })
      t:equal(changed.year, 2)
      t:ok(changed.languages == nil)
    end,
  },
}
