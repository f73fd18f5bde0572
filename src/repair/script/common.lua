-- Stands before every other script here.

local function text_of(value) return string.format('%.0f', value) end

-- The server's clock in microseconds; below 2^53, so a number holds it.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Runs in database 0, where round and peers are, and comes back.
local function in_database(target, own, run)
  if target == own then return run() end
  redis.call('SELECT', target)
  local result = run()
  redis.call('SELECT', own)
  return result
end

-- What the round says for a database. Missing (never opened, evicted, flushed) is closed.
local function read_round(key, database, now)
  local read = in_database('0', database, function()
    return redis.call('HMGET', key, 'number', 'until', 'horizon', 'closed',
      'flushed:' .. database, 'flushed:*')
  end)
  local deadline = tonumber(read[2] or 0)
  return {
    number = tonumber(read[1] or 0),
    deadline = deadline,
    horizon = tonumber(read[3] or 0),
    open = not read[4] and now < deadline,
    flushed = math.max(tonumber(read[5] or 0), tonumber(read[6] or 0)),
  }
end

-- Round and peers outlive the last sidecar by so long, in milliseconds: whoever was frozen and comes back within a day still
-- sees that a round was had. Where a server evicts by what expires first, that is late.
local KEEP_MS = 86400000

-- Lets a key end, and not soon; one that is not there stays so. Each second, so only what has come near is replicated.
local function keep(key)
  if redis.call('PTTL', key) < KEEP_MS / 2 then redis.call('PEXPIRE', key, text_of(KEEP_MS)) end
end

-- The marks of a key: {round's number, base, is a delete, deadline, deadline pending, fields}.
-- A stamp below zero was found, one above was written; 0 is none. A pending deadline of -2 is none, -1 is never.
-- A field is its stamp, or {stamp, value} if it is pending, {stamp} if its removal is.
local NONE, NEVER = -2, -1

local function load_marks(marks, key, number)
  local packed = redis.call('HGET', marks, key)
  local read = packed and cmsgpack.unpack(packed)
  -- Those of an earlier round mean nothing: they may stand on another primary's clock.
  if not read or read[1] ~= number then read = {number, 0, 0, 0, NONE} end
  read[6] = read[6] or {}
  return read
end

local function save_marks(marks, key, mark, deadline)
  if next(mark[6]) == nil then mark[6] = nil end
  local is_new = redis.call('HSET', marks, key, cmsgpack.pack(mark)) == 1
  -- In a database that the opener did not know, the hash may be one of an earlier round, which ends sooner.
  local is_short = is_new and redis.call('PTTL', marks) < (deadline - clock()) / 1000 - 1000
  if is_short then redis.call('PEXPIREAT', marks, text_of(math.ceil(deadline / 1000))) end
end

local function stamp_of(field)
  if type(field) == 'table' then field = field[1] end
  return math.abs(field or 0)
end

local function is_written(field)
  if type(field) == 'table' then field = field[1] end
  return (field or 0) > 0
end

-- Drops the marks that a base of this stamp replaces.
local function set_base(mark, stamp, is_delete, written)
  for name, field in pairs(mark[6]) do
    if stamp_of(field) <= stamp then mark[6][name] = nil end
  end
  if math.abs(mark[4]) <= stamp then mark[4], mark[5] = 0, NONE end
  mark[2], mark[3] = written and stamp or -stamp, is_delete and 1 or 0
end
