-- One ask of one client for a part of a shared quota. The readable form is memory.py, `TimeLine`: change
-- them together (tests/flow/test_store_redis.py compares them). share.lua goes before this.
--
-- KEYS[1]  hash: next:<resource> = when its time line is free, since = since when this is remembered,
--          at = clock of the last call, share = the share controller's fields (MessagePack),
--          lost, learning = clients that spend on their own, and until when,
--          told, told_until = clients that an older memory knew, and until when they count
-- KEYS[2]  sorted set: client -> until when it is counted
-- ARGV[1]  Rules as JSON, ARGV[2] Ask as JSON. Returns a Lease as JSON.
--
-- Times are microseconds of this server's clock (TIME): clients' clocks do not matter. Keys carry the
-- script's version, so that old and new processes share nothing while a release rolls out; the hash
-- tag keeps both keys on one node of a cluster. All keys expire, so nothing is left behind.

local line, members = KEYS[1], KEYS[2]
local rules, ask = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local SECOND = 1000000
local clock = redis.call('TIME')
local now = clock[1] * SECOND + clock[2]

local state = {}
local fields = redis.call('HGETALL', line)
for i = 1, #fields, 2 do
  state[fields[i]] = tonumber(fields[i + 1])
  if fields[i] == 'share' then share = cmsgpack.unpack(fields[i + 1]) end
end
share = share or new_share()
local changed = {}
local function set(field, value)
  state[field] = value
  changed[field] = value
end

-- A clock that went back: time lines, and what else is dated, go back with it.
local NO_DATE = { lost = true, told = true }
local back = (state.at or now) - now
if back > 0 then
  for field, value in pairs(state) do
    if not NO_DATE[field] then set(field, value - back) end
  end
  for _, field in ipairs({ 'counts_from_s', 'since_s', 'forget_at_s', 'grown_at_s' }) do
    share[field] = share[field] - back / SECOND
  end
  redis.call('DEL', members)
end

-- Which part of the quota is dealt out; calls sent at another pace say nothing about this one
if ask.sent > 0 and math.abs(ask.pace - share.level) <= 1e-9 * share.level then
  note(now / SECOND, ask.sent, ask.refused)
end
local pace = share.level

-- Who shares the quota
redis.call('ZREMRANGEBYSCORE', members, '-inf', now)
if ask.leaving then
  redis.call('ZREM', members, ask.client)
else
  redis.call('ZADD', members, now + rules.active_s * SECOND, ask.client)
end
local present = math.max(1, redis.call('ZCARD', members))

-- Who is not back yet after the store was lost spends on its own: that is not dealt out
local is_learning = now < (state.learning or 0)
if ask.lost_clients > 0 and not is_learning then
  set('learning', now + rules.learning_s * SECOND)
end
if ask.lost_clients > 0 or not is_learning then
  set('lost', math.max(ask.lost_clients, is_learning and state.lost or 0))
end
local spending = math.max(present, state.lost)
local dealt = pace * (1 - rules.alone_share * (1 - present / spending))

local rates = {}
for name, amount in pairs(ask.per_minute) do
  rates[name] = amount / 60 / SECOND * dealt
  local free = (state['next:' .. name] or now) - (ask.returned[name] or 0) / rates[name]
  set('next:' .. name, math.max(now, free))
end

-- What the client knows and we have forgotten: it was answered before our memory begins, or after it ends
if not state.since then
  set('since', now)
  set('at', now)
end
local seen = tonumber(ask.seen) or state.at
if seen > state.at then set('since', now) end
if seen < state.since or seen > state.at then
  local taken_until = now + ask.taken_s * SECOND
  for name in pairs(rates) do
    set('next:' .. name, math.max(state['next:' .. name], taken_until))
  end
  local is_told = now < (state.told_until or 0)
  set('told', math.max(ask.clients, is_told and state.told or 0))
  set('told_until', math.max(state.told_until or 0, taken_until))
end
set('at', now)
local clients = spending
if now < (state.told_until or 0) then clients = math.max(clients, state.told) end

-- Of each resource what is wanted, a chunk at most, but what one call needs at least; a chunk is put
-- at the end of the lines
local batch_us = math.min(rules.batch_s, rules.round_s / clients) * SECOND
local granted, start, own, each = {}, now, 0, 0
for name, units in pairs(ask.want) do
  local least = ask.least[name] or 1
  local batch = math.min(rules.batch_calls * least, rates[name] * batch_us)
  local most = math.max(rates[name] * rules.chunk_s * SECOND / clients, batch)
  most = math.max(least, math.floor(most + 1e-9))
  granted[name] = math.min(units, most)
  own = math.max(own, granted[name] / rates[name])
  each = math.max(each, most / rates[name])
  start = math.max(start, state['next:' .. name])
end
local free = start
for name, units in pairs(granted) do
  local begin = math.max(state['next:' .. name], start - rules.lag_s * SECOND)
  set('next:' .. name, begin + units / rates[name])
  free = math.max(free, state['next:' .. name])
end

if not ask.leaving then
  redis.call('ZADD', members, start + rules.active_s * SECOND, ask.client)
end
local others = start > now and clients - 1 or 0
local arguments = {}
for field, value in pairs(changed) do
  arguments[#arguments + 1] = field
  -- tostring() keeps 14 digits, microseconds have 16
  arguments[#arguments + 1] = string.format('%.0f', value)
end
arguments[#arguments + 1] = 'share'
arguments[#arguments + 1] = cmsgpack.pack(share)
redis.call('HSET', line, unpack(arguments))
local keep_ms = math.ceil((free - now) / 1000 + rules.keep_s * 1000)
redis.call('PEXPIRE', line, keep_ms)
redis.call('PEXPIRE', members, keep_ms)

return cjson.encode({
  granted = granted,
  delay_s = (start - now) / SECOND,
  valid_for_s = rules.valid_s,
  clients = clients,
  pace = pace,
  seen = string.format('%.0f', now),
  taken_s = (own + others * each) / SECOND,
})
