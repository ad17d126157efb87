-- Renew the leases of bindings of one bucket, or have them end.
--
-- KEYS[2]  the bucket's kept bindings    KEYS[3..]  the bindings
-- ARGV[5]  owner                         ARGV[6]    how long a binding lives, ms
-- ARGV[7]  how old a lease is afterwards, ms: 0, or a whole lease
-- ARGV[8..] the fence of each
--
-- -> 'done', generation, counter, for each binding 'l' (lost) or 'm' (missing) or '.', in one text
local renewed = digits(now - tonumber(ARGV[7]))
local found = {}
for index = 3, #KEYS do
  local binding = read(KEYS[index])
  local letter = '.'
  if not binding then
    letter = 'm'
  elseif binding.owner ~= ARGV[5] or binding.fence ~= tonumber(ARGV[index + 5])
    or binding.state == 'FINISHED' or binding.state == 'RELEASED' then
    letter = 'l'
  else
    redis.call('HSET', KEYS[index], 'renewed', renewed)
    redis.call('PEXPIRE', KEYS[index], ARGV[6])
    if binding.kept == '1' then
      redis.call('ZADD', KEYS[2], renewed, binding.key)
      redis.call('PEXPIRE', KEYS[2], ARGV[6])
    end
  end
  found[index - 2] = letter
end
return {'done', generation, counter, table.concat(found)}
