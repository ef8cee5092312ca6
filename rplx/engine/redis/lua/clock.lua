-- Reads the clock and notes the reading, so that a clock set back is noticed. KEYS: order. ARGV: seen.
-- Returns the reading and the newest draw in microseconds, when the order began, why Redis takes no messages ("" if it
-- does), and up to which cursor it may have thrown some away.
local now = microseconds()
local begin, last, before, refused = open_order(KEYS[1], now, tonumber(ARGV[1]), note)
if now <= before then
  refused = note(KEYS[1], "clock", string.format("%.0f", before)) -- written for what Redis says to it
end
local evicted = evicted_until(KEYS[1], now, last, note)
return { string.format("%.0f", now), string.format("%.0f", last), begin, refused or "", evicted }
