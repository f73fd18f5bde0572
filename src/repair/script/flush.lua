-- Flushes as the app asked, and writes down when: nothing that was written before comes back. In the app's database.
-- KEYS round, peers
-- ARGV database, FLUSHDB | FLUSHALL, then nothing, or ASYNC, or SYNC
-- Returns the flush's own reply.
local database = ARGV[1]
local function here(run) return in_database('0', database, run) end
local round = here(function() return redis.call('HGETALL', KEYS[1]) end)
local peers = here(function() return redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES') end)
local flush = {ARGV[2]}
flush[2] = ARGV[3]
local reply = redis.call(unpack(flush))
here(function()
  redis.call('UNLINK', KEYS[1], KEYS[2])
  if #round > 0 then
    redis.call('HSET', KEYS[1], unpack(round))
    local name = ARGV[2] == 'FLUSHALL' and '*' or database
    redis.call('HSET', KEYS[1], 'flushed:' .. name, text_of(clock()))
  end
  for i = 1, #peers, 2 do redis.call('ZADD', KEYS[2], peers[i + 1], peers[i]) end
  keep(KEYS[1])
  keep(KEYS[2])
end)
return reply
