-- ARGV: job, bytes, sha256. The whole body has been taken in.
-- Returns 'closed', or why not: 'gone' | 'ended'.
open(ARGV[1])
local why = closed()
if why then return why end
close(ARGV[2], ARGV[3])
call('ZREM', UPLOADS, ID)
owe(-number('expected_rows'), -number('expected_bytes'))
set('expected_rows', 0, 'expected_bytes', 0)
if not finish_if_complete() then
  set('status', get('started_at_ms') and 'running' or 'queued')
  renew()
end
return 'closed'
