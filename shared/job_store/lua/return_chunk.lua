-- ARGV: worker, job, chunk, token, reason, most attempts a job may lose.
-- Lets others run a chunk that its attempt can't finish. Returns 1 if it was still that attempt's.
open(ARGV[2])
return give_back(ARGV[1], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])) and 1 or 0
