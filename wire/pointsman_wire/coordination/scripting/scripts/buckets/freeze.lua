-- Begin a new generation, unless somebody has.
--
-- ARGV[5]  the new generation     ARGV[6]  the one that is not to be trusted, or ''
--
-- -> 'done', generation, counter, state
if state == 'missing' or generation == ARGV[6] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', ARGV[5], 'state', 'frozen', 'seen', digits(now),
    'members', '1', 'c:' .. ARGV[1], '1')
  return {'done', ARGV[5], 1, 'frozen'}
end
return {'done', generation, counter, state}
