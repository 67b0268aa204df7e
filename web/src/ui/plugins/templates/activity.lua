-- Something that people do together: its own fields, stages and results.
return activity {
  id = "@ID@",
  title = { en = "@ID@", uz = "@ID@", ["uz-Cyrl"] = "@ID@", ru = "@ID@" },
  icon = "star",
  fields = { place = text { required = true, max = 200 }, seats = integer { min = 1, max = 500, default = 20 } },
  stages = { "announced", "held", "closed" },
  roles = { participant = {}, organiser = { sees = "all" } },
  outcome = function(_, _, entries) return { people = #entries } end,
  tests = {
    ["the outcome counts who took part"] = function(t)
      t:equal(plugins.get("activity", "@ID@").outcome(t.ctx, {}, { {}, {} }).people, 2)
    end,
  },
}
