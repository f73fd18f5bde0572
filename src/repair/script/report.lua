-- Reports that a sidecar has repaired all its records (reported), or all but those that it acknowledged without the primary
-- (checked); the last live peer closes the round, and so does who comes past its end. In database 0.
-- KEYS round, peers, marks
-- ARGV peer timeout (ms), id, number of the round, reported | checked, database ...
-- Returns what look.lua does.
local now = clock()
local read = redis.call('HMGET', KEYS[1], 'number', 'until', 'closed')
if read[1] == ARGV[3] and not read[3] then
  redis.call('HSET', KEYS[1], ARGV[4] .. ':' .. ARGV[2], '1')
  if now >= tonumber(read[2]) or #missing_peers(KEYS[1], KEYS[2], ARGV[1]) == 0 then
    redis.call('HSET', KEYS[1], 'closed', text_of(now))
    drop_marks(KEYS[3], 5)
  end
end
return tell(KEYS[1], KEYS[2], ARGV[1], now)
