-- COUNT: adds to a counter that is there, and keeps its time to live.  KEYS 1 value  ARGV 1 delta
-- Answers  {sum as text} | {'M'} missing | {'N'} not a whole number | {'O'} does not fit into 64 bits
if redis.call('EXISTS', KEYS[1]) == 0 then return {'M'} end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' then return {string.find(sum.err, 'overflow') and 'O' or 'N'} end
return {redis.call('GET', KEYS[1])}   -- as text: a number of Lua holds 53 bits
