-- ARGV: job. Frees all data of a job at once and leaves the tombstone. Who still works on it meets
-- 'gone'. Returns 1 if there was a record.
open(ARGV[1])
if call('EXISTS', RECORD) == 0 then return 0 end
local seconds = number('tombstone_seconds')
local has_ended = closed() == 'ended'
call('UNLINK', RECORD, CHUNKS, INPUTS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
call('SET', TOMBSTONE, 'deleted', 'EX', seconds)
forget(ID)
if not has_ended then call('PUBLISH', ENDED, 'deleted') end
return 1
