-- ARGV: chunk, plan, input, rows, window. Adds a chunk while the body is still arriving.
-- Returns {'appended', chunks to queue …}, or why not: {'gone' | 'ended'}.
local why = closed()
if why then return {why} end
if redis.call('HSETNX', CHUNKS, ARGV[1], ARGV[2]) == 1 then  -- not a repeat after a lost answer
  redis.call('HSET', INPUTS, ARGV[1], ARGV[3])
  redis.call('HINCRBY', RECORD, 'total', ARGV[4])
  redis.call('HINCRBY', RECORD, 'chunks_total', 1)
end
renew()
return {'appended', unpack(release(tonumber(ARGV[5])))}
