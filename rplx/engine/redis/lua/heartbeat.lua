-- A process gives a sign of life. KEYS: processes, state, asked. ARGV: process, lease ms, stall ms, hold ms.
-- Its few bytes are written also when memory is used up: the first write takes none (common.lua).
-- Returns 1, or 0 if the process is not known (any more) and has to register again; the questions of processes
-- that ask for its listeners; and since when presence is kept, as all has to be reported anew when that changes.
-- After a time without any heartbeat nobody is taken out for a while, as processes are just coming back.
redis.call("HDEL", KEYS[2], "")
local now = microseconds() / 1000
local before = tonumber(redis.call("HGET", KEYS[2], "beat") or 0)
if before > 0 and now - before > tonumber(ARGV[3]) then
  redis.call("HSET", KEYS[2], "hold", string.format("%.0f", now + tonumber(ARGV[4])))
end
local since = redis.call("HGET", KEYS[2], "since")
if not since then
  since = string.format("%.0f", now)
  redis.call("HSET", KEYS[2], "since", since)
end
redis.call("HSET", KEYS[2], "beat", string.format("%.0f", now))
local lease = redis.call("ZSCORE", KEYS[1], ARGV[1])
local asked = redis.call("SMEMBERS", KEYS[3])
if not lease then
  return { 0, asked, since }
end
redis.call("ZADD", KEYS[1], string.format("%.0f", now + tonumber(ARGV[2])), ARGV[1])
return { tonumber(lease) >= now and 1 or 0, asked, since }
