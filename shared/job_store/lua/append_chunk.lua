-- ARGV: job, chunk, plan, input, rows, most bytes of its results, share of memory that may be used.
-- Adds a chunk while the body is still arriving. Idempotent.
-- Returns {'appended', 1 if a worker has a process to spare}, or why not: {'full'}, {'gone' | 'ended'}.
open(ARGV[1])
local why = closed()
if why then return {why} end
local chunk, rows, growth = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
if call('HEXISTS', CHUNKS, chunk) == 0 then
  -- What was only expected is here, or soon will be as results.
  local arrived_rows = math.min(number('expected_rows'), rows)
  local arrived_bytes = math.min(number('expected_bytes'), #ARGV[4] + growth)
  local promised = tonumber(call('HGET', BACKLOG, 'bytes')) or 0
  local used, most = memory()
  local needed = used + promised + #ARGV[4] + growth - arrived_bytes
  if most > 0 and needed > most * tonumber(ARGV[7]) then return {'full'} end
  call('HSET', CHUNKS, chunk, ARGV[3], chunk .. ':growth', growth)
  call('HSET', INPUTS, chunk, ARGV[4])
  call('HINCRBY', RECORD, 'total', rows)
  call('HINCRBY', RECORD, 'chunks_total', 1)
  call('HINCRBY', RECORD, 'expected_rows', -arrived_rows)
  call('HINCRBY', RECORD, 'expected_bytes', -arrived_bytes)
  owe(rows - arrived_rows, growth - arrived_bytes)
  make_ready()
end
renew()
return {'appended', has_idle(get('lane')) and 1 or 0}
