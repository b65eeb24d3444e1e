-- ARGV: worker, job, chunk, token, results, errors, rejects, rows succeeded, rows failed.
-- Commits a chunk once, by the holder of its newest lease; the last commit ends the job.
-- Returns 'committed', or why not: 'gone' | 'ended' | 'stale'. Repeated after a lost answer it finds no
-- input any more and changes nothing.
open(ARGV[2])
local chunk, token = ARGV[3], ARGV[4]
local why = closed()
if not why and call('HGET', CHUNKS, chunk .. ':token') ~= token then
  why = 'stale'
  call('HINCRBY', COUNTERS, 'commits_refused', 1)
end
-- A process runs one chunk at a time: whatever becomes of it, this one is over.
release(ARGV[1], chunk, token)
if why then return why end
if call('HEXISTS', INPUTS, chunk) == 0 then return 'committed' end
call('HSET', RESULTS, chunk, ARGV[5])
if ARGV[6] ~= '' then call('HSET', ERRORS, chunk, ARGV[6]) end
if ARGV[7] ~= '' then call('HSET', REJECTS, chunk, ARGV[7]) end
call('HDEL', INPUTS, chunk)
if call('HGET', CHUNKS, chunk .. ':lost') then
  for _, part in ipairs(call('HKEYS', PARTS)) do
    if string.match(part, '^(%d+):') == chunk then call('HDEL', PARTS, part) end
  end
end
local growth = tonumber(call('HGET', CHUNKS, chunk .. ':growth')) or 0
call('HDEL', CHUNKS, chunk .. ':running', chunk .. ':growth')
owe(-(ARGV[8] + ARGV[9]), -growth)
call('HINCRBY', BACKLOG, 'done', ARGV[8] + ARGV[9])
call('HINCRBY', RECORD, 'chunks_done', 1)
call('HINCRBY', RECORD, 'succeeded', ARGV[8])
local failed = call('HINCRBY', RECORD, 'failed', ARGV[9])
local threshold = number('error_threshold')
if threshold >= 0 and failed > threshold then
  finish('failed', 'error_threshold_exceeded',
    failed .. ' rows failed; the job allows ' .. threshold .. '.')
elseif not finish_if_complete() then
  renew()
end
return 'committed'
