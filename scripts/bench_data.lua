-- Data for the benchmarks: institution `bench`, accounts bench1 … benchN (password hamroh-demo), each odd one paired with the
-- next, and messages spread over the pairs.
--
--   hamroh run --data DIR scripts/bench_data.lua --people N --messages M
local function option(name, default)
  for i, word in ipairs(args) do
    if word == "--" .. name then return tonumber(args[i + 1]) or error("--" .. name .. " needs a number") end
    local value = word:match("^%-%-" .. name .. "=(%d+)$")
    if value then return tonumber(value) end
  end
  return default
end
local people = math.tointeger(option("people", 1000))
local messages = math.tointeger(option("messages", 10000))
local here = { institution = "bench" }

local made, trouble = call("institution.create", { id = "bench", title = { en = "Bench" } })
if not made and trouble.code ~= -32004 then error(trouble.message) end
if not made and must("record.count", { type = "person" }, here).count > 0 then
  print("The institution bench is filled already.")
  return
end

local function job(method, params)
  local done = wait_job(must(method, params, here).job, here)
  if done.state ~= "done" then error(method .. ": " .. json.encode(done.error or done)) end
  return done.result
end

-- People, 2,000 an import.
for from = 1, people, 2000 do
  local lines = { "nr,name" }
  for i = from, math.min(people, from + 1999) do lines[#lines + 1] = string.format("%07d,Bench %d", i, i) end
  job("roster.apply", {
    csv = table.concat(lines, "\n") .. "\n",
    map = { key = { template = "bench{nr}" }, person = { name = { column = "name" }, mentoring = { capacity = { value = 1 } },
      availability = { value = { 18, 42, 130, 131, 154, 155 } } } },
  })
end
local ids, cursor = {}, nil
repeat
  local page = must("record.list", { type = "person", index = "by_external", limit = 500, cursor = cursor }, here)
  for _, record in ipairs(page.items) do ids[#ids + 1] = record.id end
  cursor = page.cursor
until not cursor

local hash = hash_password("hamroh-demo")
for i = 1, people do
  must("account.create", { login = "bench" .. i, password_hash = hash, person = ids[i], roles = { "student" }, demo = true }, here)
end

-- Each odd one mentors the next.
local made_pairs = {}
local batch = {}
local function flush()
  if #batch == 0 then return end
  for _, id in ipairs(must("pair.create_many", { pairs = batch }, here).pairs) do made_pairs[#made_pairs + 1] = id end
  batch = {}
end
for i = 1, people - 1, 2 do
  batch[#batch + 1] = { mentor = ids[i], mentee = ids[i + 1] }
  if #batch == 200 then flush() end
end
flush()

local now, list = time_ms(), {}
for n = 1, #made_pairs > 0 and messages or 0 do
  local k = 1 + (n - 1) % #made_pairs
  list[#list + 1] = { to = "pair:" .. made_pairs[k], from = ids[2 * k - n % 2], text = "Message " .. n .. ": shall we meet on Sunday?",
    sent = now - (messages - n) * 1000 }
  if #list == 500 or n == messages then
    must("message.import", { messages = list }, here)
    list = {}
  end
end
print(string.format("bench: %d people, %d pairs, %d messages", people, #made_pairs, messages))
