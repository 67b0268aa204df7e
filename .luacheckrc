-- luacheck . : what plugins and scripts may use without saying so.
std = "lua54"
max_line_length = false
unused_secondaries = true
include_files = { "plugins/**/*.lua", "scripts/**/*.lua", "tests/plugins/**/*.lua" }
exclude_files = { "plugins/meta/**" }

local shapes = { "text", "integer", "number", "boolean", "choice", "list", "object", "map", "date", "time", "ref", "any", "translated" }
local host = { "store", "accounts", "award", "calendar", "match", "stats", "log", "notify", "plugins", "inherit" }
local kinds = {
  services = { "service" },
  matchers = { "matcher", "at_least", "at_most", "below", "above", "equals", "one_of", "has", "present", "share", "respects", "not_in",
    "equal_to", "overlap", "complement", "shared", "near", "equal", "weekend", "higher", "gap" },
  activities = { "activity" },
  questionnaires = { "questionnaire", "likert", "choice_item", "yes_no", "number_item", "text_item", "mean", "sum", "scored", "agree5",
    "difficulty5", "accuracy5", "frequency4" },
  reports = { "report" },
  lib = {},
}

-- A plugin has no os, io, debug or load.
local function names(...)
  local out = {}
  for _, part in ipairs { ... } do
    for _, name in ipairs(part) do out[#out + 1] = name end
  end
  return out
end

files = {}
for folder, own in pairs(kinds) do
  files["plugins/" .. folder] = { read_globals = names(shapes, host, own),
    not_globals = { "os", "io", "debug", "load", "loadfile", "dofile", "package", "coroutine", "print", "collectgarbage" } }
end
files["scripts"] = { read_globals = { "call", "must", "args", "random", "hash_password", "wait_job", "read_file", "json", "time_ms" } }
