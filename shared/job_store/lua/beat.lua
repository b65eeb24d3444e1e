-- ARGV: worker, its processes, how many of them may run bulk, most attempts a job may lose, then its
-- live processes. Says that the worker lives, and gives back what its dead processes ran.
-- Returns {1 if the worker could run something that waits, else 0, chunks it runs, then `job chunk` of
-- those given back}.
local worker, leases = ARGV[1], string.format(LEASES, ARGV[1])
call('HSET', WORKERS, worker, table.concat({string.format('%d', NOW), ARGV[2], ARGV[3]}, ' '))
local lives = {}
for i = 5, #ARGV do lives[ARGV[i]] = true end
local held, given_back = call('HGETALL', leases), {}
for i = 1, #held, 2 do
  local process, token = string.match(held[i + 1], '^(%S+) (%d+) ')
  if not lives[process] then
    local id, chunk = string.match(held[i], '^(%S+) (%d+)$')
    open(id)
    if give_back(worker, chunk, token, 'died', tonumber(ARGV[4])) then
      given_back[#given_back + 1] = held[i]
    end
  end
end
local all_busy, bulk_busy = busy(worker)
local could_run = all_busy < tonumber(ARGV[2])
  and (has_ready('small') or (bulk_busy < tonumber(ARGV[3]) and has_ready('bulk')))
return {could_run and 1 or 0, all_busy, unpack(given_back)}
