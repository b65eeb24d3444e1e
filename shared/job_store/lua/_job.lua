-- Stands before every other script. The key names come from keys.py, the sets ENDS and NEVER_TAKEN_IN
-- from jobs.py. The clock is the server's, so API and workers on several machines agree about time.
local ID, RECORD, CHUNKS, INPUTS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS, TOMBSTONE, ENDED

local call = redis.call
local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- Make a job the one that the functions below are about.
local function open(id)
  local function key(suffix) return string.format(JOB_KEY, id, suffix) end
  ID, RECORD, CHUNKS, INPUTS = id, key(''), key(':chunks'), key(':inputs')
  RETURNED, PARTS, RESULTS = key(':returned'), key(':parts'), key(':results')
  ERRORS, REJECTS, TOMBSTONE, ENDED = key(':errors'), key(':rejects'), key(':tombstone'), key(':ended')
end

local function get(field)
  return call('HGET', RECORD, field)
end

local function number(field)
  return tonumber(get(field)) or 0
end

-- Why nothing may be written to the job any more; false while something may.
local function closed()
  local status = get('status')
  if not status then return 'gone' end
  if ENDS[status] then return 'ended' end
  return false
end

-- Count the lifetime of all the job's keys anew. Its retention begins with its end; before that it
-- is kept for `active_seconds` after its last change, so that no queue is too long for it.
local function renew()
  local has_ended = ENDS[get('status')]
  local seconds = number(has_ended and 'retention_seconds' or 'active_seconds')
  call('HSET', RECORD, 'expires_at_ms', NOW + seconds * 1000)
  for _, key in ipairs({RECORD, CHUNKS, INPUTS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS}) do
    call('EXPIRE', key, seconds)
  end
  call('ZADD', EXPIRIES, NOW + seconds * 1000, ID)
  local afterwards = seconds + number('tombstone_seconds')
  call('EXPIRE', TOMBSTONE, afterwards)
  local idempotency = get('idempotency_key')
  if idempotency then call('EXPIRE', string.format(IDEMPOTENCY, idempotency), afterwards) end
end

-- Change what the job still brings: rows without an outcome, and bytes to be stored for it. The
-- totals are what admission looks at.
local function owe(rows, bytes)
  for what, change in pairs({rows = rows, bytes = bytes}) do
    if change ~= 0 then
      call('HINCRBY', BACKLOG, what, change)
      call('HINCRBY', BACKLOG, what .. ':' .. ID, change)
    end
  end
end

-- A job that has ended or is gone brings nothing more.
local function owe_nothing(id)
  for _, what in ipairs({'rows', 'bytes'}) do
    local left = tonumber(call('HGET', BACKLOG, what .. ':' .. id)) or 0
    if left ~= 0 then call('HINCRBY', BACKLOG, what, -left) end
    call('HDEL', BACKLOG, what .. ':' .. id)
  end
end

local function free_idempotency_key()
  local key = get('idempotency_key')
  if not key then return end
  call('DEL', string.format(IDEMPOTENCY, key))
  call('HDEL', RECORD, 'idempotency_key')
end

-- End the job: called once per job, since an ended job is closed to every script.
local function finish(status, code, detail)
  call('HSET', RECORD, 'status', status, 'finished_at_ms', NOW)
  if code then call('HSET', RECORD, 'error_code', code, 'error_detail', detail) end
  if NEVER_TAKEN_IN[code] then free_idempotency_key() end
  call('UNLINK', INPUTS, RETURNED, PARTS)
  call('ZREM', DEADLINES, ID)
  call('ZREM', UPLOADS, ID)
  owe_nothing(ID)
  renew()
  call('PUBLISH', ENDED, status)
end

-- End the job if its whole input is here and scored.
local function finish_if_complete()
  if number('is_received') == 0 or number('chunks_done') < number('chunks_total') then
    return false
  end
  if number('failed') == 0 then
    finish('succeeded')
  elseif number('succeeded') > 0 then
    finish('partially_succeeded')
  else
    finish('failed', 'all_rows_failed', 'No row could be scored; see the row errors.')
  end
  return true
end

local function has_chunks_to_run()
  return number('chunks_taken') < number('chunks_total') or call('EXISTS', RETURNED) == 1
end

-- Put the job at the end of its caller's line, and the caller at the end of the ring of callers. A
-- caller is in the ring as long as it has a line.
local function make_ready()
  local lane, caller = get('lane'), get('caller')
  local ring, line = string.format(READY, lane), string.format(READY_JOBS, lane, caller)
  if call('HSETNX', RECORD, 'is_ready', 1) == 1 and call('RPUSH', line, ID) == 1 then
    call('RPUSH', ring, caller)
  end
end

local function has_ready(lane)
  return call('EXISTS', string.format(READY, lane)) == 1
end

-- What a worker said of itself: when it was last seen, its processes, and how many may run bulk.
local function parse_worker(text)
  local at, processes, bulk = string.match(text, '^(%d+) (%d+) (%d+)$')
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

-- How many processes of a worker run something, and how many of them bulk.
local function busy(worker)
  local all, bulk = 0, 0
  each_lease(worker, function(_, _, _, _, lane)
    all = all + 1
    if lane == 'bulk' then bulk = bulk + 1 end
  end)
  return all, bulk
end

-- Whether a live worker has a process to spare for a lane.
local function has_idle(lane)
  local seen = call('HGETALL', WORKERS)
  for i = 1, #seen, 2 do
    local _, processes, bulk = parse_worker(seen[i + 1])
    local all_busy, bulk_busy = busy(seen[i])
    if all_busy < processes and (lane == 'small' or bulk_busy < bulk) then return true end
  end
  return false
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
  if call('HEXISTS', INPUTS, chunk) == 0 then return false end
  call('HINCRBY', CHUNKS, chunk .. ':token', 1)
  if reason ~= 'returned' then
    call('HINCRBY', COUNTERS, 'attempts_' .. reason, 1)
    local rows = call('HGET', CHUNKS, chunk .. ':running') or ''
    local lost = call('HGET', CHUNKS, chunk .. ':lost') or ''
    call('HSET', CHUNKS, chunk .. ':lost', lost .. reason .. ' ' .. rows .. '\n')
    call('HINCRBY', RECORD, 'attempts_lost', 1)
    -- Machines that vanish are as a rule not the job's fault, however many they are.
    if reason == 'died' and call('HINCRBY', RECORD, 'attempts_died', 1) > max_lost then
      finish('failed', 'attempts_exhausted',
        'The job was given up at chunk ' .. chunk .. '; ' .. max_lost
        .. ' attempts had been lost before.')
      return true
    end
  end
  call('RPUSH', RETURNED, chunk)
  renew()
  make_ready()
  return true
end

-- Forget all that is kept about a job outside of its own keys.
local function forget(id)
  owe_nothing(id)
  call('ZREM', JOBS, id)
  call('ZREM', EXPIRIES, id)
  call('ZREM', DEADLINES, id)
  call('ZREM', UPLOADS, id)
end

-- Bytes in use and the most there may be; the latter is 0 where there is no bound.
local function memory()
  local info = call('INFO', 'memory')
  return tonumber(string.match(info, 'used_memory:(%d+)')),
    tonumber(string.match(info, 'maxmemory:(%d+)'))
end
