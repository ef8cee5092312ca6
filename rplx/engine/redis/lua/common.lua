-- Prepended to every script. Cursors are texts, compared as exact decimals by a key that sorts as bytes do.

local FENCE = 3000000 -- microseconds; clock.py says what for

-- "12.50" -> "000002125": the length of the whole part, its digits, the fraction without zeros at its end.
local function sort_key(cursor)
  local whole, fraction = string.match(cursor, "^0*(%d*)%.?(%d*)$")
  fraction = string.match(fraction, "^(.-)0*$")
  return string.format("%06d", #whole) .. whole .. fraction
end

local function greater(a, b)
  if #a == #b and string.byte(a, 11) == 46 and string.byte(b, 11) == 46 then
    return a > b -- both as drawn, with ten digits before the point
  end
  return sort_key(a) > sort_key(b)
end

-- The next cursor behind one of any length: cut to microseconds, plus one.
local function behind(cursor)
  local whole, fraction = string.match(cursor, "^(%d+)%.?(%d*)$")
  local digits = whole .. string.sub(fraction .. "000000", 1, 6)
  local nines = string.match(digits, "9*$")
  local head = string.sub(digits, 1, #digits - #nines)
  if head == "" then
    head = "1"
  else
    head = string.sub(head, 1, -2) .. string.char(string.byte(head, -1) + 1)
  end
  digits = head .. string.rep("0", #nines)
  return string.sub(digits, 1, -7) .. "." .. string.sub(digits, -6)
end

local function microseconds()
  local time = redis.call("TIME")
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function as_cursor(us)
  local text = string.format("%.0f", us)
  return string.sub(text, 1, -7) .. "." .. string.sub(text, -6)
end

-- Notes a few bytes in a hash, also where Redis takes no messages: its memory is used up (OOM), it cannot save
-- (MISCONF), its replicas are away (NOREPLICAS). After a first write that takes no memory Redis lets a script go on
-- (Redis documentation, "Lua scripts execution under low memory conditions"); else the note has to wait.
-- Returns what Redis said, or false if it takes messages.
local function note(key, ...)
  local answer = redis.pcall("HSET", key, ...)
  local refused = type(answer) == "table" and answer.err
  if not refused then
    return false
  end
  if string.find(refused, "OOM ", 1, true) then
    redis.call("HDEL", key, "")
    redis.call("HSET", key, ...)
  elseif not string.find(refused, "MISCONF", 1, true) and not string.find(refused, "NOREPLICAS", 1, true) then
    redis.call("HSET", key, ...) -- raises it
  end
  return refused
end

local function put(key, ...)
  redis.call("HSET", key, ...)
  return false
end

-- The order that cursors are drawn in. `seen` is the newest draw that the caller knows of, in microseconds; `write` is
-- `put` for a script that stores a message, `note` for one that must work whenever Redis can be read.
-- Returns when it began, its newest draw, the highest reading of the clock, that reading before this one, and a refusal.
local function open_order(key, now, seen, write)
  local known = redis.call("HMGET", key, "begin", "last", "clock")
  local begin, last, before = known[1], tonumber(known[2] or 0), tonumber(known[3] or 0)
  local refused = false
  if not begin then
    local first = math.max(now, seen + 1)
    begin, last = as_cursor(first), first
    refused = write(key, "begin", begin, "last", string.format("%.0f", first))
    if refused and redis.call("HEXISTS", key, "begin") == 0 then
      put(key, "begin", begin) -- nothing can be told of an order that is not noted: raises why
    end
  end
  if now > before then
    refused = write(key, "clock", string.format("%.0f", now)) or refused
  end
  return begin, last, before, refused
end

-- The cursor up to which Redis may have thrown messages away to make room (any maxmemory-policy but noeviction), "0" if
-- it never has. Its own count of that is compared with the one noted last; it begins anew with each start of Redis.
local function evicted_until(key, now, last, write)
  local known = redis.call("HMGET", key, "evictions", "evicted")
  local before, position = known[1] or "0", known[2] or "0"
  local stats = redis.pcall("INFO", "stats")
  local evictions = type(stats) == "string" and string.match(stats, "evicted_keys:(%d+)") or before
  if evictions == before then
    return position
  end
  if evictions ~= "0" then
    position = as_cursor(math.max(now, last))
  end
  write(key, "evictions", evictions, "evicted", position)
  return position
end

-- The cursor at or below which a channel that nothing is known of may have lost messages.
local function unknown_floor(begin, now, kept_ms, evicted)
  local floor = as_cursor(math.max(now - kept_ms * 1000, 1000000))
  if not greater(floor, begin) then
    floor = begin
  end
  return greater(evicted, floor) and evicted or floor
end

-- Presence: the log of who came and went. Blocks of `block` events, of which three are kept (WATCH).
local function add_event(log, position, block, kind, id)
  if redis.call("EXISTS", position) == 0 then
    redis.call("SET", position, 10)
  end
  local at = redis.call("INCR", position)
  redis.call("RPUSH", log, kind .. id)
  local first = 11 + (math.floor((at - 11) / block) - 2) * block
  redis.call("LTRIM", log, -(at - math.max(first, 11) + 1), -1)
end
