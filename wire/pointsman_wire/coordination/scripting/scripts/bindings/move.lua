-- Move the state machine of a job.
--
-- KEYS[2]  the binding
-- ARGV[5]  owner       ARGV[6]  fence
-- ARGV[7]  attempt     ARGV[8]  the state to move to
--
-- -> outcome, generation, counter, state
local RANKS = {CREATED = 0, DISPATCHED = 1, ACCEPTED = 2, RUNNING = 3, FINISHED = 4, RELEASED = 5}
local binding = read(KEYS[2])
if not binding then
  return {'missing', generation, counter, 'CREATED'}
end
if binding.owner ~= ARGV[5] or binding.fence ~= tonumber(ARGV[6]) then
  return {'fenced', generation, counter, binding.state}
end
local attempt, stored, target = tonumber(ARGV[7]), tonumber(binding.attempt), ARGV[8]
local rank = RANKS[binding.state]
if target == 'CREATED' then
  if attempt < stored or rank >= RANKS.FINISHED then
    return {'refused', generation, counter, binding.state}
  end
  if attempt > stored then
    redis.call('HSET', KEYS[2], 'state', 'CREATED', 'attempt', digits(attempt))
    return {'done', generation, counter, 'CREATED'}
  end
  return {'done', generation, counter, binding.state}
end
if attempt ~= stored then
  return {'refused', generation, counter, binding.state}
end
if rank >= RANKS[target] then
  return {'done', generation, counter, binding.state}
end
if target == 'RELEASED' and binding.state ~= 'FINISHED' then
  return {'refused', generation, counter, binding.state}
end
redis.call('HSET', KEYS[2], 'state', target)
return {'done', generation, counter, target}
