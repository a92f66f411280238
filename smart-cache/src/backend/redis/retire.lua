-- RETIRE: gives tokens that no entry depends on the life of an unused one; the next STORE that needs one makes it permanent
-- again. One that is used all the same costs its entries a miss, once.
-- KEYS tokens  ARGV 1 life ms of an unused token  2 newest stamp: younger ones may have been used after the sweep looked
-- Answers how many
local retired, newest = 0, tonumber(ARGV[2])
for i = 1, #KEYS do
  if redis.call('PTTL', KEYS[i]) == -1 then
    local token = redis.pcall('GET', KEYS[i])
    local us = type(token) == 'string' and tonumber(string.match(token, '^:%x+:(%d+)$') or string.match(token, '^:%x+:(%d+)~%x+:%d+$') or '')
    if us and us <= newest then retired = retired + redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
  end
end
return retired
