-- ARGV: chunk, token, results, errors, rows succeeded, rows failed, window.
-- Commits a chunk once, by the holder of its newest lease; the last commit ends the job.
-- Returns {'committed', chunks to queue …}, or why not: {'gone' | 'ended' | 'stale'}. Repeated after
-- a lost answer it finds no input any more and changes nothing.
local why = closed()
if why then return {why} end
local chunk, token = ARGV[1], ARGV[2]
if redis.call('HGET', CHUNKS, chunk .. ':token') ~= token then return {'stale'} end
if redis.call('HEXISTS', INPUTS, chunk) == 0 then return {'committed', unpack(untaken())} end
redis.call('HSET', RESULTS, chunk, ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', ERRORS, chunk, ARGV[4]) end
redis.call('HDEL', INPUTS, chunk)
redis.call('HDEL', CHUNKS, chunk .. ':owner')
redis.call('HINCRBY', RECORD, 'chunks_done', 1)
redis.call('HINCRBY', RECORD, 'succeeded', ARGV[5])
local failed = redis.call('HINCRBY', RECORD, 'failed', ARGV[6])
local threshold = number('error_threshold')
if threshold >= 0 and failed > threshold then
  finish('failed', 'error_threshold_exceeded',
    failed .. ' rows failed; the job allows ' .. threshold .. '.')
  return {'committed'}
end
if finish_if_complete() then return {'committed'} end
renew()
return {'committed', unpack(release(tonumber(ARGV[7])))}
