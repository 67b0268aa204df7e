-- Who is brought together with whom, and why. The points of `prefer` are 10,000 in all.
return matcher {
  id = "@ID@",
  title = { en = "@ID@", uz = "@ID@", ["uz-Cyrl"] = "@ID@", ru = "@ID@" },
  form = "successful-unsuccessful",
  mentor = { where = { status = "active", year = at_least(2) }, capacity = "mentoring.capacity" },
  mentee = { where = { status = "active", year = 1 } },
  must = { share "languages" },
  prefer = {
    complement("strengths", "needs", { points = 6000 }),
    shared("interests", { points = 2500, full_at = 3 }),
    equal("faculty", { points = 1500 }),
  },
  tests = {
    ["people without a common language are never a pair"] = function(t)
      t:never_pairs {
        mentor = { status = "active", year = 3, languages = { "uz" }, mentoring = { capacity = 1 } },
        mentee = { status = "active", year = 1, languages = { "ru" } },
      }
    end,
  },
}
