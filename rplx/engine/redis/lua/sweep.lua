-- Takes ids offline whose grace time has passed, and names the processes that give no sign of life.
-- KEYS: processes, state, totals, left, log, position. ARGV: grace ms, block of events, most ids at once, stall ms.
-- If no process gave one for long, none is known to be dead (heartbeat.lua).
-- Returns dead processes, ids now offline, the number of ids online, the number of events kept.
local now = microseconds() / 1000
local gone, dead = {}, {}
local state = redis.call("HMGET", KEYS[2], "hold", "beat")
if now >= tonumber(state[1] or 0) and now - tonumber(state[2] or now) <= tonumber(ARGV[4]) then
  local until_ = string.format("%.0f", now - tonumber(ARGV[1]))
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", KEYS[4], "-inf", until_, "LIMIT", 0, ARGV[3])) do
    redis.call("ZREM", KEYS[4], id)
    if tonumber(redis.call("HGET", KEYS[3], id) or 0) == 0 then
      redis.call("HDEL", KEYS[3], id)
      add_event(KEYS[5], KEYS[6], tonumber(ARGV[2]), "-", id)
      gone[#gone + 1] = id
    end
  end
  dead = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", string.format("(%.0f", now))
end
return { dead, gone, redis.call("HLEN", KEYS[3]), redis.call("LLEN", KEYS[5]) }
