-- ARGV: chunk, owner, most attempts. Gives the caller the newest lease of a chunk; whoever held
-- one before can't commit any more. The token counts the leases, and thereby the attempts.
-- Returns {'leased', token, plan, input, spec}, or why not:
-- {'gone' | 'ended' | 'committed' | 'exhausted'}.
local why = closed()
if why then return {why} end
local chunk = ARGV[1]
local input = redis.call('HGET', INPUTS, chunk)
if not input then return {'committed'} end
local token = redis.call('HINCRBY', CHUNKS, chunk .. ':token', 1)
if token > tonumber(ARGV[3]) then
  finish('failed', 'attempts_exhausted',
    'Chunk ' .. chunk .. ' was given up after ' .. (token - 1) .. ' attempts.')
  return {'exhausted'}
end
redis.call('HSET', CHUNKS, chunk .. ':owner', ARGV[2])
if not get('started_at_ms') then redis.call('HSET', RECORD, 'started_at_ms', now_ms()) end
if get('status') == 'queued' then redis.call('HSET', RECORD, 'status', 'running') end
return {'leased', token, redis.call('HGET', CHUNKS, chunk), input, get('spec')}
