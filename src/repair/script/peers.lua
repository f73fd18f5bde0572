-- Stands between common.lua and the scripts that read the peers.

-- Live peers that have not reported. Alive is who beat within the timeout of the newest beat: during the failover nobody could.
local function missing_peers(round, peers, timeout)
  local newest = redis.call('ZREVRANGE', peers, 0, 0, 'WITHSCORES')
  if not newest[1] then return {} end
  local live = redis.call('ZRANGEBYSCORE', peers, text_of(newest[2] - timeout), '+inf')
  local missing = {}
  for _, id in ipairs(live) do
    if redis.call('HEXISTS', round, 'reported:' .. id) == 0 then missing[#missing + 1] = id end
  end
  return missing
end

-- {now, number, is open, opened, until, horizon, replid, missing peers ...}; a + stands before those that have checked.
local function tell(round, peers, timeout, now)
  local read = redis.call('HMGET', round, 'number', 'opened', 'until', 'horizon', 'replid', 'closed')
  local open = read[3] and not read[6] and now < tonumber(read[3])
  local reply = {
    now, tonumber(read[1] or 0), open and 1 or 0, tonumber(read[2] or 0), tonumber(read[3] or 0),
    tonumber(read[4] or 0), read[5] or '',
  }
  for _, id in ipairs(missing_peers(round, peers, timeout)) do
    local has_checked = redis.call('HEXISTS', round, 'checked:' .. id) == 1
    reply[#reply + 1] = has_checked and '+' .. id or id
  end
  return reply
end

local function drop_marks(marks, first)
  for i = first, #ARGV do
    in_database(ARGV[i], '0', function() return redis.call('UNLINK', marks) end)
  end
end
