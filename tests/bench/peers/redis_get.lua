-- KEYS: the record, its members. ARGV: who asks. The access check is the same as everywhere here: is the caller a member?
if redis.call("SISMEMBER", KEYS[2], ARGV[1]) == 0 then return redis.error_reply("not found") end
return redis.call("GET", KEYS[1])
