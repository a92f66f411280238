-- REAP: unlink an entry that no clear has spared, and forget it in its key's index. One that was only expired stays: it may
-- still be shown once more. So it is the origins of the tokens that count, not the tokens.
-- KEYS  1 entry  2 index of the key's entries  3 namespace token  4.. static tokens, then dynamic
-- ARGV  1 entry id  2 the 120 bytes of digests that the sweep read
-- Answers  1 unlinked | 0 alive, or no longer the entry that the sweep read
if redis.pcall('GETRANGE', KEYS[1], 0, 119) ~= ARGV[2] then return 0 end
local function origin_of(token) return string.match(token, '^:(%x+:%d+)$') or string.match(token, '^:%x+:%d+~(%x+:%d+)$') or token end
local tok, whole = redis.call('MGET', unpack(KEYS, 3)), true
for i = 1, #tok do if tok[i] and tok[i] ~= '!' then tok[i] = origin_of(tok[i]) else whole = false end end
if whole and redis.sha1hex(table.concat(tok, ' ')) == string.sub(ARGV[2], 81, 120) then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
