-- Read what is remembered of a session.
--
-- KEYS[1]  the session     ARGV[1]  how long its owner is believed, ms
--
-- -> 'missing' | 'found', notes, 1 if its owner still counts
local row = redis.call('HMGET', KEYS[1], 'notes', 'written')
if not row[1] then
  return {'missing'}
end
local clock = redis.call('TIME')
local age = clock[1] * 1000 + math.floor(clock[2] / 1000) - tonumber(row[2])
return {'found', row[1], age >= 0 and age < tonumber(ARGV[1]) and '1' or '0'}
