-- Marks writes of the app, in MULTI in front of them.
-- KEYS round, marks, key ...
-- ARGV database, dispatch, then: value | delete | touch deadline (-1: never) | fields name ...
-- Returns {1, the stamp that each key's write has now ...}, or {0} if the round is closed: then the dispatch stands.
local now = clock()
local round = read_round(KEYS[1], ARGV[1], now)
if not round.open then return {0} end

-- What the write must outrank: all that it replaces, and the base.
local function replaced(mark, kind)
  local highest = math.abs(mark[2])
  if kind ~= 'fields' then highest = math.max(highest, math.abs(mark[4])) end
  if kind == 'fields' then
    for i = 4, #ARGV do highest = math.max(highest, stamp_of(mark[6][ARGV[i]])) end
  elseif kind ~= 'touch' then
    for _, field in pairs(mark[6]) do highest = math.max(highest, stamp_of(field)) end
  end
  return highest
end

local kind, reply = ARGV[3], {1}
for i = 3, #KEYS do
  local key = KEYS[i]
  local mark = load_marks(KEYS[2], key, round.number)
  local stamp = math.max(tonumber(ARGV[2]), replaced(mark, kind) + 1)
  if kind == 'fields' then
    for j = 4, #ARGV do mark[6][ARGV[j]] = stamp end
  elseif kind == 'touch' then
    -- An EXPIRE that will answer 0 is for whoever puts the key back.
    local there = redis.call('EXISTS', key) == 1
    mark[4], mark[5] = stamp, there and NONE or tonumber(ARGV[4])
  else
    set_base(mark, stamp, kind == 'delete', true)
  end
  save_marks(KEYS[2], key, mark, round.deadline)
  reply[#reply + 1] = stamp
end
return reply
