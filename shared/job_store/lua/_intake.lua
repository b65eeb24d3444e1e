-- Stands behind _work.lua before the scripts that take jobs in.

-- Jobs that are smaller don't need to know the server's memory to the byte.
local SMALL_BYTES = 65536

-- What was known of the backlog when the script began.
local KNOWN

-- Why there is no room for so many rows and bytes: {'busy', rows to be done before, rows/s} where there
-- is too much work; {'never', most bytes} for what would be too much for an empty server, too.
local function refusal(rows, bytes, most_rows, share)
  KNOWN = KNOWN or call('HMGET', BACKLOG, 'rows', 'bytes', 'sampled_at_ms', 'used', 'most')
  local waiting_rows = (tonumber(KNOWN[1]) or 0) + OWED.rows
  local promised_bytes = (tonumber(KNOWN[2]) or 0) + OWED.bytes
  local used, most = tonumber(KNOWN[4]), tonumber(KNOWN[5])
  if bytes > SMALL_BYTES or not most or NOW - KNOWN[3] > 2000 then used, most = memory() end
  if most > 0 and bytes > most * share then return {'never', math.floor(most * share)} end
  local excess_rows = waiting_rows + rows - most_rows
  local excess_bytes = most > 0 and used + promised_bytes + bytes - most * share or 0
  -- A service with nothing to do takes one job of any size that the other bounds allow.
  if (excess_rows > 0 and waiting_rows > 0) or excess_bytes > 0 then
    -- What waits makes room as it is done, each row about as much as any other.
    local rows_of_bytes = promised_bytes > 0 and excess_bytes * waiting_rows / promised_bytes or 0
    return {'busy', math.max(0, math.ceil(excess_rows), math.ceil(rows_of_bytes)),
      call('HGET', BACKLOG, 'rate') or ''}
  end
end

-- Make the record of the open job from pairs of field and value, in this status. Returns nil, or why
-- not: a refusal; {'taken', job, fingerprint} for an idempotency key that made a job before;
-- {'in flight', most} where its owner has too many jobs that have not ended.
local function create(status, idempotency_key, request, rows, bytes, most_rows, share, ...)
  local idempotency = idempotency_key ~= '' and string.format(IDEMPOTENCY, idempotency_key)
  if idempotency then
    local found = call('HMGET', idempotency, 'job_id', 'request')
    if found[1] then return {'taken', found[1], found[2]} end
  end
  local refused = refusal(rows, bytes, most_rows, share)
  if refused then return refused end
  IS_LOADED = true
  set('status', status, 'created_at_ms', string.format('%d', NOW), ...)
  if not take_off() then
    local most = number('most_in_flight')
    STAGES[ID] = nil
    forget_record()
    return {'in flight', most}
  end
  call('SET', TOMBSTONE, with_owner('expired'))
  if idempotency then
    set('idempotency_key', idempotency_key)
    call('HSET', idempotency, 'job_id', ID, 'request', request)
  end
  call('ZADD', JOBS, 0, ID)
  if get('payload_url') then call('HSET', PAYLOADS, ID, get('payload_url')) end
  local owner = get('owner')
  if owner then call('ZADD', string.format(JOBS_OF, owner), 0, ID) end
  local deadline = term('deadline_seconds')
  if deadline > 0 then call('ZADD', DEADLINES, NOW + deadline * 1000, ID) end
  OWED_BY[ID] = {rows = 0, bytes = 0}
  count_use('jobs', 1)
end

-- Add a chunk whose input is stored. `growth`: bytes that its results take.
local function add_chunk(chunk, plan, rows, growth)
  call('HSET', CHUNKS, chunk, plan, chunk .. ':growth', growth)
  set('total', number('total') + rows, 'chunks_total', number('chunks_total') + 1)
  if get('lane') ~= 'small' then begin_waiting(chunk) end
  make_ready()
end

-- The whole body is here.
local function close(bytes, sha256)
  set('is_received', 1, 'input_bytes', bytes, 'input_sha256', sha256)
end
