-- ARGV: worker, process, seconds a chunk may run, most jobs, rows and seconds of what is run together,
-- ms for which nobody else need be woken for small jobs, ms for which the process lingers when there
-- is nothing, then lanes in the order in which they are looked at, which changes when there would be
-- no bulk work at all.
-- Leases the next chunk to a process of a live worker: callers take turns, and the jobs of a caller
-- take turns. With a small job come others that wait for the same model and want the same of it,
-- whoever sent them. A process runs one thing at a time: what it still holds it never learnt of.
-- Returns {'leased', 1 if a worker must be woken by a message, lane, spec, then for each chunk {job, chunk,
-- token, attempts, plan, input, lost attempts, pairs of rows and result of parts done, ms for which it
-- has waited or -1, trail}}, with the input of bulk left to be read; {'nothing'}; {'lingers'};
-- {'unknown'} for a worker not heard of.
local worker, process = ARGV[1], ARGV[2]
-- Rows a second that a model of unknown speed is taken for.
local UNKNOWN_SPEED = 200
local most_jobs, most_rows, most_seconds = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local held_back, linger = tonumber(ARGV[7]), tonumber(ARGV[8])
local member = worker .. ' ' .. process
local seen = call('HGET', WORKERS, worker)
if not seen then return {'unknown'} end
local _, processes, most_bulk = parse_worker(seen)

-- Open a job and read what is needed of its record.
local function look_at(id)
  open(id)
  fetch('status', 'lane', 'is_received', 'chunks_total', 'chunks_taken', 'total', 'spec', 'started_at_ms',
    'created_at_ms', 'trail')
end

-- Open a job that has left its line; whether there is a chunk of it to run.
local function is_next(id)
  look_at(id)
  if closed() then return false end
  unset('is_ready')
  return has_chunks_to_run()
end

-- Jobs that have ended meanwhile cost their caller no turn.
local function next_job(lane)
  local ring = string.format(READY, lane)
  while true do
    local caller = call('LMOVE', ring, ring, 'LEFT', 'RIGHT')
    if not caller then return false end
    local line = string.format(READY_JOBS, lane, caller)
    local id = call('LPOP', line)
    while id and not is_next(id) do id = call('LPOP', line) end
    if call('EXISTS', line) == 0 then call('LREM', ring, -1, caller) end
    if id then return true end
  end
end

local function next_chunk()
  local chunk = call('LPOP', RETURNED)
  if chunk then return chunk end
  return tostring(add('chunks_taken', 1) - 1)
end

local function parts_done(chunk)
  local parts = {}
  if not call('HGET', CHUNKS, chunk .. ':lost') then return parts end
  local all = call('HGETALL', PARTS)
  for i = 1, #all, 2 do
    local rows = string.match(all[i], '^' .. chunk .. ':(.*)$')
    if rows then
      parts[#parts + 1] = rows
      parts[#parts + 1] = all[i + 1]
    end
  end
  return parts
end

local function hold(lane, chunk, token)
  local deadline = string.format('%d', NOW + ARGV[3] * 1000)
  call('HSET', string.format(LEASES, worker), lease_field(chunk),
    table.concat({process, token, lane, deadline}, ' '))
end

local function lease(lane)
  local chunk = next_chunk()
  local waited = end_waiting(chunk)
  if has_chunks_to_run() then make_ready() end
  local token = call('HINCRBY', CHUNKS, chunk .. ':token', 1)
  local attempts = call('HINCRBY', CHUNKS, chunk .. ':attempts', 1)
  local plan, lost = call('HGET', CHUNKS, chunk), call('HGET', CHUNKS, chunk .. ':lost') or ''
  local running = lost == '' and '0-' .. string.match(plan, '"rows":(%d+)') or ''
  call('HSET', CHUNKS, chunk .. ':running', running, chunk .. ':worker', worker)
  hold(lane, chunk, token)
  if not get('started_at_ms') then set('started_at_ms', string.format('%d', NOW)) end
  if get('status') == 'queued' then set('status', 'running') end
  renew()
  local data = lane == 'small' and call('GET', input(chunk)) or ''
  return {ID, chunk, token, attempts, plan, data, lost, parts_done(chunk), waited, get('trail') or ''}
end

-- `lease` for the only chunk of a job of so many rows that nobody has begun.
local function lease_fresh(rows)
  set('chunks_taken', 1, 'started_at_ms', string.format('%d', NOW), 'status', 'running')
  unset('is_ready')
  call('HSET', CHUNKS, '0:token', 1, '0:attempts', 1, '0:running', '0-' .. rows, '0:worker', worker)
  hold('small', '0', 1)
  return {ID, '0', 1, 1, call('HGET', CHUNKS, '0'), call('GET', input(0)), '', {},
    NOW - number('created_at_ms'), get('trail') or ''}
end

-- The rows and the spec of a job of one chunk that nobody has begun; false for another.
local function fresh()
  local is_fresh = get('status') == 'queued' and get('is_received') == '1' and get('chunks_total') == '1'
    and not get('chunks_taken')
  return is_fresh and number('total'), get('spec')
end

-- Lease other small jobs with the same spec, as far as they fit. `rows`: of those leased already.
local function join(leases, spec, rows)
  local ring, speed = string.format(READY, 'small'), call('HGET', SPEEDS, get('model'))
  most_rows = math.min(most_rows, (speed or UNKNOWN_SPEED) * most_seconds)
  for _, caller in ipairs(call('LRANGE', ring, 0, most_jobs - 1)) do
    local line = string.format(READY_JOBS, 'small', caller)
    for _, id in ipairs(call('LRANGE', line, 0, most_jobs - 1)) do
      if #leases >= most_jobs then return end
      look_at(id)
      local more, its_spec = fresh()
      if more and rows + more <= most_rows and its_spec == spec then
        call('LREM', line, 1, id)
        rows = rows + more
        leases[#leases + 1] = lease_fresh(more)
      end
    end
    if call('EXISTS', line) == 0 then call('LREM', ring, 1, caller) end
  end
end

each_lease(worker, function(id, chunk, holder, token)
  if holder ~= process then return end
  open(id)
  give_back(worker, chunk, token, 'returned')
end)
call('ZREM', LINGERING, member)

local all_busy, bulk_busy = busy(worker)
if all_busy >= processes then return {'nothing'} end
local lanes = {unpack(ARGV, 9)}
-- However many small jobs come, one of the worker's processes goes on with bulk work.
if all_busy > 0 and bulk_busy == 0 and lanes[2] then lanes[1], lanes[2] = lanes[2], lanes[1] end

-- Who was about to look for work has looked. But small jobs are left to a process that is back in a
-- moment: it takes them all together.
local is_left = false
for _, lane in ipairs(lanes) do
  local woken = string.format(WOKEN, lane)
  local by = call('GET', woken)
  if lane == 'small' and by and by ~= 'rung' and by ~= member then
    is_left = true
  else
    call('DEL', woken)
  end
end

local function may_take(lane)
  if lane == 'small' then return not is_left end
  return bulk_busy < most_bulk
end

for _, lane in ipairs(lanes) do
  if may_take(lane) and next_job(lane) then
    local spec, leases = get('spec'), {}
    local rows = lane == 'small' and fresh()
    if rows then
      leases[1] = lease_fresh(rows)
      join(leases, spec, rows)
    else
      leases[1] = lease(lane)
    end
    local message = 0
    for _, other in ipairs(lanes) do
      if has_ready(other) then message = math.max(message, wake(other)) end
    end
    if lane == 'small' and held_back > 0 and not has_ready(lane) then
      call('SET', string.format(WOKEN, lane), member, 'PX', held_back)
    end
    return {'leased', message, lane, spec, unpack(leases)}
  end
end
if linger == 0 then return {'nothing'} end
call('ZADD', LINGERING, NOW + linger, member)
return {'lingers'}
