-- Remember a session; the last who writes wins.
--
-- KEYS[1]  the session     ARGV[1]  notes     ARGV[2]  how long they live, ms
--
-- -> 'done'
local clock = redis.call('TIME')
redis.call('HSET', KEYS[1], 'notes', ARGV[1],
  'written', string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000)))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'done'}
