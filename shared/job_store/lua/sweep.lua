-- ARGV: ms after which a silent worker is dead, most attempts a job may lose, most entries of a kind.
-- Sets right what nobody else will. Any worker may call it, and only one in a second is heard.
-- Returns pairs of what was done and to what: 'vanished' | 'overdue', `job chunk`; 'deadline_exceeded' |
-- 'upload_incomplete' | 'expired', job; 'dead', worker.
if not call('SET', SWEEP, 1, 'NX', 'PX', 900) then return {} end
local done, most_lost, most = {}, tonumber(ARGV[2]), tonumber(ARGV[3])
local function note(what, id)
  done[#done + 1] = what
  done[#done + 1] = id
end

-- Leases of dead workers, and those that outlived what they were given.
local seen = call('HGETALL', WORKERS)
for i = 1, #seen, 2 do
  local worker, at = seen[i], parse_worker(seen[i + 1])
  local is_dead = NOW - at > tonumber(ARGV[1])
  local held = call('HGETALL', string.format(LEASES, worker))
  for j = 1, #held, 2 do
    local token, deadline = string.match(held[j + 1], '^%S+ (%d+) %S+ (%d+)$')
    if is_dead or tonumber(deadline) < NOW then
      local id, chunk = string.match(held[j], '^(%S+) (%d+)$')
      open(id)
      local reason = is_dead and 'vanished' or 'overdue'
      if give_back(worker, chunk, token, reason, most_lost) then note(reason, held[j]) end
    end
  end
  if is_dead then
    call('HDEL', WORKERS, worker)
    note('dead', worker)
  end
end

local function over(zset)
  return call('ZRANGE', zset, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, most)
end

for _, id in ipairs(over(DEADLINES)) do
  open(id)
  call('ZREM', DEADLINES, id)
  if not closed() then
    finish('failed', 'deadline_exceeded', 'The job did not end within its deadline.')
    note('deadline_exceeded', id)
  end
end

for _, id in ipairs(over(UPLOADS)) do
  open(id)
  call('ZREM', UPLOADS, id)
  if not closed() then
    finish('failed', 'upload_incomplete', 'The server that took the body in is gone; send it again.')
    note('upload_incomplete', id)
  end
end

for _, id in ipairs(over(EXPIRIES)) do
  open(id)
  call('UNLINK', RECORD, CHUNKS, INPUTS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
  forget(id)
  note('expired', id)
end

-- How fast rows are done, as a mean that forgets within about ten seconds.
local rows_done = tonumber(call('HGET', BACKLOG, 'done')) or 0
local before = tonumber(call('HGET', BACKLOG, 'sampled_done')) or rows_done
local seconds = (NOW - (tonumber(call('HGET', BACKLOG, 'sampled_at_ms')) or NOW - 1000)) / 1000
local rate = math.max(0, rows_done - before) / math.max(seconds, 0.001)
local share = math.min(1, 0.1 * seconds)
rate = share * rate + (1 - share) * (tonumber(call('HGET', BACKLOG, 'rate')) or rate)
call('HSET', BACKLOG, 'sampled_done', rows_done, 'sampled_at_ms', NOW, 'rate',
  string.format('%.1f', rate))
return done
