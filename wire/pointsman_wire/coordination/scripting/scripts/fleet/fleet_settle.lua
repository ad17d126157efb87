-- Make settings the fleet's, unless newer ones stand; whose rule is the leader.
--
-- KEYS[1]  settings   KEYS[2]  leader
-- ARGV[1]  name       ARGV[2]  version   ARGV[3]  settings
-- ARGV[4]  ms to live: settings          ARGV[5]  leader
--
-- -> 'done' | 'behind'
local version = redis.call('HGET', KEYS[1], 'version')
if version and tonumber(version) >= tonumber(ARGV[2]) then
  return {'behind'}
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'by', ARGV[1], 'blob', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('HSET', KEYS[2], 'name', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return {'done'}
