-- Frees all data of a job at once and leaves the tombstone. Who still works on it meets 'gone'.
-- Returns 1 if there was a record.
if redis.call('EXISTS', RECORD) == 0 then return 0 end
local seconds = number('tombstone_seconds')
local has_ended = closed() == 'ended'
redis.call('DEL', RECORD, CHUNKS, INPUTS, RESULTS, ERRORS)
redis.call('SET', TOMBSTONE, 'deleted', 'EX', seconds)
if not has_ended then redis.call('PUBLISH', ENDED, 'deleted') end
return 1
