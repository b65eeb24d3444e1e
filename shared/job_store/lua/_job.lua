-- Stands before every other script. KEYS are those of one job, in the order of keys.py.
-- The clock is the server's, so API and workers on several machines agree about time.
local RECORD, CHUNKS, INPUTS = KEYS[1], KEYS[2], KEYS[3]
local RESULTS, ERRORS, TOMBSTONE, ENDED = KEYS[4], KEYS[5], KEYS[6], KEYS[7]

local ENDS = {succeeded = true, partially_succeeded = true, failed = true, cancelled = true}

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function get(field)
  return redis.call('HGET', RECORD, field)
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
  redis.call('HSET', RECORD, 'expires_at_ms', now_ms() + seconds * 1000)
  for i = 1, 5 do redis.call('EXPIRE', KEYS[i], seconds) end
  redis.call('EXPIRE', TOMBSTONE, seconds + number('tombstone_seconds'))
end

-- End the job: called once per job, since an ended job is closed to every script.
local function finish(status, code, detail)
  redis.call('HSET', RECORD, 'status', status, 'finished_at_ms', now_ms())
  if code then redis.call('HSET', RECORD, 'error_code', code, 'error_detail', detail) end
  redis.call('DEL', INPUTS)
  renew()
  redis.call('PUBLISH', ENDED, status)
end

-- Chunks that may be queued now, so that at most `window` of the job's are queued or running.
local function release(window)
  local dispatched, done = number('chunks_dispatched'), number('chunks_done')
  local total, released = number('chunks_total'), {}
  while dispatched < total and dispatched - done < window do
    released[#released + 1] = dispatched
    dispatched = dispatched + 1
  end
  redis.call('HSET', RECORD, 'chunks_dispatched', dispatched)
  return released
end

-- Chunks that were released and that no worker has taken up yet. A repeated script answers with
-- them: the answer that named them first was lost, and a chunk queued twice does no harm.
local function untaken()
  local chunks = {}
  for chunk = 0, number('chunks_dispatched') - 1 do
    if redis.call('HEXISTS', CHUNKS, chunk .. ':token') == 0 then chunks[#chunks + 1] = chunk end
  end
  return chunks
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
