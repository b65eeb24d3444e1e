-- ARGV: job, bytes, then chunks. Reads how the result lines of each begin; changes nothing. Returns a text
-- for each, empty for one without results.
open(ARGV[1])
local heads = {}
for i = 3, #ARGV do
  heads[#heads + 1] = string.sub(call('HGET', RESULTS, ARGV[i]) or '', 1, tonumber(ARGV[2]))
end
return heads
