-- Reads the clock and notes the reading, so that one set back is noticed. KEYS: order. ARGV: seen.
-- Gives the reading and the newest draw in microseconds, and when the order began.
local now = microseconds()
local begin, last, before = open_order(KEYS[1], now, tonumber(ARGV[1]))
return { string.format("%.0f", now), string.format("%.0f", last), begin, now < before and 1 or 0 }
