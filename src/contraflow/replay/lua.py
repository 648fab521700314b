"""The admission script, run inside the server so that insert and trim are one step for all writers."""

from __future__ import annotations

# KEYS: zset id -> priority, hash id -> payload.
# ARGV: capacity, near-duplicate threshold, first bytes of every valid payload; then id, priority, payload for
# each question. Returns how many entered. It repeats `selection.admit`, and adds one rule for what another
# program may have planted: an entry that cannot be read loses to any that can.
ADMIT = """
local z, h = KEYS[1], KEYS[2]
local capacity, threshold, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local function tokens(payload)
  if not payload or payload:sub(1, #prefix) ~= prefix then return nil end
  local ok, head = pcall(cmsgpack.unpack, payload)
  local body = ok and type(head) == 'table' and head[3]
  local ids = type(body) == 'table' and body.question_ids
  return type(ids) == 'table' and ids or nil
end

local function near(a, b)
  local longest = math.max(#a, #b)
  if longest == 0 then return threshold > 0 end
  local count, common = {}, 0
  for _, x in ipairs(a) do count[x] = (count[x] or 0) + 1 end
  for _, y in ipairs(b) do
    if (count[y] or 0) > 0 then count[y], common = count[y] - 1, common + 1 end
  end
  if (longest - common) / longest >= threshold then return false end
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local previous, least = row, i
    row = {[0] = i}
    for j = 1, #b do
      local change = a[i] == b[j] and 0 or 1
      row[j] = math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + change)
      least = math.min(least, row[j])
    end
    if least / longest >= threshold then return false end
  end
  return row[#b] / longest < threshold
end

local payloads, fields = {}, redis.call('HGETALL', h)
for i = 1, #fields, 2 do payloads[fields[i]] = fields[i + 1] end
local stored, size, scores = {}, 0, redis.call('ZRANGE', z, 0, -1, 'WITHSCORES')
for i = 1, #scores, 2 do
  local known = tokens(payloads[scores[i]])
  stored[scores[i]] = {tokens = known, priority = known and tonumber(scores[i + 1]) or -math.huge}
  size = size + 1
end

local function worst()
  local found
  for id, entry in pairs(stored) do
    local other = stored[found]
    if not other or entry.priority < other.priority
        or (entry.priority == other.priority and id > found) then found = id end
  end
  return found
end

local function remove(id)
  redis.call('ZREM', z, id)
  redis.call('HDEL', h, id)
  stored[id], size = nil, size - 1
end

local admitted = 0
for i = 4, #ARGV, 3 do
  local id, priority, payload = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local mine, twins, enters = tokens(payload), {}, true
  for other, old in pairs(stored) do
    if other == id or (old.tokens and near(mine, old.tokens)) then
      twins[#twins + 1] = other
      if old.priority >= priority then enters = false break end
    end
  end
  if enters and #twins == 0 and size >= capacity then enters = stored[worst()].priority < priority end
  if enters then
    for _, other in ipairs(twins) do remove(other) end
    redis.call('ZADD', z, ARGV[i + 1], id)
    redis.call('HSET', h, id, payload)
    stored[id], size = {tokens = mine, priority = priority}, size + 1
    while size > capacity do remove(worst()) end
    admitted = admitted + 1
  end
end
return admitted
"""
