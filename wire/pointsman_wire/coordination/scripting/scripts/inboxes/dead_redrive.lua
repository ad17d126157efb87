-- Move dead letters to the end of the inbox, in the order of their ids here, while it has room.
--
-- KEYS[1]  the inbox     KEYS[2]  the dead letters
-- ARGV[1]  how many entries at most     ARGV[2]  how long the inbox lives after this, ms
-- ARGV[3..]  ids
--
-- -> 'done' | 'full', how many were moved
local moved = 0
for index = 3, #ARGV do
  local found = redis.call('XRANGE', KEYS[2], ARGV[index], ARGV[index])
  if #found > 0 then
    if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
      return {'full', moved}
    end
    redis.call('XADD', KEYS[1], '*', 'm', found[1][2][4], 'again', 1)
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    redis.call('XDEL', KEYS[2], ARGV[index])
    moved = moved + 1
  end
end
return {'done', moved}
