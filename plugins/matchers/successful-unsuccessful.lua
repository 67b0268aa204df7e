-- Help with studies: who does well and who does not yet, where the one is strong in what the other needs.
return matcher {
  id = "successful-unsuccessful",
  title = { en = "Help with studies", uz = "Oʻqishda yordam", ["uz-Cyrl"] = "Ўқишда ёрдам", ru = "Помощь в учёбе" },
  form = "successful-unsuccessful",
  mentor = { where = { status = "active", year = at_least(2), gpa = at_least(4.0) }, capacity = "mentoring.capacity" },
  mentee = { where = { status = "active", gpa = below(3.0) }, priority = "waited_terms" },
  must = {
    share "languages",
    respects "gender_preference",
    overlap("availability", { hours = 2 }),
    not_in "blocked",
  },
  prefer = {
    complement("strengths", "needs", { points = 4500, full_at = 2 }),
    shared("interests", { points = 1500, full_at = 3 }),
    near("year", { points = 1000, within = 2 }),
    equal("faculty", { points = 1500 }),
    weekend("availability", { points = 1500, full_at = 4 }),
  },
  fairness = { first = "everyone", floor = "highest", then_ = "total" },
  keep = { points = 300 },
  tests = {
    ["people without a common language are never paired"] = function(t)
      t:never_pairs {
        mentor = { status = "active", year = 3, gpa = 4.5, languages = { "ru" } },
        mentee = { status = "active", year = 1, gpa = 2.5, languages = { "uz" } },
      }
    end,
    ["what is not known excludes nobody: no languages and no free hours told, and still a pair"] = function(t)
      t:pairs {
        mentor = { status = "active", year = 3, gpa = 4.5 },
        mentee = { status = "active", year = 1, gpa = 2.5 },
      }
    end,
    ["a student who asks for a mentor of the same gender gets one"] = function(t)
      local mentee = { status = "active", year = 1, gpa = 2.5, gender = "f", gender_preference = "same" }
      t:never_pairs { mentor = { status = "active", year = 3, gpa = 4.5, gender = "m" }, mentee = mentee }
      t:pairs { mentor = { status = "active", year = 3, gpa = 4.5, gender = "f" }, mentee = mentee }
    end,
    ["whoever is blocked is never paired"] = function(t)
      t:never_pairs {
        mentor = { status = "active", year = 3, gpa = 4.5 },
        mentee = { status = "active", year = 1, gpa = 2.5, blocked = { "mentor" } },
      }
    end,
    ["a mentor who is strong where help is needed, of the same faculty, with the whole weekend in common"] = function(t)
      t:pairs {
        mentor = { status = "active", year = 3, gpa = 4.5, strengths = { "calculus", "notes" }, faculty = "Matematika",
          interests = { "chess", "books", "films" }, availability = { 130, 131, 154, 155 } },
        mentee = { status = "active", year = 3, gpa = 2.5, needs = { "calculus", "notes" }, faculty = "Matematika",
          interests = { "chess", "books", "films" }, availability = { 130, 131, 154, 155 } },
        points = 10000,
      }
    end,
  },
}
