-- Stands behind _job.lua before every script: the lines of jobs with work to do, who does it and who
-- is woken for it.

local function has_chunks_to_run()
  return number('chunks_taken') < number('chunks_total') or call('EXISTS', RETURNED) == 1
end

-- Put the job at the end of its caller's line, and the caller at the end of the ring of callers. A
-- caller is in the ring as long as it has a line.
local function make_ready()
  if get('is_ready') then return end
  set('is_ready', 1)
  local lane, caller = get('lane'), get('caller')
  local ring, line = string.format(READY, lane), string.format(READY_JOBS, lane, caller)
  if call('RPUSH', line, ID) == 1 then call('RPUSH', ring, caller) end
end

local function has_ready(lane)
  return call('EXISTS', string.format(READY, lane)) == 1
end

-- What a worker said of itself: when it was last seen, its processes, and how many may run bulk.
-- Threads and cores, which follow, are for people.
local function parse_worker(text)
  local at, processes, bulk = string.match(text, '^(%d+) (%d+) (%d+)')
  return tonumber(at), tonumber(processes), tonumber(bulk)
end

-- Call `f` with job, chunk, process, token, lane and deadline of every lease of a worker.
local function each_lease(worker, f)
  local held = call('HGETALL', string.format(LEASES, worker))
  for i = 1, #held, 2 do
    local id, chunk = string.match(held[i], '^(%S+) (%d+)$')
    f(id, chunk, string.match(held[i + 1], '^(%S+) (%d+) (%S+) (%d+)$'))
  end
end

-- Call `f` with worker, process, version and field of all that is scored as a shadow.
local function each_shadowing(f)
  local noted = call('HGETALL', SHADOWING)
  for i = 1, #noted, 2 do
    local worker, version = string.match(noted[i], '^(%S+) (.+)$')
    f(worker, noted[i + 1], version, noted[i])
  end
end

-- How many processes of a worker run something, and how many of them bulk.
local function busy(worker)
  local seen, all, bulk = {}, 0, 0
  each_lease(worker, function(_, _, process, _, lane)
    if seen[process] then return end
    seen[process] = true
    all = all + 1
    if lane == 'bulk' then bulk = bulk + 1 end
  end)
  return all, bulk
end

-- Whether a worker, as it described itself, has a process to spare for a lane beside the busy ones.
local function has_room(description, all_busy, bulk_busy, lane)
  local _, processes, bulk = parse_worker(description)
  return all_busy < processes and (lane == 'small' or bulk_busy < bulk)
end

local function is_idle(worker, description, lane)
  local all_busy, bulk_busy = busy(worker)
  return has_room(description, all_busy, bulk_busy, lane)
end

local function has_idle(lane)
  local seen = call('HGETALL', WORKERS)
  for i = 1, #seen, 2 do
    if is_idle(seen[i], seen[i + 1], lane) then return true end
  end
  return false
end

-- Wake a process that lingers: one of a worker which may run something of the lane.
local function wake_lingering(lane)
  for _, member in ipairs(call('ZRANGE', LINGERING, NOW, '+inf', 'BYSCORE')) do
    local worker = string.match(member, '^(%S+) ')
    local description = call('HGET', WORKERS, worker)
    if description and is_idle(worker, description, lane) then
      call('ZREM', LINGERING, member)
      local bell = string.format(BELL, member)
      call('RPUSH', bell, lane)
      call('PEXPIRE', bell, 5000)
      return true
    end
  end
  call('ZREMRANGEBYSCORE', LINGERING, '-inf', NOW)
  return false
end

-- See to it that somebody looks for work in a lane, unless somebody is about to. Returns 1 if that
-- takes a message, which the caller has to send. Who was woken and never comes is made up for by the
-- workers' beat.
local function wake(lane)
  local woken = string.format(WOKEN, lane)
  if call('EXISTS', woken) == 1 then return 0 end
  local is_rung = wake_lingering(lane)
  if not is_rung and not has_idle(lane) then return 0 end
  call('SET', woken, 'rung', 'PX', 1000)
  return is_rung and 0 or 1
end

local function lease_field(chunk)
  return ID .. ' ' .. chunk
end

-- Take an attempt's lease off its worker's list, unless a newer attempt on the chunk has its place.
local function release(worker, chunk, token)
  local leases, field = string.format(LEASES, worker), lease_field(chunk)
  local held = call('HGET', leases, field)
  if held and string.match(held, '^%S+ (%d+) ') == token then call('HDEL', leases, field) end
end

-- Take a running chunk from its attempt, which can't commit any more, and let others run it.
-- `reason`: 'died', 'vanished' or 'overdue' if the attempt was lost; 'returned' if nothing is to be
-- held against the chunk.
local function give_back(worker, chunk, token, reason, max_lost)
  release(worker, chunk, token)
  if closed() or call('HGET', CHUNKS, chunk .. ':token') ~= token then return false end
  if is_committed(chunk) then return false end
  call('HINCRBY', CHUNKS, chunk .. ':token', 1)
  if reason ~= 'returned' then
    call('HINCRBY', COUNTERS, 'attempts_' .. reason, 1)
    local rows = call('HGET', CHUNKS, chunk .. ':running') or ''
    local lost = call('HGET', CHUNKS, chunk .. ':lost') or ''
    call('HSET', CHUNKS, chunk .. ':lost', lost .. reason .. ' ' .. rows .. '\n')
    add('attempts_lost', 1)
    -- Machines that vanish are as a rule not the job's fault, however many they are.
    if reason == 'died' and add('attempts_died', 1) > max_lost then
      finish('failed', 'attempts_exhausted',
        'The job was given up at chunk ' .. chunk .. '; ' .. max_lost
        .. ' attempts had been lost before.')
      return true
    end
  end
  call('RPUSH', RETURNED, chunk)
  begin_waiting(chunk)
  renew(RETURNED)
  make_ready()
  return true
end
