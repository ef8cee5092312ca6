-- Stores one message in channels of one slot, draws its cursor, trims, and announces it. Atomic, as every script is.
-- KEYS: order, retry mark, then history and facts of each channel.
-- ARGV: seen, max_messages, history ttl ms, facts ttl ms, PUBLISH or SPUBLISH, "1" if sent before, message id, body,
--       the topic of all ("" in a cluster), then id, cursor or "", and topic of each channel.
-- Returns the microseconds drawn (0 if none), then cursor, number and incarnation of each channel.
local seen, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local ttl, facts_ttl = ARGV[3], tonumber(ARGV[4])
local publish, again, message_id, body, topic_of_all = ARGV[5], ARGV[6] == "1", ARGV[7], ARGV[8], ARGV[9]
local ANNOUNCED_MAX = 262144 -- bytes announced to single channels
local channels = (#KEYS - 2) / 2

-- A call whose answer was lost is sent again, perhaps before the first copy is read from a connection given up.
local function stored_before()
  local found, any = { "0" }, false
  for i = 1, channels do
    local members = redis.call("ZREVRANGE", KEYS[1 + 2 * i], 0, -1)
    local hit = false
    for _, member in ipairs(members) do
      local number, cursor, id = string.match(member, "^%d+ (%d+) ([%d.]+) (%S+) ")
      if id == message_id then
        local incarnation = redis.call("HGET", KEYS[2 + 2 * i], "incarnation")
        found[#found + 1], found[#found + 2], found[#found + 3] = cursor, tostring(tonumber(number)), incarnation
        hit, any = true, true
        break
      end
    end
    if not hit then
      found[#found + 1], found[#found + 2], found[#found + 3] = "", "0", ""
    end
  end
  return any and found
end

if again then
  local found = stored_before()
  redis.call("SET", KEYS[2], "1", "PX", 60000)
  if found then
    return found
  end
elseif redis.call("EXISTS", KEYS[2]) == 1 then
  return { "0" }
end

local now = microseconds()
local begin, last, clock = open_order(KEYS[1], now, seen, put)
local evicted -- looked for once it is needed

local open, highest = false, nil
for i = 1, channels do
  if ARGV[3 * i + 8] == "" then
    open = true
    local newest = redis.call("HGET", KEYS[2 + 2 * i], "newest")
    if newest and (not highest or greater(newest, highest)) then
      highest = newest
    end
  end
end

local us, drawn = 0, ""
if open then
  us = math.max(now, last + 1, seen + 1)
  if now < clock then
    us = math.max(us, clock + FENCE) -- the clock was set back: clear of every position drawn by its old reading
  end
  redis.call("HSET", KEYS[1], "last", string.format("%.0f", us))
  drawn = as_cursor(us)
  if highest and not greater(drawn, highest) then
    drawn = behind(highest)
  end
end

local answer, parts = { string.format("%.0f", us) }, {}
for i = 1, channels do
  local history, facts = KEYS[1 + 2 * i], KEYS[2 + 2 * i]
  local id, cursor = ARGV[3 * i + 7], ARGV[3 * i + 8]
  if cursor == "" then
    cursor = drawn
  end
  local known = redis.call("HMGET", facts, "number", "incarnation", "floor", "newest")
  local number, incarnation, floor, newest = tonumber(known[1] or 0), known[2], known[3], known[4]
  if not incarnation then
    incarnation = begin .. "/" .. string.format("%.0f", now)
    evicted = evicted or evicted_until(KEYS[1], now, last, put)
    floor = unknown_floor(begin, now, facts_ttl, evicted)
  elseif greater(newest, floor) and redis.call("EXISTS", history) == 0 then
    floor = newest -- what was there has expired
  end
  number = number + 1
  redis.call("ZADD", history, 0, sort_key(cursor) .. " " .. string.format("%015d", number) .. " " .. cursor .. " " .. body)
  local excess = redis.call("ZCARD", history) - limit
  if excess > 0 then
    local dropped = redis.call("ZRANGE", history, excess - 1, excess - 1)[1]
    local dropped_cursor = string.match(dropped, "^%d+ %d+ ([%d.]+) ")
    if greater(dropped_cursor, floor) then
      floor = dropped_cursor
    end
    redis.call("ZREMRANGEBYRANK", history, 0, excess - 1)
  end
  if not newest or greater(cursor, newest) then
    newest = cursor
  end
  redis.call("HSET", facts, "number", number, "incarnation", incarnation, "floor", floor, "newest", newest)
  redis.call("PEXPIRE", history, ttl)
  redis.call("PEXPIRE", facts, facts_ttl)
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = cursor, tostring(number), incarnation
  parts[#parts + 1] = id .. ":" .. cursor .. ":" .. number .. ":" .. incarnation
end

local text = answer[1] .. " " .. table.concat(parts, ",") .. " " .. body
if channels > 1 and topic_of_all ~= "" and channels * #text > ANNOUNCED_MAX then
  -- A process that follows many of them would be sent as many copies, until Redis cuts it off
  -- (client-output-buffer-limit pubsub).
  redis.call(publish, topic_of_all, text)
else
  for i = 1, channels do
    redis.call(publish, ARGV[3 * i + 9], text)
  end
end
return answer
