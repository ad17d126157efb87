-- What every script about a bucket does first; its text comes before theirs.
--
-- KEYS[1]  the bucket
-- ARGV[1]  the asker's member name   ARGV[2]  this primary's reign
-- ARGV[3]  the generation and        ARGV[4]  the counter that the asker has seen
--
-- Raises the asker's counter.  A bucket that was made in another reign, that nobody touched for
-- too long, or that counts fewer calls of the asker than it has seen, has forgotten something:
-- it is removed, so that it will be frozen under a new generation.
local GAP_MS = 300000
local MEMBERS_MAX = 1024

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local generation, counter, state = '', 0, 'missing'

local function digits(number)
  return string.format('%.0f', number)
end

local row = redis.call('HMGET', KEYS[1], 'generation', 'state', 'seen', 'members', 'c:' .. ARGV[1])
if row[1] then
  local called = tonumber(row[5] or '0')
  local members = tonumber(row[4])
  if string.sub(row[1], 1, #ARGV[2] + 1) ~= ARGV[2] .. ':'
    or now - tonumber(row[3]) > GAP_MS
    or (ARGV[3] == row[1] and called < tonumber(ARGV[4]))
    or (called == 0 and members >= MEMBERS_MAX) then
    redis.call('DEL', KEYS[1])
  else
    generation, state, counter = row[1], row[2], called + 1
    if called == 0 then
      members = members + 1
    end
    redis.call('HSET', KEYS[1], 'seen', digits(now), 'members', members,
      'c:' .. ARGV[1], digits(counter))
  end
end
local open = state == 'open' and (ARGV[3] == '' or ARGV[3] == generation)

-- What a binding is to the asker: ended, mine, lapsed or follows.
local function standing(name, binding, owner, lease_ms)
  if binding.state == 'FINISHED' or binding.state == 'RELEASED' then
    return 'ended'
  end
  if binding.owner == owner then
    return 'mine'
  end
  if tonumber(binding.renewed) > now then
    -- The clock went back: the lease begins again, rather than last until it is caught up.
    redis.call('HSET', name, 'renewed', digits(now))
    return 'follows'
  end
  if now - tonumber(binding.renewed) >= tonumber(lease_ms) then
    return 'lapsed'
  end
  return 'follows'
end

local function read(name)
  local found = redis.call('HMGET', name,
    'job', 'body', 'owner', 'fence', 'state', 'attempt', 'renewed', 'ok', 'key', 'kept')
  if not found[1] then
    return nil
  end
  return {
    job = found[1], body = found[2], owner = found[3], fence = tonumber(found[4]),
    state = found[5], attempt = found[6], renewed = found[7], ok = found[8],
    key = found[9], kept = found[10],
  }
end
