-- ARGV: ms for which nobody else is given it. Returns a note of objects to be deleted that is due; nothing
-- if none is. Who has deleted them takes it out.
local note = call('ZRANGE', GARBAGE, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, 1)[1]
if note then call('ZADD', GARBAGE, NOW + ARGV[1], note) end
return note
