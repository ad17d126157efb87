-- Give up the own name, nodes and lead; the last word stands for who asks in the next seconds.
--
-- KEYS[1]  names   KEYS[2]  leader   KEYS[3]  own presence   KEYS[4]  own nodes
-- ARGV[1]  name    ARGV[2]  uid      ARGV[3]  last word      ARGV[4]  ms that it stands
--
-- -> 'done' | 'taken': another uid has the name
local holder = redis.call('HGET', KEYS[3], 'uid')
if holder and holder ~= ARGV[2] then
  return {'taken'}
end
redis.call('HDEL', KEYS[3], 'uid')
redis.call('HSET', KEYS[3], 'blob', ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[1], ARGV[1])
if redis.call('HGET', KEYS[2], 'name') == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return {'done'}
