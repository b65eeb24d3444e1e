-- ARGV: worker, its processes, how many of them may run bulk, threads of each and cores of its
-- machine, most attempts a job may lose, then its live processes. Says that the worker lives, and
-- gives back what its dead processes ran; what they scored as a shadow is held against that version.
-- Returns {how many of its idle processes could run something that waits, chunks it runs, then `job chunk`
-- of those given back}.
local worker, processes, bulk = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
call('HSET', WORKERS, worker,
  table.concat({string.format('%d', NOW), processes, bulk, ARGV[4], ARGV[5]}, ' '))
local lives, given_back = {}, {}
for i = 7, #ARGV do lives[ARGV[i]] = true end
each_lease(worker, function(id, chunk, process, token)
  if lives[process] then return end
  open(id)
  if give_back(worker, chunk, token, 'died', tonumber(ARGV[6])) then
    given_back[#given_back + 1] = lease_field(chunk)
  end
end)
each_shadowing(function(by, process, version, field)
  if by ~= worker or lives[process] then return end
  call('HDEL', SHADOWING, field)
  call('HINCRBY', SHADOW_LOSSES, version, 1)
end)
local all_busy, bulk_busy = busy(worker)
local idle = processes - all_busy
local could_run = 0
if has_ready('small') then
  could_run = idle
elseif has_ready('bulk') then
  could_run = math.min(idle, bulk - bulk_busy)
end
return {math.max(0, could_run), all_busy, unpack(given_back)}
