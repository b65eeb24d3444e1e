-- ARGV: job, status, error code, error detail (both may be empty). Ends a job that has not ended yet.
-- Returns 'finished', or why not: 'gone' | 'ended'.
open(ARGV[1])
local why = closed()
if why then return why end
if ARGV[3] == '' then finish(ARGV[2]) else finish(ARGV[2], ARGV[3], ARGV[4]) end
return 'finished'
