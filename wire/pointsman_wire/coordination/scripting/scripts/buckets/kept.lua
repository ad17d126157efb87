-- Which bindings that can be run elsewhere have lapsed?
--
-- KEYS[2]  the bucket's kept bindings
-- ARGV[5]  lease, ms    ARGV[6]  how long a binding lives, ms    ARGV[7]  how many at most
--
-- -> outcome, generation, counter, packed keys, lapsed first first
if not open then
  return {'frozen', generation, counter, {}}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', digits(now - tonumber(ARGV[6])))
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now - tonumber(ARGV[5])),
  'LIMIT', 0, ARGV[7])
return {'done', generation, counter, lapsed}
