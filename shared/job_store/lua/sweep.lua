-- ARGV: ms after which a silent worker is dead, most attempts a job may lose, most entries of a kind.
-- Sets right what nobody else will. Any worker may call it, and only one in a second is heard.
-- Returns pairs of what was done and to what: 'vanished' | 'overdue', `job chunk`; 'deadline_exceeded' |
-- 'upload_incomplete' | 'expired', job; 'dead', worker.
if not call('SET', SWEEP, 1, 'NX', 'PX', 900) then return {} end
local done, silence = {}, tonumber(ARGV[1])
local most_lost, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local function note(what, id)
  done[#done + 1] = what
  done[#done + 1] = id
end

local seen = call('HGETALL', WORKERS)

-- While nobody swept, as a rule because Redis was out of reach, nobody could beat or vouch either.
-- That time is held against none.
local sampled_at = tonumber(call('HGET', BACKLOG, 'sampled_at_ms')) or NOW
local gap = NOW - sampled_at
-- More than the second from one sweep to the next.
if gap > math.max(silence / 2, 1500) then
  for i = 1, #seen, 2 do
    local at = string.format('%d', math.min(NOW, parse_worker(seen[i + 1]) + gap))
    seen[i + 1] = string.gsub(seen[i + 1], '^%d+', at)
    call('HSET', WORKERS, seen[i], seen[i + 1])
    each_lease(seen[i], function(id, chunk, process, token, lane, deadline)
      open(id)
      deadline = string.format('%d', deadline + gap)
      call('HSET', string.format(LEASES, seen[i]), lease_field(chunk),
        table.concat({process, token, lane, deadline}, ' '))
    end)
  end
  for _, id in ipairs(call('ZRANGE', UPLOADS, 0, -1)) do call('ZINCRBY', UPLOADS, gap, id) end
end

-- Leases of dead workers, and those that outlived what they were given.
for i = 1, #seen, 2 do
  local worker, at = seen[i], parse_worker(seen[i + 1])
  local is_dead = NOW - at > silence
  each_lease(worker, function(id, chunk, _, token, _, deadline)
    if not is_dead and tonumber(deadline) >= NOW then return end
    open(id)
    local reason = is_dead and 'vanished' or 'overdue'
    if give_back(worker, chunk, token, reason, most_lost) then note(reason, lease_field(chunk)) end
  end)
  if is_dead then
    call('HDEL', WORKERS, worker)
    note('dead', worker)
  end
end

-- What is told by workers that are not heard of. A worker may vanish whatever its shadows do.
for _, worker in ipairs(call('HKEYS', MODELS)) do
  if call('HEXISTS', WORKERS, worker) == 0 then call('HDEL', MODELS, worker) end
end
each_shadowing(function(worker, _, _, field)
  if call('HEXISTS', WORKERS, worker) == 0 then call('HDEL', SHADOWING, field) end
end)

local function over(zset)
  return call('ZRANGE', zset, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, most)
end

local function fail_those_over(zset, code, detail)
  for _, id in ipairs(over(zset)) do
    open(id)
    call('ZREM', zset, id)
    if not closed() then
      finish('failed', code, detail)
      note(code, id)
    end
  end
end

fail_those_over(DEADLINES, 'deadline_exceeded', 'The job did not end within its deadline.')
fail_those_over(UPLOADS, 'upload_incomplete',
  'Nobody vouches for the upload any more, so its server is gone; send it again.')

for _, id in ipairs(over(EXPIRIES)) do
  open(id)
  free_all()
  forget()
  note('expired', id)
end

-- Chunks of jobs whose record has gone before anybody forgot them, and of those that were ended by a
-- worker of a version without this index. Nothing has happened to these for so long that they are the
-- first in line.
for _, lane in ipairs({'small', 'bulk'}) do
  local key = string.format(WAITING_CHUNKS, lane)
  for _, member in ipairs(call('ZRANGE', key, 0, most - 1)) do
    local status = call('HGET', string.format(JOB_KEY, string.match(member, '^%S+'), ''), 'status')
    if not status or ENDS[status] then call('ZREM', key, member) end
  end
end

-- How fast rows are done, as a mean that forgets within about ten seconds.
local rows_done = tonumber(call('HGET', BACKLOG, 'done')) or 0
local before = tonumber(call('HGET', BACKLOG, 'sampled_done')) or rows_done
local seconds = math.max(gap, 1) / 1000
local rate = math.max(0, rows_done - before) / seconds
local share = math.min(1, 0.1 * seconds)
rate = share * rate + (1 - share) * (tonumber(call('HGET', BACKLOG, 'rate')) or rate)
local used, max = memory()
call('HSET', BACKLOG, 'sampled_done', rows_done, 'sampled_at_ms', NOW, 'rate',
  string.format('%.1f', rate), 'used', used, 'most', max)
return done
