-- ARGV: job, chunk, plan, rows, most bytes of its results, share of memory that may be used.
-- Adds a chunk, whose input was stored just before, while the body is still arriving. Idempotent.
-- Returns {'appended', 1 if a worker must be woken by a message}, or why not: {'full'},
-- {'gone' | 'ended'}. What is not added is freed.
open(ARGV[1])
local chunk, rows, growth = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local why = closed()
if why or is_committed(chunk) then
  call('UNLINK', input(chunk))
  return {why or 'appended', 0}
end
if call('HEXISTS', CHUNKS, chunk) == 0 then
  local bytes = call('STRLEN', input(chunk))
  -- What was only expected is here, or soon will be as results.
  local arrived_rows = math.min(number('expected_rows'), rows)
  local arrived_bytes = math.min(number('expected_bytes'), bytes + growth)
  local promised = tonumber(call('HGET', BACKLOG, 'bytes')) or 0
  local used, most = memory()
  local needed = used + promised + growth - arrived_bytes
  if bytes == 0 or (most > 0 and needed > most * tonumber(ARGV[6])) then
    call('UNLINK', input(chunk))
    return {'full'}
  end
  set('expected_rows', number('expected_rows') - arrived_rows,
    'expected_bytes', number('expected_bytes') - arrived_bytes)
  owe(rows - arrived_rows, growth - arrived_bytes)
  add_chunk(chunk, ARGV[3], rows, growth)
end
keep_input(chunk)
renew(CHUNKS)
return {'appended', wake(get('lane'))}
