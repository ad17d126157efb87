-- Write the own presence and parts of the own nodes.
--
-- KEYS[1]  own presence   KEYS[2]  own nodes
-- ARGV[1]  uid            ARGV[2]  presence    ARGV[3]  ms to live: presence    ARGV[4]  nodes
-- then the parts: field, blob
--
-- -> 'done' | 'taken': another uid has the name
local holder = redis.call('HGET', KEYS[1], 'uid')
if holder and holder ~= ARGV[1] then
  return {'taken'}
end
redis.call('HSET', KEYS[1], 'uid', ARGV[1], 'blob', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
for at = 5, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'done'}
