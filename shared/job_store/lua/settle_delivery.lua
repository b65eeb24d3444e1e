-- ARGV: job, claims of its delivery when it was claimed, the attempt as JSON or '' if none was made,
-- state or '' if it is to be tried again, ms until then. Notes what became of a claimed delivery.
-- Returns 1; 0 where the job is gone or somebody else has claimed it since. Idempotent.
open(ARGV[1])
local host, line = callback()
if not host or call('HGET', DELIVERIES, 'claims') ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then call('HSET', DELIVERIES, ARGV[2], ARGV[3]) end
if ARGV[4] ~= '' then
  call('HSET', DELIVERIES, 'state', ARGV[4])
  leave_callbacks()
else
  local at = string.format('%d', NOW + ARGV[5])
  call('HSET', DELIVERIES, 'next_at_ms', at)
  call('ZADD', line, 'XX', at, ID)
  call('ZADD', CALLBACKS, 'LT', at, host)
end
return 1
