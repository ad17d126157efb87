-- A job has ended: keep its binding for the window, with its result where that is given.
--
-- KEYS[2]  the binding     KEYS[3]  the bucket's kept bindings
-- ARGV[5]  owner           ARGV[6]  fence
-- ARGV[7]  FINISHED, or RELEASED when its slot is free already
-- ARGV[8]  1 if it went well, else 0     ARGV[9]  the window, ms
-- ARGV[10] 1 if a result follows         ARGV[11] the result
--
-- -> outcome, generation, counter
local binding = read(KEYS[2])
if not binding then
  return {'missing', generation, counter}
end
if binding.owner ~= ARGV[5] or binding.fence ~= tonumber(ARGV[6]) then
  return {'fenced', generation, counter}
end
if binding.state == 'FINISHED' or binding.state == 'RELEASED' then
  if ARGV[10] == '1' then
    redis.call('HSET', KEYS[2], 'result', ARGV[11]) -- its owner goes, and leaves it here
  end
  return {'done', generation, counter}
end
redis.call('HSET', KEYS[2], 'state', ARGV[7], 'ok', ARGV[8])
if binding.kept == '1' then
  redis.call('HSET', KEYS[2], 'kept', '0')
  redis.call('HDEL', KEYS[2], 'keep')
  redis.call('ZREM', KEYS[3], binding.key)
end
if ARGV[10] == '1' then
  redis.call('HSET', KEYS[2], 'result', ARGV[11])
end
redis.call('PEXPIRE', KEYS[2], ARGV[9])
return {'done', generation, counter}
