-- Open a bucket when all members have published into its generation, or waited long enough.
--
-- ARGV[5]  the generation     ARGV[6]  1 if it is overdue, else 0     ARGV[7..]  the members
--
-- -> 'done', generation, counter, state, the members that have not published
local waits_for = {}
if state == 'frozen' and generation == ARGV[5] then
  for index = 7, #ARGV do
    if redis.call('HEXISTS', KEYS[1], 'p:' .. ARGV[index]) == 0 then
      waits_for[#waits_for + 1] = ARGV[index]
    end
  end
  if ARGV[6] == '1' or #waits_for == 0 then
    redis.call('HSET', KEYS[1], 'state', 'open')
    state = 'open'
  end
end
return {'done', generation, counter, state, waits_for}
