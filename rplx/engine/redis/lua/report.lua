-- Takes a process's report of how many of its connections listen to each id.
-- KEYS: processes, the process's counts, totals, left, log, position.
-- ARGV: process, "1" to register it, lease ms, block of events, then id, count and "1" if a connection came since.
-- Returns 0 if the process is not known, else 1.
local now = string.format("%.0f", microseconds() / 1000)
local block = tonumber(ARGV[4])
if ARGV[2] == "1" then
  redis.call("ZADD", KEYS[1], string.format("%.0f", now + tonumber(ARGV[3])), ARGV[1])
elseif not redis.call("ZSCORE", KEYS[1], ARGV[1]) then
  return 0
end
for i = 5, #ARGV, 3 do
  local id, count, came = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == "1"
  local old = tonumber(redis.call("HGET", KEYS[2], id) or 0)
  local total = redis.call("HGET", KEYS[3], id)
  local sum = math.max(tonumber(total or 0) - old + count, 0)
  if count > 0 then
    redis.call("HSET", KEYS[2], id, count)
  elseif old > 0 then
    redis.call("HDEL", KEYS[2], id)
  end
  if count > 0 or old > 0 or came then
    if not total then
      add_event(KEYS[5], KEYS[6], block, "+", id)
    end
    redis.call("HSET", KEYS[3], id, sum)
    if sum == 0 then
      redis.call("ZADD", KEYS[4], now, id)
    elseif tonumber(total or 0) == 0 then
      redis.call("ZREM", KEYS[4], id)
    end
  end
end
return 1
