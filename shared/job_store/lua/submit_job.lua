-- ARGV: job, idempotency key or '', request's fingerprint, most rows waiting, share of memory that may
-- be promised, plan of its only chunk, the chunk, its rows, most bytes of its results, bytes and sha256
-- of the body, then pairs of field and value of the new record.
-- Takes in a job whose whole body is one chunk. A repeat after a lost answer changes nothing.
-- Returns {'created', 1 if a worker must be woken by a message}, with time and record of a job that
-- nobody waits for, or what `create` has against it.
open(ARGV[1])
local message = 0
if call('EXISTS', RECORD) == 1 then
  load()
else
  local rows, growth = tonumber(ARGV[8]), tonumber(ARGV[9])
  local why = create('queued', ARGV[2], ARGV[3], rows, #ARGV[7] + growth, tonumber(ARGV[4]),
    tonumber(ARGV[5]), 12)
  if why then return why end
  call('SET', input(0), ARGV[7])
  add_chunk('0', ARGV[6], rows, growth)
  owe(rows, growth)
  close(ARGV[10], ARGV[11])
  keep(CHUNKS)
  message = wake(get('lane'))
end
-- Who waits is told more when the job has ended.
if get('awaited_by') then return {'created', message} end
local record = {}
for field, value in pairs(FIELDS) do
  record[#record + 1] = field
  record[#record + 1] = value
end
return {'created', message, string.format('%d', NOW), record}
