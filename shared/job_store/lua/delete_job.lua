-- ARGV: job. Frees all data of a job at once and leaves the tombstone. Who still works on it meets
-- 'gone'. Returns a note of the job's objects, or an empty text if it has none; nothing if there was no
-- record.
open(ARGV[1])
if call('EXISTS', RECORD) == 0 then return false end
local seconds = term('tombstone_seconds')
local has_ended, idempotency = closed() == 'ended', get('idempotency_key')
local tombstone = with_owner('deleted')
if not has_ended then
  call('PUBLISH', PROGRESS, 'deleted')
  tell()
end
local note = free_all()
call('SET', TOMBSTONE, tombstone, 'EX', seconds)
-- The key is kept as long as the tombstone that says what became of its job.
if idempotency then call('EXPIRE', string.format(IDEMPOTENCY, idempotency), seconds) end
forget()
return note
