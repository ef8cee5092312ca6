-- Takes some of the listeners of a process that is dead, or that ends, out of the totals.
-- KEYS: processes, its counts, totals, left. ARGV: process, most ids at once, "1" if it ends by itself.
-- Returns 1 when nothing of it is left.
local now = string.format("%.0f", microseconds() / 1000)
local lease = redis.call("ZSCORE", KEYS[1], ARGV[1])
if lease and tonumber(lease) >= tonumber(now) and ARGV[3] ~= "1" then
  return 1 -- it lives after all
end
local found = redis.call("HSCAN", KEYS[2], 0, "COUNT", ARGV[2])[2]
for i = 1, #found, 2 do
  local id, count = found[i], tonumber(found[i + 1])
  local total = tonumber(redis.call("HGET", KEYS[3], id) or nil)
  redis.call("HDEL", KEYS[2], id)
  if total then
    local sum = math.max(total - count, 0)
    redis.call("HSET", KEYS[3], id, sum)
    if sum == 0 then
      redis.call("ZADD", KEYS[4], now, id)
    end
  end
end
if redis.call("EXISTS", KEYS[2]) == 1 then
  return 0
end
redis.call("ZREM", KEYS[1], ARGV[1])
return 1
