-- ARGV: chunk, plan, input, rows, window. Adds a chunk while the body is still arriving.
-- Returns {'appended', chunks to queue …}, or why not: {'gone' | 'ended'}.
local why = closed()
if why then return {why} end
local is_new = redis.call('HSETNX', CHUNKS, ARGV[1], ARGV[2]) == 1
if is_new then
  redis.call('HSET', INPUTS, ARGV[1], ARGV[3])
  redis.call('HINCRBY', RECORD, 'total', ARGV[4])
  redis.call('HINCRBY', RECORD, 'chunks_total', 1)
end
renew()
local released = release(tonumber(ARGV[5]))
return {'appended', unpack(is_new and released or untaken())}
