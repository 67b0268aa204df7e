-- KEYS: the members of the pair, its messages in order, the change log. ARGV: who writes, the pair, the text.
-- Checks the caller, then stores the record, the index, the log entry, and tells who listens.
if redis.call("SISMEMBER", KEYS[1], ARGV[1]) == 0 then return redis.error_reply("forbidden") end
if #ARGV[3] == 0 or #ARGV[3] > 4000 then return redis.error_reply("text") end
local seq = redis.call("INCR", "seq")
local t = redis.call("TIME")
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local id = string.format("%012x-%016x", now, seq)
local record = cjson.encode({ type = "message", id = id, version = seq, created = now, updated = now, by = ARGV[1], audience = { ARGV[2] },
  members = {}, data = { to = ARGV[2], from = ARGV[1], text = ARGV[3], sent = now } })
redis.call("SET", "message:" .. id, record)
redis.call("ZADD", KEYS[2], now, id)
redis.call("XADD", KEYS[3], "*", "by", ARGV[1], "record", record)
redis.call("PUBLISH", ARGV[2], record)
return id
