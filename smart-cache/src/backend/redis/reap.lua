-- REAP: unlink an entry whose digests are not those of its tokens now, and forget it in its key's index.
-- KEYS  1 entry  2 index of the key's entries  3 namespace token  4.. static tokens (n of them with the namespace's), then dynamic
-- ARGV  1 n  2 entry id  3 the 80 bytes of digests that the sweep read
-- Answers  1 unlinked | 0 alive, or no longer the entry that the sweep read
if redis.pcall('GETRANGE', KEYS[1], 0, 79) ~= ARGV[3] then return 0 end
local n, tok, whole = tonumber(ARGV[1]), redis.call('MGET', unpack(KEYS, 3)), true
for i = 1, #tok do if not tok[i] or tok[i] == '!' then whole = false end end
if whole then
  local dig = redis.sha1hex(table.concat(tok, ' ', 1, n))
  local dyn = #tok > n and redis.sha1hex(table.concat(tok, ' ', n + 1)) or string.rep('-', 40)
  if dig .. dyn == ARGV[3] then return 0 end
end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
return 1
