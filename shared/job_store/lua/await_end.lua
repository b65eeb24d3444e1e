-- ARGV: job, channel. Has the job's end told on a channel, too.
-- Returns 1 if it is still to come; 0 for a job that has ended or is gone.
open(ARGV[1])
if closed() then return 0 end
local awaited_by = get('awaited_by') or ''
if not string.find(' ' .. awaited_by .. ' ', ' ' .. ARGV[2] .. ' ', 1, true) then
  set('awaited_by', awaited_by .. ' ' .. ARGV[2])
end
return 1
