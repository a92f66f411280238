-- ADD VALUE: a plain value that was computed under a lease, stored where there is none while the tokens are those of the ticket.
-- KEYS 1 value  2 lease  3 namespace token  4.. static tokens  ARGV 1 lease  2 static digest  3 value  4 ttl ms (0: for ever)
-- Answers  1 stored | 2 another value is there | 0 lease lost | -1 removed, set or cleared meanwhile
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local tok = redis.call('MGET', unpack(KEYS, 3))
for i = 1, #tok do if not tok[i] then return -1 end end
if redis.sha1hex(table.concat(tok, ' ')) ~= ARGV[2] then return -1 end
local set = ARGV[4] == '0' and redis.call('SET', KEYS[1], ARGV[3], 'NX') or ARGV[4] ~= '0' and redis.call('SET', KEYS[1], ARGV[3], 'NX', 'PX', ARGV[4])
return set and 1 or 2
