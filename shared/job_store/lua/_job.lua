-- Stands before every other script. The key names come from keys.py, the sets ENDS and NEVER_TAKEN_IN
-- from jobs.py. The clock is the server's, so API and workers on several machines agree about time.
local ID, RECORD, CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS, TOMBSTONE, PROGRESS
-- The open job's record, if `load` has read it.
local FIELDS

local call = redis.call
local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- Results up to so many bytes are told with the end of their job: an answer to a small request.
local MOST_TOLD = 16384

-- Make a job the one that the functions below are about.
local function open(id)
  local function key(suffix) return string.format(JOB_KEY, id, suffix) end
  ID, RECORD, CHUNKS, FIELDS = id, key(''), key(':chunks'), nil
  RETURNED, PARTS, RESULTS = key(':returned'), key(':parts'), key(':results')
  ERRORS, REJECTS, TOMBSTONE = key(':errors'), key(':rejects'), key(':tombstone')
  PROGRESS = key(':progress')
end

local function input(chunk)
  return string.format(JOB_KEY, ID, ':input:' .. chunk)
end

-- Read the whole record at once, for scripts that need much of it.
local function load()
  local found = call('HGETALL', RECORD)
  FIELDS = {}
  for i = 1, #found, 2 do FIELDS[found[i]] = found[i + 1] end
end

local function get(field)
  if FIELDS then return FIELDS[field] or false end
  return call('HGET', RECORD, field)
end

-- Write fields of the record, given as pairs of field and value.
local function set(...)
  call('HSET', RECORD, ...)
  local given = FIELDS and {...} or {}
  for i = 1, #given, 2 do FIELDS[given[i]] = tostring(given[i + 1]) end
end

-- Add to a field of the record that holds a number; returns what it is then.
local function add(field, change)
  local value = call('HINCRBY', RECORD, field, change)
  if FIELDS then FIELDS[field] = tostring(value) end
  return value
end

local function unset(field)
  call('HDEL', RECORD, field)
  if FIELDS then FIELDS[field] = nil end
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

local function is_committed(chunk)
  return call('HEXISTS', RESULTS, chunk) == 1
end

-- How long an input is kept if nobody frees it: longer than a job at which nothing happens.
local function keep_input(chunk)
  call('EXPIRE', input(chunk), 2 * number('active_seconds'))
end

-- Free the inputs of all chunks; those of committed ones are free already.
local function free_inputs()
  local chunks, done = number('chunks_total'), number('chunks_done')
  -- One more may be here of which nobody has said yet that it belongs to the job.
  if number('is_received') == 0 then chunks = chunks + 1 end
  if done >= chunks then return end
  local inputs = {}
  for chunk = 0, chunks - 1 do
    inputs[#inputs + 1] = input(chunk)
    if #inputs == 1000 or chunk == chunks - 1 then
      call('UNLINK', unpack(inputs))
      inputs = {}
    end
  end
end

local function free_all()
  free_inputs()
  call('UNLINK', RECORD, CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
end

-- Count the lifetime of the job anew, with these keys of it besides the record. Its retention begins
-- with its end; before that it is kept for `active_seconds` after its last change, so that no queue is
-- too long for it.
local function keep(...)
  local has_ended = ENDS[get('status')]
  local seconds = number(has_ended and 'retention_seconds' or 'active_seconds')
  local expires_at = string.format('%d', NOW + seconds * 1000)
  set('expires_at_ms', expires_at)
  -- The sweep must still find how many inputs there are.
  call('EXPIRE', RECORD, has_ended and seconds or seconds + 60)
  for _, key in ipairs({...}) do call('EXPIRE', key, seconds) end
  if not has_ended then
    for chunk = 0, number('chunks_total') - 1 do keep_input(chunk) end
  end
  call('ZADD', EXPIRIES, expires_at, ID)
  local afterwards = seconds + number('tombstone_seconds')
  call('EXPIRE', TOMBSTONE, afterwards)
  local idempotency = get('idempotency_key')
  if idempotency then call('EXPIRE', string.format(IDEMPOTENCY, idempotency), afterwards) end
end

-- `keep` for all keys there may be while the job has not ended. What happens within a hundredth of its
-- lifetime is one change: then only the keys named, which may be new, get theirs.
local function renew(...)
  local seconds = number('active_seconds')
  if number('expires_at_ms') > NOW + seconds * 990 then
    for _, key in ipairs({...}) do call('EXPIRE', key, seconds, 'NX') end
  else
    keep(CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
  end
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
  local left = call('HMGET', BACKLOG, 'rows:' .. id, 'bytes:' .. id)
  if not left[1] and not left[2] then return end
  for i, what in ipairs({'rows', 'bytes'}) do
    local owed = tonumber(left[i]) or 0
    if owed ~= 0 then call('HINCRBY', BACKLOG, what, -owed) end
  end
  call('HDEL', BACKLOG, 'rows:' .. id, 'bytes:' .. id)
end

local function free_idempotency_key()
  local key = get('idempotency_key')
  if not key then return end
  call('DEL', string.format(IDEMPOTENCY, key))
  unset('idempotency_key')
end

-- Tell those who wait for the job's end that it is gone, or what there is to know of it.
local function tell(...)
  local awaited_by = get('awaited_by')
  if not awaited_by then return end
  local message = cjson.encode({ID, ...})
  for channel in string.gmatch(awaited_by, '%S+') do call('PUBLISH', channel, message) end
end

local function tell_end()
  if not get('awaited_by') then return end
  if not FIELDS then load() end
  local results = ''
  if number('chunks_total') == 1 and call('HSTRLEN', RESULTS, '0') <= MOST_TOLD then
    results = call('HGET', RESULTS, '0') or ''
  end
  tell(string.format('%d', NOW), FIELDS, results)
end

-- End the job: called once per job, since an ended job is closed to every script.
local function finish(status, code, detail)
  set('status', status, 'finished_at_ms', string.format('%d', NOW))
  if code then set('error_code', code, 'error_detail', detail) end
  if NEVER_TAKEN_IN[code] then free_idempotency_key() end
  free_inputs()
  call('UNLINK', RETURNED, PARTS)
  if number('deadline_seconds') > 0 then call('ZREM', DEADLINES, ID) end
  if number('is_received') == 0 then call('ZREM', UPLOADS, ID) end
  owe_nothing(ID)
  keep(CHUNKS, RESULTS, ERRORS, REJECTS)
  call('PUBLISH', PROGRESS, status)
  tell_end()
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
