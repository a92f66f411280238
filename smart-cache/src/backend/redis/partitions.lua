-- PARTITIONS: notes in how many partitions somebody spreads this namespace, so that every clear reaches all of them.
-- KEYS 1 record  ARGV 1 word to be there  2 word to be gone
-- Answers what was noted before. Something of another type is none of ours, and is replaced.
local before = redis.pcall('GET', KEYS[1])
if type(before) ~= 'string' then before = '' end
local words = {}
for word in string.gmatch(before, '%S+') do
  if word ~= ARGV[1] and word ~= ARGV[2] then words[#words + 1] = word end
end
words[#words + 1] = ARGV[1]
redis.call('SET', KEYS[1], table.concat(words, ' '))
return before
