-- What is asked, how it is scored, and what the answers mean.
local function four(text) return { en = text, uz = text, ["uz-Cyrl"] = text, ru = text } end

return questionnaire {
  id = "@ID@",
  title = { en = "@ID@", uz = "@ID@", ["uz-Cyrl"] = "@ID@", ru = "@ID@" },
  source = "Own items; say here where an instrument is from and its licence.",
  audience = { "self", "role:coordinator" },
  minutes = 1,
  items = {
    likert { "q1", four "I know whom to ask.", scale = agree5, key = "help" },
    likert { "q2", four "I feel lost here.", scale = agree5, key = "help", reverse = true },
  },
  scales = { help = mean { min_answered = 0.5 } },
  bands = { help = { { "low", below = 3 }, { "good" } } },
  tests = {
    ["a reversed item counts the other way"] = scored { answers = { q1 = 5, q2 = 1 }, gives = { help = 5 } },
  },
}
