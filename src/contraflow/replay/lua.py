"""The admission script: it runs inside the server, so that insert and trim are atomic."""

from __future__ import annotations

# KEYS: zset id -> priority, hash id -> payload. ARGV: capacity, near-duplicate threshold, what is
# compared (tokens or embedding), first bytes of every valid payload; then id, priority, payload of
# each question. Returns how many were admitted. It repeats `selection.admit` and adds one rule for
# entries that another program may have planted: an unreadable entry loses to any readable one.
ADMIT = """
local z, h = KEYS[1], KEYS[2]
local capacity, threshold, by, prefix = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- What a payload is compared by: its tokens or its vector (false if it has none);
-- nil if it cannot be read.
local function shape(payload)
  if not payload or payload:sub(1, #prefix) ~= prefix then return nil end
  local ok, head = pcall(cmsgpack.unpack, payload)
  local body = ok and type(head) == 'table' and head[3]
  local ids = type(body) == 'table' and body.question_ids
  if type(ids) ~= 'table' then return nil end
  local prior = body.log_prior
  if type(prior) ~= 'table' or #prior ~= #ids + 1 then return nil end
  for _, x in ipairs(ids) do
    if type(x) ~= 'number' or x < 0 or x >= 2147483648 then return nil end
  end
  if by == 'embedding' then ids = head[4] return type(ids) == 'table' and #ids > 0 and ids end
  return ids
end

local function dot(a, b)
  local sum = 0
  for i, x in ipairs(a) do sum = sum + x * b[i] end
  return sum
end

local function near_vectors(a, b)
  if not a or not b or #a ~= #b then return false end
  local squares = dot(a, a) * dot(b, b)
  return squares > 0 and 1 - dot(a, b) / math.sqrt(squares) < threshold
end

local function near_tokens(a, b)
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

local near = by == 'embedding' and near_vectors or near_tokens
local payloads, fields = {}, redis.call('HGETALL', h)
for i = 1, #fields, 2 do payloads[fields[i]] = fields[i + 1] end
local stored, size, scores = {}, 0, redis.call('ZRANGE', z, 0, -1, 'WITHSCORES')
for i = 1, #scores, 2 do
  local known, priority = shape(payloads[scores[i]]), tonumber(scores[i + 1])
  if priority == nil or priority == math.huge or priority == -math.huge then known = nil end
  stored[scores[i]] = {shape = known, priority = known == nil and -math.huge or priority}
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
for i = 5, #ARGV, 3 do
  local id, priority, payload = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local mine, twins, enters = shape(payload), {}, true
  for other, old in pairs(stored) do
    if other == id or (old.shape and near(mine, old.shape)) then
      twins[#twins + 1] = other
      if old.priority >= priority then enters = false break end
    end
  end
  if enters and #twins == 0 and size >= capacity then
    enters = stored[worst()].priority < priority
  end
  if enters then
    for _, other in ipairs(twins) do remove(other) end
    redis.call('ZADD', z, ARGV[i + 1], id)
    redis.call('HSET', h, id, payload)
    stored[id], size = {shape = mine, priority = priority}, size + 1
    while size > capacity do remove(worst()) end
    admitted = admitted + 1
  end
end
return admitted
"""
