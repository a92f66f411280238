-- STORE: lands only under the lease that was granted and the tokens that were read; idempotent.
-- KEYS  1 entry  2 lease  3 clock  4 index of the key's entries  5 namespace token  6.. static (n with it), then dynamic, sorted,
--       then the holds of the dynamic ones
-- ARGV  1 lease  2 static digest  3 head and body  4 ttl ms (0: for ever)  5 settle ms  6 n  7 nonce  8 life ms of an unused token
--       9 entry id  10 greatest number of variants (0: the variant is closed)  11 how many tokens
-- An entry is: static digest, dynamic digest or dashes, digest of the tokens' origins, f or t, head and body.
-- Answers  {1, ttl, victim to unlink} stored | {0} lease lost | {-1} cleared meanwhile | {-2} a dynamic token is younger than the ticket
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return {0} end
redis.call('DEL', KEYS[2])
local function us_of(token) return tonumber(string.match(token, '^%w*:%x+:(%d+)$') or string.match(token, '^:%x+:(%d+)~%x+:%d+$') or '') end
local function origin_of(token) return string.match(token, '^:(%x+:%d+)$') or string.match(token, '^:%x+:%d+~(%x+:%d+)$') or token end
local n, m, seq, began = tonumber(ARGV[6]), tonumber(ARGV[11]), string.match(ARGV[1], ':(%d+):(%d+)$'); seq, began = tonumber(seq), tonumber(began)
local tok = redis.call('MGET', KEYS[3], unpack(KEYS, 5, 4 + m))
local clock, newest, stamp, young = tonumber(table.remove(tok, 1) or ''), 0, nil, false
for i = 1, n do if not tok[i] then return {-1} end end
if redis.sha1hex(table.concat(tok, ' ', 1, n)) ~= ARGV[2] then return {-1} end
for i = 1, #tok do
  local us = us_of(tok[i] or '')
  if i > n and (not us or us > seq) then
    young = true
    if tok[i] ~= '!' and clock and (not us or us > clock) then
      local t = redis.call('TIME'); local now = t[1] * 1000000 + t[2]
      -- As in TICKET: while a write holds the tag, nothing is minted for it; and no two tokens look alike.
      local last = KEYS[4 + m + i - n] and redis.pcall('ZRANGE', KEYS[4 + m + i - n], -1, -1, 'WITHSCORES')[2]
      local left = math.ceil((tonumber(last or '') or 0) - now / 1000)
      if left > 0 then redis.call('SET', KEYS[i + 4], '!', 'PX', left)
      else
        stamp = stamp and stamp + 1 or math.max(now, clock + 1)
        redis.call('SET', KEYS[i + 4], ':' .. ARGV[7] .. ':' .. string.format('%.0f', stamp), 'PX', ARGV[8])
      end
    end
  end
  newest = math.max(newest, us or 0)
end
if stamp then redis.call('SET', KEYS[3], string.format('%.0f', stamp)) end
if young then return {-2} end
local px, settle, max, victim = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[10]), ''
local settling = settle > 0 and began - newest < settle * 1000   -- the newest stamp may be ahead of TIME
if settling and (px == 0 or settle < px) then px = settle end
local listed = max > 0 and redis.pcall('SISMEMBER', KEYS[4], ARGV[9])
if type(listed) == 'table' then redis.call('DEL', KEYS[4]); listed = 0 end   -- something else stands in the index's place
if listed == 0 then
  if redis.call('SCARD', KEYS[4]) >= max then victim = redis.call('SPOP', KEYS[4]) end
  redis.call('SADD', KEYS[4], ARGV[9])
end
local origins = {}
for i = 1, #tok do origins[i] = origin_of(tok[i]) end
local value = ARGV[2] .. (#tok > n and redis.sha1hex(table.concat(tok, ' ', n + 1)) or string.rep('-', 40)) .. redis.sha1hex(table.concat(origins, ' ')) .. (px == 0 and 'f' or 't') .. ARGV[3]
if px == 0 then redis.call('SET', KEYS[1], value) else redis.call('SET', KEYS[1], value, 'PX', px) end
for i = 2, settling and 0 or #tok do
  if px == 0 then redis.call('PERSIST', KEYS[i + 4]) else local left = redis.call('PTTL', KEYS[i + 4]); if left >= 0 and left < px then redis.call('PEXPIRE', KEYS[i + 4], px + ARGV[8]) end end
end
return {1, px, victim}
