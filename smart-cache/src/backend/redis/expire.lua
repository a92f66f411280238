-- EXPIRE: makes what is stored under these tokens old, but not gone: one request may show it once more while another
-- fetches the new. A marked token has a new nonce and stamp, and remembers those of its last clear behind "~": both, for a
-- ticket that is delivered twice mints its nonce again.
-- KEYS  1 clock  2.. tokens of keys and tags
-- ARGV  1 nonce
-- Answers how many were marked. What is missing, malformed or held is left alone: nothing under it can be shown anyway.
local t, clock = redis.call('TIME'), tonumber(redis.pcall('GET', KEYS[1]) or '')
local now = t[1] * 1000000 + t[2]
if not clock or clock > now + 60000000 then return 0 end
local stamp, marked = math.max(now, clock + 1) - 1, 0
for i = 2, #KEYS do
  local token = redis.pcall('GET', KEYS[i])
  local origin = type(token) == 'string' and (string.match(token, '^:(%x+:%d+)$') or string.match(token, '^:%x+:%d+~(%x+:%d+)$'))
  if origin then
    stamp, marked = stamp + 1, marked + 1
    redis.call('SET', KEYS[i], ':' .. ARGV[1] .. ':' .. string.format('%.0f', stamp) .. '~' .. origin, 'KEEPTTL')
  end
end
if marked > 0 then redis.call('SET', KEYS[1], string.format('%.0f', stamp)) end
return marked
