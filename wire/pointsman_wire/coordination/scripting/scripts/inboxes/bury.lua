-- Move an entry to the dead letters, of which the newest are kept.
--
-- KEYS[1]  the inbox     KEYS[2]  the dead letters
-- ARGV[1]  the group     ARGV[2]  the id     ARGV[3]  why
-- ARGV[4]  how many dead letters at most     ARGV[5]  how long they live, ms
--
-- -> 'done' | 'missing', 0
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if #found == 0 then
  return {'missing', 0}
end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], '*', 'why', ARGV[3], 'm', found[1][2][2])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {'done', 0}
