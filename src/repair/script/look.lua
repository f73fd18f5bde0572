-- Reads the round and the peers. In database 0.
-- KEYS round, peers
-- ARGV peer timeout (ms)
-- Returns {now, number, is open, opened, until, horizon, replid, live peers that have not reported ...}
return tell(KEYS[1], KEYS[2], ARGV[1], clock())
