-- Repairs one key by one sidecar's record: the table of repair/decide.rs, in one step.
-- KEYS round, marks, key
-- ARGV database, base, fields, touch:
--   base    - | d stamp inherited | s|o stamp inherited deadline value | h stamp inherited deadline count (name value) ...
--   fields  count (name stamp inherited s|r value) ...
--   touch   0 | stamp inherited deadline only_extends
-- Returns {is the round open, verdict of the base, of the touch, of each field in turn}, -1 for what was not given.
local SURVIVED, REPAIRED, DELETED, SUPERSEDED, PENDING, EXPIRED, LATE, UNCHECKED, REFUSED = 0, 1, 2, 3, 4, 5, 6, 7, 8

local database, key = ARGV[1], KEYS[3]
local now = clock()
local now_ms = math.floor(now / 1000)
local round = read_round(KEYS[1], database, now)
local mark = load_marks(KEYS[2], key, round.number)
local marked = false
local kind = redis.call('TYPE', key).ok

local cursor = 1
local function take()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function number() return tonumber(take()) end

local function is_past(deadline) return deadline >= 0 and deadline <= now_ms end
local function is_same_deadline(one, other)
  if one == NEVER or other == NEVER then return one == other end
  return math.abs(one - other) <= 1000
end

local function deadline_there()
  local left = redis.call('PTTL', key)
  return left < 0 and left or now_ms + left
end

-- A verdict without looking at the key; 'leave' and nil go on.
local function judge(own, covers, disturbed)
  local late = own.inherited and UNCHECKED or LATE
  if not round.open then return late end
  if own.stamp < round.flushed then return SUPERSEDED end
  if own.stamp < round.horizon then return late end
  if covers >= own.stamp then return SUPERSEDED end
  return own.inherited and not disturbed and 'leave' or nil
end

-- Deletes the key if it is there; what is newer than the stamp in it becomes pending.
local function finish(stamp)
  if kind == 'none' then return false end
  for name, field in pairs(mark[6]) do
    if type(field) == 'number' and stamp_of(field) > stamp then
      local value = kind == 'hash' and redis.call('HGET', key, name)
      mark[6][name] = value and {field, value} or {field}
    end
  end
  if math.abs(mark[4]) > stamp and mark[5] == NONE then mark[5] = deadline_there() end
  redis.call('UNLINK', key)
  kind = 'none'
  return true
end

-- Returns what is newer by field: what is pending, else what the key has there; false for none.
local function newer_fields(stamp)
  local newer = {}
  for name, field in pairs(mark[6]) do
    if stamp_of(field) > stamp then
      local value
      if type(field) == 'table' then
        value = field[2]
      elseif kind == 'hash' then
        value = redis.call('HGET', key, name)
      end
      newer[name] = value or false
    end
  end
  return newer
end

-- Puts what is newer into a table of fields.
local function with_newer_fields(stamp, fields)
  for name, value in pairs(newer_fields(stamp)) do
    fields[name] = value or nil
  end
  return next(fields) ~= nil
end

-- What was pending and newer is in the key now.
local function applied(stamp)
  for name, field in pairs(mark[6]) do
    if stamp_of(field) > stamp then mark[6][name] = stamp_of(field) end
  end
  if math.abs(mark[4]) > stamp then mark[4], mark[5] = math.abs(mark[4]), NONE end
end

local function same_fields(fields)
  if kind ~= 'hash' then return false end
  local there, count = redis.call('HGETALL', key), 0
  for i = 1, #there, 2 do
    if fields[there[i]] ~= there[i + 1] then return false end
  end
  for _ in pairs(fields) do count = count + 1 end
  return count * 2 == #there
end

-- unpack() has room for some thousand values.
local function put_fields(fields, deadline)
  if kind ~= 'none' then redis.call('UNLINK', key) end
  local chunk = {}
  for name, value in pairs(fields) do
    chunk[#chunk + 1], chunk[#chunk + 2] = name, value
    if #chunk >= 1000 then
      redis.call('HSET', key, unpack(chunk))
      chunk = {}
    end
  end
  if #chunk > 0 then redis.call('HSET', key, unpack(chunk)) end
  if deadline ~= NEVER then redis.call('PEXPIREAT', key, text_of(deadline)) end
  kind = 'hash'
end

local function put_string(value, deadline)
  if deadline == NEVER then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PXAT', text_of(deadline))
  end
  kind = 'string'
end

-- One of a hash is a hash from here on.
local function put_payload(value, deadline, newer)
  local ttl = deadline == NEVER and '0' or text_of(deadline)
  local reply = redis.pcall('RESTORE', key, ttl, value, 'REPLACE', 'ABSTTL')
  if type(reply) == 'table' and reply.err then return false end
  kind = redis.call('TYPE', key).ok
  for name, value in pairs(newer) do
    if kind == 'hash' then
      if value then redis.call('HSET', key, name, value) else redis.call('HDEL', key, name) end
    end
  end
  if next(newer) ~= nil then kind = redis.call('TYPE', key).ok end
  return true
end

-- Returns the verdict and whether the key was changed.
local function put_back(own)
  local deadline = own.deadline
  if math.abs(mark[4]) > own.stamp then
    if mark[5] ~= NONE then
      deadline = mark[5]
    elseif kind ~= 'none' then
      deadline = deadline_there()
    end
  end
  if is_past(deadline) then return EXPIRED, finish(own.stamp) end
  local same, filled = false, true
  if own.kind == 'h' then
    filled = with_newer_fields(own.stamp, own.value)
    same = filled and same_fields(own.value) or not filled and kind == 'none'
  elseif own.kind == 's' then
    same = kind == 'string' and redis.call('GET', key) == own.value
  else
    same = kind ~= 'none' and redis.call('DUMP', key) == own.value
  end
  if same and (not filled or is_same_deadline(deadline, deadline_there())) then
    if filled then applied(own.stamp) end
    return SURVIVED, false
  end
  if not filled then
    redis.call('UNLINK', key)
    kind = 'none'
    return REPAIRED, true
  end
  if own.kind == 'h' then
    put_fields(own.value, deadline)
  elseif own.kind == 's' then
    put_string(own.value, deadline)
  elseif not put_payload(own.value, deadline, newer_fields(own.stamp)) then
    return REFUSED, false
  end
  applied(own.stamp)
  return REPAIRED, true
end

-- Deletes the key, but for a hash in which all was set later: that loses the older one's deadline only.
local function delete_again(stamp)
  if kind ~= 'hash' or next(mark[6]) == nil then return finish(stamp) end
  for _, name in ipairs(redis.call('HKEYS', key)) do
    local field = mark[6][name]
    if type(field) ~= 'number' or stamp_of(field) <= stamp then return finish(stamp) end
  end
  return math.abs(mark[4]) <= stamp and redis.call('PERSIST', key) == 1
end

local function take_base()
  local own = {kind = take()}
  if own.kind == '-' then return nil end
  own.stamp, own.inherited = number(), take() == '1'
  if own.kind == 'd' then return own end
  own.deadline = number()
  if own.kind ~= 'h' then
    own.value = take()
    return own
  end
  own.value = {}
  for _ = 1, number() do
    local name = take()
    own.value[name] = take()
  end
  return own
end

local function repair_base(own)
  local disturbed = mark[2] > 0 or mark[4] > 0 and mark[4] < own.stamp
  for _, field in pairs(mark[6]) do
    disturbed = disturbed or is_written(field) and stamp_of(field) < own.stamp
  end
  local verdict = judge(own, math.abs(mark[2]), disturbed)
  local changed = false
  if verdict == 'leave' then
    verdict = SURVIVED
  elseif verdict then
    return verdict
  elseif own.kind == 'd' then
    changed = delete_again(own.stamp)
    verdict = changed and DELETED or SURVIVED
  else
    verdict, changed = put_back(own)
    if verdict == REFUSED then return verdict end
  end
  set_base(mark, own.stamp, own.kind == 'd', changed or disturbed)
  marked = true
  return verdict
end

local function take_fields()
  local fields = {}
  for i = 1, number() do
    local own = {name = take(), stamp = number(), inherited = take() == '1'}
    own.set = take() == 's'
    own.value = take()
    fields[i] = own
  end
  return fields
end

local function covers_field(name)
  local field = mark[6][name]
  return math.max(math.abs(mark[2]), stamp_of(field)), mark[2] > 0 or is_written(field)
end

-- Whether the key is as the write left it. An absent one lacks the field.
local function has_field(own)
  if kind ~= 'hash' then return not own.set and kind == 'none' end
  local there = redis.call('HGET', key, own.name)
  return own.set and there == own.value or not own.set and not there
end

-- Returns verdict, whether the key was changed, whether the write stays pending.
local function restore_field(own)
  if has_field(own) then return SURVIVED, false, kind == 'none' end
  if kind ~= 'hash' then return PENDING, false, true end
  if own.set then
    redis.call('HSET', key, own.name, own.value)
  else
    redis.call('HDEL', key, own.name)
    if redis.call('EXISTS', key) == 0 then kind = 'none' end
  end
  return REPAIRED, true, false
end

local function repair_field(own)
  local covers, disturbed = covers_field(own.name)
  local verdict = judge(own, covers, disturbed)
  local changed, pending = false, false
  if verdict == 'leave' then
    verdict, pending = SURVIVED, not has_field(own)
  elseif verdict then
    return verdict
  else
    verdict, changed, pending = restore_field(own)
  end
  local stamp = (changed or disturbed) and own.stamp or -own.stamp
  mark[6][own.name] = pending and {stamp, own.set and own.value or nil} or stamp
  marked = true
  return verdict
end

-- Whether the key has the deadline, or one that must not be shortened to it.
local function has_deadline(own)
  if kind == 'none' then return false end
  local there = deadline_there()
  local extends = there ~= NEVER and (own.deadline == NEVER or there < own.deadline)
  return is_same_deadline(there, own.deadline) or own.only_extends and not extends
end

-- Returns verdict, whether the key was changed, whether the deadline stays pending.
local function restore_deadline(own)
  if kind == 'none' then return is_past(own.deadline) and EXPIRED or PENDING, false, true end
  if has_deadline(own) then return SURVIVED, false, false end
  if is_past(own.deadline) then
    finish(own.stamp)
    return EXPIRED, true, true
  end
  if own.deadline == NEVER then
    redis.call('PERSIST', key)
  else
    redis.call('PEXPIREAT', key, text_of(own.deadline))
  end
  return REPAIRED, true, false
end

local function repair_touch()
  local own = {stamp = number()}
  if own.stamp == 0 then return -1 end
  own.inherited, own.deadline, own.only_extends = take() == '1', number(), take() == '1'
  local disturbed = mark[2] > 0 or mark[4] > 0
  local verdict = judge(own, math.max(math.abs(mark[2]), math.abs(mark[4])), disturbed)
  local changed, pending = false, false
  if verdict == 'leave' then
    verdict, pending = SURVIVED, not has_deadline(own)
  elseif verdict then
    return verdict
  else
    verdict, changed, pending = restore_deadline(own)
  end
  mark[4] = (changed or disturbed) and own.stamp or -own.stamp
  mark[5] = pending and own.deadline or NONE
  marked = true
  return verdict
end

local base = take_base()
local reply = {round.open and 1 or 0, base and repair_base(base) or -1}
local fields = take_fields()
-- Removing the last field first would leave the others without a key.
for i, own in ipairs(fields) do
  if own.set then reply[i + 3] = repair_field(own) end
end
for i, own in ipairs(fields) do
  if not own.set then reply[i + 3] = repair_field(own) end
end
reply[3] = repair_touch()
if marked then save_marks(KEYS[2], key, mark, round.deadline) end
return reply
