-- Registers a sidecar or its next heartbeat, and forgets those that are long gone. In database 0.
-- KEYS round, peers
-- ARGV peer timeout (ms), id, forget after (ms)
-- Returns what look.lua does: a starting sidecar learns of the round before its first write.
local now = clock()
local now_ms = math.floor(now / 1000)
redis.call('ZADD', KEYS[2], text_of(now_ms), ARGV[2])
keep(KEYS[1])
keep(KEYS[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. text_of(now_ms - ARGV[3]))
return tell(KEYS[1], KEYS[2], ARGV[1], now)
