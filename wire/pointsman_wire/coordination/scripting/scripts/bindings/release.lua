-- Free the key of a job that never ran.
--
-- KEYS[2]  the binding     KEYS[3]  the bucket's kept bindings
-- ARGV[5]  owner           ARGV[6]  fence
--
-- -> outcome, generation, counter
local binding = read(KEYS[2])
if not binding then
  return {'missing', generation, counter}
end
if binding.owner ~= ARGV[5] or binding.fence ~= tonumber(ARGV[6])
  or binding.state == 'FINISHED' or binding.state == 'RELEASED' then
  return {'fenced', generation, counter}
end
redis.call('DEL', KEYS[2])
if binding.kept == '1' then
  redis.call('ZREM', KEYS[3], binding.key)
end
return {'done', generation, counter}
