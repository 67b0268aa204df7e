-- Finding one's place: a student who keeps to the edge of the group, and one whom others like to follow. Conditions are what people
-- said about themselves; answers to sensitive questionnaires are never used here.
return matcher {
  id = "passive-leader",
  title = { en = "Finding one’s place in the group", uz = "Guruhda oʻz oʻrnini topish", ["uz-Cyrl"] = "Гуруҳда ўз ўрнини топиш",
    ru = "Своё место в группе" },
  form = "passive-leader",
  mentor = { where = { status = "active", year = at_least(2), strengths = has "leadership" }, capacity = "mentoring.capacity" },
  mentee = { where = { status = "active", needs = has "group" }, priority = "waited_terms" },
  must = {
    share "languages",
    respects "gender_preference",
    overlap("availability", { hours = 1 }),
    not_in "blocked",
  },
  prefer = {
    shared("interests", { points = 4000, full_at = 3 }),
    complement("strengths", "needs", { points = 2500, full_at = 2 }),
    equal("faculty", { points = 1500 }),
    near("year", { points = 500, within = 2 }),
    weekend("availability", { points = 1500, full_at = 4 }),
  },
  fairness = { first = "everyone", floor = "highest", then_ = "total" },
  keep = { points = 300 },
  tests = {
    ["common interests weigh most"] = function(t)
      local mentee = { status = "active", needs = { "group" }, interests = { "chess", "films", "music" } }
      local alike = t:points { mentor = { status = "active", year = 2, strengths = { "leadership" }, interests = { "chess", "films", "music" } }, mentee = mentee }
      local other = t:points { mentor = { status = "active", year = 2, strengths = { "leadership" }, interests = { "football" } }, mentee = mentee }
      t:equal(alike - other, 4000)
    end,
    ["nobody is paired across a block"] = function(t)
      t:never_pairs {
        mentor = { status = "active", year = 2, strengths = { "leadership" }, blocked = { "mentee" } },
        mentee = { status = "active", needs = { "group" } },
      }
    end,
  },
}
