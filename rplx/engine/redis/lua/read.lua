-- Reads what channels of one slot hold.
-- KEYS: order, then history and facts of each channel.
-- ARGV: seen, facts ttl ms, then of each channel: the cursor behind which to read or "" for nothing, and the
--       incarnation, number and cursor of the last message that the caller knows, "" where it knows none.
-- Returns for each channel: incarnation, number, floor, newest, when the order began, ms until it expires, messages, and
-- up to which cursor Redis may have thrown channels away, and "1" if the last message that the caller knows was never
-- stored here: a server has taken over without it, and has given its number to another.
local now = microseconds()
local begin, last = open_order(KEYS[1], now, tonumber(ARGV[1]), note)
local evicted = evicted_until(KEYS[1], now, last, note)
local facts_ttl = tonumber(ARGV[2])
local answer = {}
for i = 1, (#KEYS - 1) / 2 do
  local history, facts = KEYS[2 * i], KEYS[2 * i + 1]
  local after, known_incarnation, known_number = ARGV[4 * i - 1], ARGV[4 * i], tonumber(ARGV[4 * i + 1])
  local known_last = ARGV[4 * i + 2]
  local known = redis.call("HMGET", facts, "number", "incarnation", "floor", "newest")
  local number, incarnation, floor, newest = tonumber(known[1] or 0), known[2], known[3], known[4]
  local messages, left, changed = {}, -1, "0"
  if not incarnation then
    incarnation, newest = "", ""
    floor = unknown_floor(begin, now, facts_ttl, evicted)
  else
    left = redis.call("PTTL", history)
    if left == -2 and greater(newest, floor) then
      floor = newest
    end
    if incarnation == known_incarnation and known_last ~= "" and left ~= -2 and greater(known_last, floor) then
      local begins = sort_key(known_last) .. " " .. string.format("%015d", known_number) .. " "
      if #redis.call("ZRANGEBYLEX", history, "[" .. begins, "(" .. begins .. "\255", "LIMIT", 0, 1) == 0 then
        known_incarnation, changed = "", "1"
      end
    end
    local news = incarnation ~= known_incarnation or number ~= known_number
    if news and after ~= "" and left ~= -2 then
      for _, member in ipairs(redis.call("ZRANGEBYLEX", history, "(" .. sort_key(after) .. "!", "+")) do
        if incarnation ~= known_incarnation or tonumber(string.match(member, "^%d+ (%d+) ")) > known_number then
          messages[#messages + 1] = member
        end
      end
    end
  end
  answer[i] = { incarnation, tostring(number), floor, newest, begin, left, messages, evicted, changed }
end
return answer
