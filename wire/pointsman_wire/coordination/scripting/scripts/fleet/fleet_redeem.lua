-- Which node is a pairing code for?  It is one session's, which may come again.
--
-- KEYS[1]  the code   KEYS[2]  wrong codes   KEYS[3]  wrong codes of its place
-- ARGV[1]  session    ARGV[2]  ms that it may come again
-- ARGV[3]  wrong codes that burn one   [4] and those of one place, that burn all for it
-- ARGV[5]  ms to live: wrong codes     [6] and those of a place    ARGV[7]  1 if a wrong one counts
--
-- -> 'paired', by, node | 'wrong'
local code = redis.call('HMGET', KEYS[1], 'by', 'node', 'session', 'wrong')
local count = tonumber(redis.call('HGET', KEYS[2], 'count') or '0')
local here = tonumber(redis.call('HGET', KEYS[3], 'count') or '0')
local is_open = code[2] and not code[3] and here < tonumber(ARGV[4])
  and count - tonumber(code[4]) < tonumber(ARGV[3])
if is_open or (code[2] and code[3] == ARGV[1]) then
  redis.call('HSET', KEYS[1], 'session', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'paired', code[1], code[2]}
end
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[2], 'count', string.format('%.0f', count + 1))
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  redis.call('HSET', KEYS[3], 'count', string.format('%.0f', here + 1))
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
return {'wrong'}
