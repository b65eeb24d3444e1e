-- ARGV: job, idempotency key or '', request's fingerprint, rows and bytes that the body is expected
-- to bring, most rows waiting, share of memory that may be promised, seconds an upload may be silent,
-- then pairs of field and value of the new record.
-- Returns {'created'}; {'exists'} for an id that is taken; {'taken', job, fingerprint} for a key that
-- made a job before; {'busy', rows to be done before, rows/s} where there is too much work;
-- {'never', most bytes} for what would be too much for an empty server, too.
open(ARGV[1])
if call('EXISTS', RECORD) == 1 then return {'exists'} end
local idempotency = ARGV[2] ~= '' and string.format(IDEMPOTENCY, ARGV[2])
if idempotency then
  local first = call('HMGET', idempotency, 'job_id', 'request')
  if first[1] then return {'taken', first[1], first[2]} end
end
local rows, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local waiting_rows = tonumber(call('HGET', BACKLOG, 'rows')) or 0
local promised_bytes = tonumber(call('HGET', BACKLOG, 'bytes')) or 0
local used, most = memory()
if most > 0 and bytes > most * tonumber(ARGV[7]) then
  return {'never', math.floor(most * tonumber(ARGV[7]))}
end
local excess_rows = waiting_rows + rows - tonumber(ARGV[6])
local excess_bytes = most > 0 and used + promised_bytes + bytes - most * tonumber(ARGV[7]) or 0
-- A service with nothing to do takes one job of any size that the other bounds allow.
if (excess_rows > 0 and waiting_rows > 0) or excess_bytes > 0 then
  -- What waits makes room as it is done, each row about as much as any other.
  local rows_of_bytes = promised_bytes > 0 and excess_bytes * waiting_rows / promised_bytes or 0
  return {'busy', math.max(0, math.ceil(excess_rows), math.ceil(rows_of_bytes)),
    call('HGET', BACKLOG, 'rate') or ''}
end
call('HSET', RECORD, 'status', 'receiving', 'created_at_ms', NOW, unpack(ARGV, 9))
call('HSET', RECORD, 'expected_rows', rows, 'expected_bytes', bytes)
call('SET', TOMBSTONE, 'expired')
if idempotency then
  call('HSET', RECORD, 'idempotency_key', ARGV[2])
  call('HSET', idempotency, 'job_id', ID, 'request', ARGV[3])
end
owe(rows, bytes)
call('ZADD', JOBS, 0, ID)
call('ZADD', UPLOADS, NOW + ARGV[8] * 1000, ID)
local deadline = number('deadline_seconds')
if deadline > 0 then call('ZADD', DEADLINES, NOW + deadline * 1000, ID) end
renew()
return {'created'}
