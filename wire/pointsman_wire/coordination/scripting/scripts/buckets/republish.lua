-- Publish bindings of one bucket again.
--
-- KEYS[2]  the bucket's kept bindings    KEYS[3..]  the bindings
-- ARGV[5]  owner                         ARGV[6]    the generation
-- ARGV[7]  1 if these were the last      ARGV[8]    how long a binding lives, ms
-- ARGV[9..] for each binding twelve: packed key, job id, body, fence, state, attempt, ok,
--           window in ms, 1 if keep follows, keep, 1 if a result follows, result
--
-- -> outcome, generation, counter, for each binding 'l' (lost) or '.', in one text
local FIELDS = 12
if state == 'missing' or generation ~= ARGV[6] then
  return {'behind', generation, counter, ''}
end

-- 'write' it, 'leave' what is there, or it is 'lost'.
local function verdict(stored, job, fence)
  if not stored then
    return 'write'
  end
  if stored.job ~= job or stored.fence > fence
    or (stored.fence == fence and stored.owner ~= ARGV[5]) then
    return 'lost'
  end
  if stored.state == 'FINISHED' or stored.state == 'RELEASED' then
    return 'leave'
  end
  return 'write'
end

local function write(name, at)
  local ended = ARGV[at + 4] == 'FINISHED' or ARGV[at + 4] == 'RELEASED'
  local kept = ARGV[at + 8] == '1' and not ended
  redis.call('DEL', name)
  redis.call('HSET', name, 'key', ARGV[at], 'job', ARGV[at + 1], 'body', ARGV[at + 2],
    'owner', ARGV[5], 'fence', ARGV[at + 3], 'state', ARGV[at + 4], 'attempt', ARGV[at + 5],
    'renewed', digits(now), 'ok', ARGV[at + 6], 'kept', kept and '1' or '0')
  if kept then
    redis.call('HSET', name, 'keep', ARGV[at + 9])
    redis.call('ZADD', KEYS[2], digits(now), ARGV[at])
    redis.call('PEXPIRE', KEYS[2], ARGV[8])
  else
    redis.call('ZREM', KEYS[2], ARGV[at])
  end
  if ARGV[at + 10] == '1' then
    redis.call('HSET', name, 'result', ARGV[at + 11])
  end
  redis.call('PEXPIRE', name, ended and ARGV[at + 7] or ARGV[8])
end

local found = {}
for index = 3, #KEYS do
  local at = 9 + (index - 3) * FIELDS
  local what = verdict(read(KEYS[index]), ARGV[at + 1], tonumber(ARGV[at + 3]))
  if what == 'write' then
    write(KEYS[index], at)
  end
  found[index - 2] = what == 'lost' and 'l' or '.'
end
if ARGV[7] == '1' then
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[1], '1')
end
return {'done', generation, counter, table.concat(found)}
