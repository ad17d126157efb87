-- Throw dead letters away.
--
-- KEYS[1]  the dead letters     ARGV[1..]  ids
--
-- -> 'done', how many there were
local count = 0
for index = 1, #ARGV do
  count = count + redis.call('XDEL', KEYS[1], ARGV[index])
end
return {'done', count}
