-- Numbers that are measured outside of questionnaires: grades, attendance. One record a person, name and moment; corrected
-- values replace the old one (the change log keeps both).
local measures = require "lib.measures"

return service {
  id = "measure",
  title = { en = "Measures", uz = "Oʻlchovlar", ["uz-Cyrl"] = "Ўлчовлар", ru = "Показатели" },
  records = {
    measure = {
      key = "natural",
      fields = {
        person = ref "person" { required = true },
        name = text { required = true, max_length = 60 },
        moment = text { required = true, max_length = 30 },
        value = number { required = true },
        max = number {},
        programme = ref "programme",
      },
      indexes = {
        by_person = { fields = { "person" } },
        by_name = { fields = { "name", "moment" } },
      },
    },
  },
  methods = {
    ["measure.set"] = {
      summary = "Sets one measured value of a person",
      access = { "coordinator", "administrator" }, writes = true,
      params = {
        person = ref "person" { required = true },
        name = text { required = true, max_length = 60 },
        moment = text { required = true, max_length = 30 },
        value = number { required = true },
        max = number {},
        programme = ref "programme",
      },
      run = function(ctx, p)
        if not store.get("person", p.person) then ctx:not_found() end
        p.idem = nil
        local state = measures.compare(store, p)
        if state ~= "unchanged" then measures.write(store, p) end
        return store.get("measure", measures.id(p))
      end,
    },
  },
  tests = {
    ["the same value twice is written once"] = function(t)
      local staff = { roles = { "coordinator" } }
      local person = t:call("person.create", { name = "Aziz" }, staff)
      local m = { person = person.id, name = "grade", moment = "before", value = 12, max = 20 }
      t:equal(measures.compare(store, m), "created")
      t:call("measure.set", m, staff)
      t:equal(measures.compare(store, m), "unchanged")
      m.value = 13
      t:equal(measures.compare(store, m), "updated")
    end,
    ["a student does not grade themselves"] = function(t)
      t:fails(function()
        t:call("measure.set", { person = "p", name = "grade", moment = "before", value = 5 }, { person = "p", roles = { "student" } })
      end)
    end,
  },
}
