-- Opens the round of a replid, or joins the one that is open. In database 0.
-- KEYS round, peers, marks
-- ARGV peer timeout (ms), replid, switched | returned, window (ms), horizon (stamp), database ...
-- A replid has one round, unless a failover was called off and its primary is returned to.
-- Returns what look.lua does.
local now = clock()
local read = redis.call('HMGET', KEYS[1], 'replid', 'until', 'closed', 'number')
local is_same = read[1] == ARGV[2]
local is_over = read[3] or now >= tonumber(read[2] or 0)
if not is_same or is_over and ARGV[3] == 'returned' then
  redis.call('UNLINK', KEYS[1])
  redis.call('HSET', KEYS[1], 'replid', ARGV[2], 'number', text_of((read[4] or 0) + 1), 'opened', text_of(now),
    'until', text_of(now + ARGV[4] * 1000), 'horizon', ARGV[5])
  keep(KEYS[1])
  drop_marks(KEYS[3], 6)
end
return tell(KEYS[1], KEYS[2], ARGV[1], now)
