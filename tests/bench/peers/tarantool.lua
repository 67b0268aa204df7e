-- Tarantool as an institution's programmer would have it: memory tables, a log with fsync before an answer. Arguments: folder, port.
-- Its functions do what record.get and message.send do: the caller's membership, the record, an index, a change log.
local json, clock, uuid = require("json"), require("clock"), require("uuid")
local folder, port = arg[1], tonumber(arg[2])
box.cfg({ work_dir = folder, listen = "127.0.0.1:" .. port, wal_mode = "fsync", memtx_memory = 4 * 1024 ^ 3, log_level = 1,
  checkpoint_interval = 0, readahead = 256 * 1024, net_msg_max = 4096 })
local pair = box.schema.space.create("pair", { format = { { "id", "string" }, { "members", "array" }, { "record", "string" } } })
pair:create_index("primary", { parts = { "id" } })
local message = box.schema.space.create("message", { format = { { "id", "string" }, { "to", "string" }, { "record", "string" } } })
message:create_index("primary", { parts = { "id" } })
message:create_index("by_to", { parts = { "to", "id" } })
local log = box.schema.space.create("log", { format = { { "seq", "unsigned" }, { "by", "string" }, { "record", "string" } } })
log:create_index("primary", { parts = { "seq" } })
box.schema.user.grant("guest", "execute,read,write", "universe")

local function is_member(id, person)
  local found = pair:get(id)
  if not found then return nil end
  for _, member in ipairs(found.members) do
    if member == person then return found end
  end
end

function get(id, person)
  local found = is_member(id, person)
  if not found then error("not found") end
  return found.record
end

local seq = 0
function send(id, person, text)
  if not is_member(id, person) then error("forbidden") end
  if #text == 0 or #text > 4000 then error("text") end
  seq = seq + 1
  local now, message_id, to = math.floor(clock.time() * 1000), uuid.str(), "pair:" .. id
  local record = json.encode({ type = "message", id = message_id, version = seq, created = now, updated = now, by = person, audience = { to },
    members = {}, data = { to = to, from = person, text = text, sent = now } })
  local number = seq
  box.begin()
  message:insert({ message_id, to, record })
  log:insert({ number, person, record })
  box.commit()
  return message_id
end

function fill(id, person, record)
  pair:replace({ id, { person, "other-" .. person }, record })
  return true
end
function echo(text) return text end
print("port " .. port)
io.stdout:flush()
