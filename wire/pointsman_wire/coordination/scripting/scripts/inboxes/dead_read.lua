-- Look at dead letters, the newest first.
--
-- KEYS[1]  the dead letters
-- ARGV[1]  the id of one, or ''     ARGV[2]  how many at most
-- ARGV[3]  how many bytes of each, where no id is given
--
-- -> 'done', how many there are in all, the clock in ms, {id, why, its size, its bytes}...
local clock = redis.call('TIME')
local rows
if ARGV[1] ~= '' then
  rows = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
else
  rows = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
end
local reply = {'done', redis.call('XLEN', KEYS[1]), clock[1] * 1000 + math.floor(clock[2] / 1000)}
for _, row in ipairs(rows) do
  local why, blob = row[2][2], row[2][4]
  local shown = blob
  if ARGV[1] == '' then
    shown = string.sub(blob, 1, tonumber(ARGV[3]))
  end
  reply[#reply + 1] = {row[1], why, #blob, shown}
end
return reply
