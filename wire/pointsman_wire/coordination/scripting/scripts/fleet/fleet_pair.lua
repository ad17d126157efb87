-- Make a pairing code good for one session.
--
-- KEYS[1]  the code   KEYS[2]  wrong codes
-- ARGV[1]  by         ARGV[2]  node, signed    ARGV[3]  ms that it is good
--
-- -> 'done' | 'taken': there is such a code
if redis.call('HEXISTS', KEYS[1], 'node') == 1 then
  return {'taken'}
end
local wrong = redis.call('HGET', KEYS[2], 'count') or '0'
redis.call('HSET', KEYS[1], 'by', ARGV[1], 'node', ARGV[2], 'wrong', wrong)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'done'}
