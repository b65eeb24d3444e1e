-- ARGV: worker, process, job, chunk, token, seconds the part may take, rows of the part done or '',
-- its result, rows of the part that begins or ''. Keeps a journal of a chunk that is scored in
-- parts, so that the next attempt goes on behind the last one and knows what killed it.
-- Returns 'noted', or why to stop: 'committed', by this attempt | 'gone' | 'ended' | 'stale'.
open(ARGV[3])
local chunk = ARGV[4]
local token, why = call('HGET', CHUNKS, chunk .. ':token'), closed()
if token == ARGV[5] and is_committed(chunk) then
  why = 'committed'
elseif not why and token ~= ARGV[5] then
  why = 'stale'
end
if why then
  release(ARGV[1], chunk, ARGV[5])
  return why
end
if ARGV[7] ~= '' then call('HSET', PARTS, chunk .. ':' .. ARGV[7], ARGV[8]) end
call('HSET', CHUNKS, chunk .. ':running', ARGV[9])
local lane, deadline = get('lane'), string.format('%d', NOW + ARGV[6] * 1000)
call('HSET', string.format(LEASES, ARGV[1]), lease_field(chunk),
  table.concat({ARGV[2], ARGV[5], lane, deadline}, ' '))
renew(PARTS)
return 'noted'
