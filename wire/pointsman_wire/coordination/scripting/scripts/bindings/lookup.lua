-- Read what a request is bound to.
--
-- KEYS[2]  the binding
-- ARGV[5]  the asker as an owner    ARGV[6]  lease, ms
--
-- -> as bind.lua
if not open then
  return {'frozen', generation, counter}
end
local binding = read(KEYS[2])
if not binding then
  return {'missing', generation, counter}
end
local outcome = standing(KEYS[2], binding, ARGV[5], ARGV[6])
local keep, result = false, false
if outcome == 'mine' or outcome == 'lapsed' then
  keep = redis.call('HGET', KEYS[2], 'keep')
elseif outcome == 'ended' then
  result = redis.call('HGET', KEYS[2], 'result')
end
return {outcome, generation, counter, binding.job, binding.owner, digits(binding.fence),
  binding.state, binding.attempt, binding.ok, binding.body, keep, result}
