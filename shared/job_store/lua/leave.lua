-- ARGV: worker. Lets others run what it still runs, and takes it off the list.
-- Returns `job chunk` of what was given back.
local worker, given_back = ARGV[1], {}
each_lease(worker, function(id, chunk, _, token)
  open(id)
  if give_back(worker, chunk, token, 'returned') then
    given_back[#given_back + 1] = lease_field(chunk)
  end
end)
call('HDEL', WORKERS, worker)
call('HDEL', MODELS, worker)
each_shadowing(function(by, _, _, field)
  if by == worker then call('HDEL', SHADOWING, field) end
end)
return given_back
