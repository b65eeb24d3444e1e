-- ARGV: worker, process, seconds a chunk may run, then lanes in the order in which they are looked
-- at, which changes when there would be no bulk work at all.
-- Leases the next chunk to a process of a live worker: callers take turns, and the jobs of a caller
-- take turns. A process runs one chunk at a time: what it still holds it never learnt of.
-- Returns {'leased', lane, job, chunk, token, attempts, plan, input, spec, lost attempts, pairs of
-- rows and result of parts done}, or {'nothing'}; {'unknown'} for a worker not heard of.
local worker = ARGV[1]
local seen = call('HGET', WORKERS, worker)
if not seen then return {'unknown'} end
local _, processes, most_bulk = parse_worker(seen)

-- Open a job that has left its line; whether there is a chunk of it to run.
local function is_next(id)
  open(id)
  if closed() then return false end
  call('HDEL', RECORD, 'is_ready')
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
  return tostring(call('HINCRBY', RECORD, 'chunks_taken', 1) - 1)
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

local function lease(lane)
  local chunk = next_chunk()
  if has_chunks_to_run() then make_ready() end
  local token = call('HINCRBY', CHUNKS, chunk .. ':token', 1)
  local attempts = call('HINCRBY', CHUNKS, chunk .. ':attempts', 1)
  local plan, lost = call('HGET', CHUNKS, chunk), call('HGET', CHUNKS, chunk .. ':lost') or ''
  local running = lost == '' and '0-' .. string.format('%d', cjson.decode(plan)['rows']) or ''
  call('HSET', CHUNKS, chunk .. ':running', running)
  local deadline = string.format('%d', NOW + ARGV[3] * 1000)
  call('HSET', string.format(LEASES, worker), lease_field(chunk),
    table.concat({ARGV[2], token, lane, deadline}, ' '))
  if not get('started_at_ms') then call('HSET', RECORD, 'started_at_ms', NOW) end
  if get('status') == 'queued' then call('HSET', RECORD, 'status', 'running') end
  renew()
  return {'leased', lane, ID, chunk, token, attempts, plan, call('HGET', INPUTS, chunk), get('spec'),
    lost, parts_done(chunk)}
end

each_lease(worker, function(id, chunk, process, token)
  if process ~= ARGV[2] then return end
  open(id)
  give_back(worker, chunk, token, 'returned')
end)

local all_busy, bulk_busy = busy(worker)
if all_busy >= processes then return {'nothing'} end
local lanes = {unpack(ARGV, 4)}
-- However many small jobs come, one of the worker's processes goes on with bulk work.
if all_busy > 0 and bulk_busy == 0 and lanes[2] then lanes[1], lanes[2] = lanes[2], lanes[1] end
for _, lane in ipairs(lanes) do
  local may_run = lane == 'small' or bulk_busy < most_bulk
  if may_run and next_job(lane) then return lease(lane) end
end
return {'nothing'}
