-- Claim the own name, lead if nobody does, and read who lives and what they show.
--
-- KEYS[1]  names         KEYS[2]  leader       KEYS[3]  settings
-- KEYS[4]  own presence  KEYS[5]  own nodes    then of each known instance: presence, nodes
-- ARGV[1]  name          ARGV[2]  uid          ARGV[3]  version of the settings that are had
-- ARGV[4]  ms to live: presence    [5] leader   [6] settings   [7] a name   ARGV[8]  names at most
-- then for each wanted part: the number of the known instance, the field
--
-- -> holder, leader, count of own parts, names, own presence, presences, parts,
--    version, author and blob of the settings
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local holder = redis.call('HGET', KEYS[4], 'uid')
if not holder then
  holder = ARGV[2]
  redis.call('HSET', KEYS[4], 'uid', holder)
end
if holder == ARGV[2] then
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[7]))
  redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[8])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  local leader = redis.call('HGET', KEYS[2], 'name')
  if not leader or leader == ARGV[1] then
    redis.call('HSET', KEYS[2], 'name', ARGV[1])
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
  end
end
redis.call('PEXPIRE', KEYS[3], ARGV[6])
local presences = {}
for at = 6, #KEYS, 2 do
  presences[#presences + 1] = redis.call('HGET', KEYS[at], 'blob')
end
local parts = {}
for at = 9, #ARGV, 2 do
  parts[#parts + 1] = redis.call('HGET', KEYS[5 + 2 * ARGV[at]], ARGV[at + 1])
end
local settings = redis.call('HMGET', KEYS[3], 'version', 'by')
local blob = false
if settings[1] and settings[1] ~= ARGV[3] then
  blob = redis.call('HGET', KEYS[3], 'blob')
end
return {
  holder, redis.call('HGET', KEYS[2], 'name'), redis.call('HLEN', KEYS[5]),
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '+inf'), redis.call('HGET', KEYS[4], 'blob'), presences, parts,
  settings[1], settings[2], blob,
}
