-- ARGV: job. Frees all data of a job at once and leaves the tombstone. Who still works on it meets
-- 'gone'. Returns 1 if there was a record.
open(ARGV[1])
if call('EXISTS', RECORD) == 0 then return 0 end
local seconds = number('tombstone_seconds')
local has_ended, idempotency = closed() == 'ended', get('idempotency_key')
call('UNLINK', RECORD, CHUNKS, INPUTS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
call('SET', TOMBSTONE, 'deleted', 'EX', seconds)
-- The key is kept as long as the tombstone that says what became of its job.
if idempotency then call('EXPIRE', string.format(IDEMPOTENCY, idempotency), seconds) end
forget(ID)
if not has_ended then call('PUBLISH', ENDED, 'deleted') end
return 1
