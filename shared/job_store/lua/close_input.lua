-- ARGV: bytes, sha256. The whole body has been taken in.
-- Returns 'closed', or why not: 'gone' | 'ended'.
local why = closed()
if why then return why end
redis.call('HSET', RECORD, 'is_received', 1, 'input_bytes', ARGV[1], 'input_sha256', ARGV[2])
if not finish_if_complete() then
  redis.call('HSET', RECORD, 'status', get('started_at_ms') and 'running' or 'queued')
  renew()
end
return 'closed'
