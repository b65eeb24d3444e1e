-- ARGV: job, idempotency key or '', request's fingerprint, rows and bytes that the body is expected
-- to bring, most rows waiting, share of memory that may be promised, seconds an upload may be silent,
-- then pairs of field and value of the new record.
-- Begins a job whose chunks follow. Returns {'created'}; {'exists'} for an id that is taken; or what
-- `create` has against it.
open(ARGV[1])
if call('EXISTS', RECORD) == 1 then return {'exists'} end
local rows, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local why = create('receiving', ARGV[2], ARGV[3], rows, bytes, tonumber(ARGV[6]), tonumber(ARGV[7]),
  unpack(ARGV, 9))
if why then return why end
set('expected_rows', rows, 'expected_bytes', bytes)
owe(rows, bytes)
call('ZADD', UPLOADS, NOW + ARGV[8] * 1000, ID)
keep()
return {'created'}
