-- Bind a request to a job, unless somebody has.
--
-- KEYS[2]  the binding           KEYS[3]  the bucket's kept bindings
-- ARGV[5]  owner                 ARGV[6]  proposed job id
-- ARGV[7]  body check            ARGV[8]  proposed fence
-- ARGV[9]  lease, ms             ARGV[10] how long the binding lives, ms
-- ARGV[11] packed request key    ARGV[12] what another owner would need, or ''
--
-- -> outcome, generation, counter [, job, owner, fence, state, attempt, ok, body, keep, result]
if not open then
  return {'frozen', generation, counter}
end
local binding = read(KEYS[2])
if not binding then
  redis.call('HSET', KEYS[2], 'job', ARGV[6], 'body', ARGV[7], 'owner', ARGV[5],
    'fence', ARGV[8], 'state', 'CREATED', 'attempt', '0', 'renewed', digits(now),
    'ok', '0', 'key', ARGV[11], 'kept', ARGV[12] == '' and '0' or '1')
  redis.call('PEXPIRE', KEYS[2], ARGV[10])
  if ARGV[12] ~= '' then
    redis.call('HSET', KEYS[2], 'keep', ARGV[12])
    redis.call('ZADD', KEYS[3], digits(now), ARGV[11])
    redis.call('PEXPIRE', KEYS[3], ARGV[10])
  end
  return {'won', generation, counter}
end

local outcome = standing(KEYS[2], binding, ARGV[5], ARGV[9])
if binding.body ~= ARGV[7] then
  outcome = 'conflict'
elseif outcome == 'mine' then
  binding.fence = math.max(binding.fence, tonumber(ARGV[8]))
elseif outcome == 'lapsed' then
  outcome = 'taken_over'
  binding.owner = ARGV[5]
  binding.fence = math.max(binding.fence + 1, tonumber(ARGV[8]))
end
local keep, result = false, false
if outcome == 'mine' or outcome == 'taken_over' then
  redis.call('HSET', KEYS[2], 'owner', binding.owner, 'fence', digits(binding.fence),
    'renewed', digits(now))
  redis.call('PEXPIRE', KEYS[2], ARGV[10])
  keep = redis.call('HGET', KEYS[2], 'keep')
  if binding.kept == '1' then
    redis.call('ZADD', KEYS[3], digits(now), binding.key)
    redis.call('PEXPIRE', KEYS[3], ARGV[10])
  end
elseif outcome == 'ended' then
  result = redis.call('HGET', KEYS[2], 'result')
end
return {outcome, generation, counter, binding.job, binding.owner, digits(binding.fence),
  binding.state, binding.attempt, binding.ok, binding.body, keep, result}
