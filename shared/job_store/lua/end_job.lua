-- ARGV: status, error code, error detail (both may be empty). Ends a job that has not ended yet.
-- Returns 'finished', or why not: 'gone' | 'ended'.
local why = closed()
if why then return why end
if ARGV[2] == '' then finish(ARGV[1]) else finish(ARGV[1], ARGV[2], ARGV[3]) end
return 'finished'
