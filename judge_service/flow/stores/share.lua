-- The share controller. Its readable form is flow/share.py, `ShareController`: same fields, same
-- numbers, change them together (tests/flow/test_store_redis.py compares them). Goes before lease.lua.

local TARGET, MIN_CALLS, MIN_SPAN_S, HEAVY, LIKELY, MIN_MIXED = 0.03, 20, 1.0, 0.5, 0.12, 2
local SHORTEST_S, SETTLE_S, Z, DEPTH, FORGET_S, OURS, RANDOM = 0.001, 1.0, 3.0, 0.5, 45.0, -3.5, 5.0
local PATIENCE, HOLD_S, MAX_HOLD_S, STEPS, STEP_S = 1.25, 1.0, 8.0, { 1.05, 1.2, 1.4, 1.8 }, 0.3
local MIN_LEVEL, LARGEST_CUT, FAILED_S, NEVER = 0.002, 0.2, 5.0, math.huge

local share

local function new_share()
  return {
    level = 1, background = 0, counts_from_s = -NEVER, since_s = NEVER, sent = 0, refused = 0, mixed = 0,
    before = 0, after = 0, trial_n = 0, pace = 0, paced_at = 0, share = 0, forget_at_s = NEVER,
    surplus = 0, hold_s = HOLD_S, streak = 0, grown_at_s = -NEVER,
  }
end

local function restart(from_s)
  share.counts_from_s, share.since_s = from_s, NEVER
  share.sent, share.refused, share.surplus, share.mixed = 0, 0, 0, 0
end

local function open(now_s)
  share.since_s, share.sent, share.refused, share.mixed = now_s, 0, 0, 0
end

local function cut(now_s, allowed)
  local refused, before, sent = share.refused / share.sent, share.level, share.sent
  local accepted, pace = before * (1 - refused), sent / math.max(now_s - share.since_s, SHORTEST_S)
  local level = math.min(before, math.max(MIN_LEVEL, LARGEST_CUT * before, accepted / (1 - allowed)))
  local has_failed = now_s - share.grown_at_s < FAILED_S
  share.hold_s = has_failed and math.min(2 * share.hold_s, MAX_HOLD_S) or HOLD_S
  share.streak, share.level = 0, level
  restart(now_s + SETTLE_S)
  if refused <= HEAVY and not has_failed then
    share.pace, share.paced_at = pace, before
    share.before, share.after, share.share, share.trial_n = before, level, refused, sent
    share.level = level * (1 - DEPTH * refused)
    share.since_s = share.counts_from_s
  else
    share.share = 0
  end
end

local function judge(now_s, allowed)
  local sent, refused = share.sent, share.refused
  if sent < MIN_CALLS or (now_s - share.since_s < MIN_SPAN_S and refused < HEAVY * sent) then return end
  local same = math.min(math.max(0.8 * share.share, 1.5 * allowed), 0.9)
  local odds = refused * math.log(same / allowed) + (sent - refused) * math.log((1 - same) / (1 - allowed))
  local saved = 0
  if odds > RANDOM then
    local part = refused / sent
    if part > 1.3 * share.share + 3 * math.sqrt(share.share / sent) then return cut(now_s, allowed) end
    local slowed = (1 + share.level / share.paced_at) / 2
    if part > LIKELY and sent / math.max(now_s - share.since_s, SHORTEST_S) > share.pace * slowed then
      local before = share.before
      cut(now_s, allowed)
      share.before = before
      return
    end
    share.background = math.min((share.share * share.trial_n + refused) / (share.trial_n + sent), HEAVY)
    share.forget_at_s, share.level = now_s + FORGET_S, share.before
  elseif odds < OURS then
    share.level = share.after
    saved = sent * DEPTH * share.share * (1 + SETTLE_S / (now_s - share.since_s))
  else
    return
  end
  share.share = 0
  restart(now_s)
  share.surplus = -math.min(saved, PATIENCE)
end

local function look(now_s, allowed)
  local expected = allowed * share.sent
  if share.refused <= expected then return open(now_s) end
  local is_heavy = share.mixed >= MIN_MIXED and share.refused > HEAVY * share.sent
  if share.sent < MIN_CALLS or (now_s - share.since_s < MIN_SPAN_S and not is_heavy) then return end
  if share.refused - expected > Z * math.sqrt(expected) + 1 then cut(now_s, allowed) end
end

local function grow(now_s, allowed)
  if share.refused > allowed * share.sent then return end
  if share.streak > 0 then
    if now_s - share.grown_at_s < STEP_S or share.surplus < 3 * allowed then return end
  elseif share.surplus < PATIENCE or now_s - share.counts_from_s < share.hold_s then
    return
  end
  share.level = math.min(1, share.level * STEPS[math.min(share.streak + 1, #STEPS)])
  share.streak, share.grown_at_s, share.counts_from_s, share.surplus = share.streak + 1, now_s, now_s, 0
end

local function note(now_s, sent, refused)
  if now_s < share.counts_from_s then return end
  if now_s >= share.forget_at_s then share.background, share.forget_at_s = 0, NEVER end
  local allowed = share.background + TARGET
  if share.since_s == NEVER then
    if refused > 0 then open(now_s) end
  else
    share.sent, share.refused = share.sent + sent, share.refused + refused
    if refused > 0 and refused < sent then share.mixed = share.mixed + 1 end
  end
  local surplus = share.surplus + allowed * sent - refused
  if surplus < 0 then share.streak = 0 end
  share.surplus = math.max(surplus, math.min(share.surplus, 0))
  if share.share > 0 then
    judge(now_s, allowed)
  elseif refused > 0 then
    look(now_s, allowed)
  elseif share.level < 1 then
    grow(now_s, allowed)
  end
end
