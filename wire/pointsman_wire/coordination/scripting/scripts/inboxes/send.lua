-- Append to an inbox, unless it is full.
--
-- KEYS[1]  the inbox     ARGV[1]  how many entries at most
-- ARGV[2]  how long it lives after this, ms     ARGV[3]  the entry
--
-- -> 'sent' | 'full', how many entries there are now
local length = redis.call('XLEN', KEYS[1])
if length >= tonumber(ARGV[1]) then
  return {'full', length}
end
redis.call('XADD', KEYS[1], '*', 'm', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'sent', length + 1}
