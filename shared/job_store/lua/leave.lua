-- ARGV: worker. Lets others run what it still runs, and takes it off the list.
-- Returns `job chunk` of what was given back.
local worker = ARGV[1]
local held, given_back = call('HGETALL', string.format(LEASES, worker)), {}
for i = 1, #held, 2 do
  local id, chunk = string.match(held[i], '^(%S+) (%d+)$')
  open(id)
  local token = string.match(held[i + 1], '^%S+ (%d+) ')
  if give_back(worker, chunk, token, 'returned') then given_back[#given_back + 1] = held[i] end
end
call('HDEL', WORKERS, worker)
return given_back
