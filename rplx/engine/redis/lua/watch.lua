-- Reads the events behind a position. KEYS: log, position. ARGV: position.
-- Returns the position of the first event given, and the events, oldest first.
local newest = tonumber(redis.call("GET", KEYS[2]) or 10)
local first = newest - redis.call("LLEN", KEYS[1]) + 1
local from = math.max(tonumber(ARGV[1]) + 1, first)
return { from, redis.call("LRANGE", KEYS[1], from - first, -1) }
