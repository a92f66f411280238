-- ADD VALUE: a plain value that was computed under a lease, stored where there is none while the tokens are those of the ticket.
-- What is of another type is a miss for every reader, so it is in nobody's way: it is replaced, as by a plain SET.
-- KEYS 1 value  2 lease  3 namespace token  4.. static tokens  ARGV 1 lease  2 static digest  3 value  4 ttl ms (0: for ever)
-- Answers  1 stored | 2 another value is there | 0 lease lost | -1 removed, set or cleared meanwhile
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local tok = redis.call('MGET', unpack(KEYS, 3))
for i = 1, #tok do if not tok[i] then return -1 end end
if redis.sha1hex(table.concat(tok, ' ')) ~= ARGV[2] then return -1 end
local function add()
  if ARGV[4] == '0' then return redis.call('SET', KEYS[1], ARGV[3], 'NX') end
  return redis.call('SET', KEYS[1], ARGV[3], 'NX', 'PX', ARGV[4])
end
if add() then return 1 end
local there = redis.pcall('STRLEN', KEYS[1])   -- only WRONGTYPE may remove anything: not, say, a right that is missing
if type(there) ~= 'table' or not string.find(there.err or '', 'WRONGTYPE', 1, true) then return 2 end
redis.call('DEL', KEYS[1])
return add() and 1 or 2
