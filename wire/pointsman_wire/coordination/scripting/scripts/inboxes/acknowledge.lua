-- Remove entries that the receiver has absorbed.
--
-- KEYS[1]  the inbox     ARGV[1]  the group     ARGV[2..]  ids
--
-- -> 'done', how many entries are left
for index = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[index])
  redis.call('XDEL', KEYS[1], ARGV[index])
end
return {'done', redis.call('XLEN', KEYS[1])}
