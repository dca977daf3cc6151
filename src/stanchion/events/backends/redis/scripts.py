"""What runs inside Redis, so that it happens as one: nothing else comes between."""

from __future__ import annotations

APPEND = """
local ids = {}
for i = 1, #ARGV, 2 do
  local lane = KEYS[tonumber(ARGV[i])]
  local number = redis.call('HINCRBY', KEYS[1], lane, 1)
  ids[#ids + 1] = redis.call('XADD', lane, '*', number, ARGV[i + 1])
end
return ids
"""
"""Each entry's body under its number in the lane; the first key counts them, the others are the lanes. A call is stored
whole or not at all, as the append-only file is written by whole scripts."""

READ = """
local out, left, share = {}, tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, #KEYS do
  if left <= 0 then break end
  local rows = redis.call('XRANGE', KEYS[i], '(' .. ARGV[i + 2], '+', 'COUNT', math.min(left, share))
  for j = 1, #rows do
    local ms, number = string.match(rows[j][1], '(%d+)-(%d+)')
    local body = rows[j][2][2]
    out[#out + 1] = struct.pack('>I4I8I4I4', i - 1, tonumber(ms), tonumber(number), #body)
    out[#out + 1] = body
  end
  left = left - #rows
end
return table.concat(out)
"""
"""Entries behind the ids, a share of each lane, as one string: many small answers cost the client more than
all else."""

HEADS = """
local heads = {}
for i = 1, #KEYS do
  local id = ''
  if redis.call('EXISTS', KEYS[i]) == 1 then
    local told = redis.call('XINFO', 'STREAM', KEYS[i])
    for j = 1, #told, 2 do if told[j] == 'last-generated-id' then id = told[j + 1] end end
  end
  heads[i] = id
end
return heads
"""
"""The last id that each lane has given, empty where there is no lane yet."""

BEHIND = """
local total = 0
for i = 1, #KEYS do
  local first = redis.call('XRANGE', KEYS[i], ARGV[i], '+', 'COUNT', 1)
  if #first > 0 then
    local last = redis.call('XREVRANGE', KEYS[i], '+', '-', 'COUNT', 1)
    total = total + tonumber(last[1][2][1]) - tonumber(first[1][2][1]) + 1
  end
end
return total
"""
"""How many entries stand behind: by the numbers of the first and of the last one of each lane."""
