-- Stands before every other script. The key names come from keys.py, the sets ENDS and NEVER_TAKEN_IN
-- and the word VALIDATION from jobs.py, STAGE from stages.py. The clock is the server's, so API and
-- workers on several machines agree about time.
local ID, RECORD, CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS, DELIVERIES, TOMBSTONE, PROGRESS
-- What is known of the open job's record: false for a field that it has not. It is written back when
-- another job is opened and at the script's end, so that many changes are one command.
local FIELDS, IS_LOADED, CHANGED, RECORD_SECONDS, TERMS

local call = redis.call
local time = call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- Results up to so many bytes are told with the end of their job: an answer to a small request.
local MOST_TOLD = 16384

local function forget_record()
  FIELDS, IS_LOADED, CHANGED, RECORD_SECONDS, TERMS = {}, false, {}, nil, nil
end

local function write_back()
  if next(CHANGED) then
    local written, removed = {}, {}
    for field in pairs(CHANGED) do
      local value = FIELDS[field]
      if value then
        written[#written + 1] = field
        written[#written + 1] = value
      else
        removed[#removed + 1] = field
      end
    end
    if #written > 0 then call('HSET', RECORD, unpack(written)) end
    if #removed > 0 then call('HDEL', RECORD, unpack(removed)) end
    CHANGED = {}
  end
  if RECORD_SECONDS then
    call('EXPIRE', RECORD, RECORD_SECONDS)
    RECORD_SECONDS = nil
  end
end

forget_record()

-- Make a job the one that the functions below are about.
local function open(id)
  write_back()
  local key = string.format(JOB_KEY, id, '')
  forget_record()
  ID, RECORD, CHUNKS, RETURNED, PARTS = id, key, key .. ':chunks', key .. ':returned', key .. ':parts'
  RESULTS, ERRORS, REJECTS = key .. ':results', key .. ':errors', key .. ':rejects'
  DELIVERIES, TOMBSTONE, PROGRESS = key .. ':deliveries', key .. ':tombstone', key .. ':progress'
end

local function input(chunk)
  return RECORD .. ':input:' .. chunk
end

-- Read some fields of the record at once, as far as they are not known.
local function fetch(...)
  local fields = {}
  for _, field in ipairs({...}) do
    if FIELDS[field] == nil and not IS_LOADED then fields[#fields + 1] = field end
  end
  if #fields == 0 then return end
  for i, value in ipairs(call('HMGET', RECORD, unpack(fields))) do FIELDS[fields[i]] = value end
end

local function get(field)
  local value = FIELDS[field]
  if value == nil and not IS_LOADED then
    value = call('HGET', RECORD, field)
    FIELDS[field] = value
  end
  return value or false
end

-- By job, the stage that it has come to, or false for one that has ended or is gone; written at the
-- script's end.
local STAGES = {}

-- Write fields of the record, given as pairs of field and value.
local function set(...)
  local given, status = {...}, nil
  for i = 1, #given, 2 do
    FIELDS[given[i]] = tostring(given[i + 1])
    CHANGED[given[i]] = true
    if given[i] == 'status' then status = given[i + 1] end
  end
  if status then STAGES[ID] = not ENDS[status] and STAGE[(get('lane') or '') .. ' ' .. status] end
end

local function unset(field)
  FIELDS[field] = false
  CHANGED[field] = true
end

local function number(field)
  return tonumber(get(field)) or 0
end

-- One of the numbers that never change, which one field holds.
local function term(name)
  if not TERMS then
    local retention, active, tombstone, deadline, threshold =
      string.match(get('terms') or '', '^(%d+) (%d+) (%d+) (%d+) (-?%d+)$')
    -- What another version has written is kept for a day.
    TERMS = {
      retention_seconds = tonumber(retention or 86400), active_seconds = tonumber(active or 86400),
      tombstone_seconds = tonumber(tombstone or 86400), deadline_seconds = tonumber(deadline or 0),
      error_threshold = tonumber(threshold or -1),
    }
  end
  return TERMS[name]
end

-- Add to a field of the record that holds a number; returns what it is then.
local function add(field, change)
  local value = number(field) + change
  set(field, value)
  return value
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
  call('EXPIRE', input(chunk), 2 * term('active_seconds'))
end

-- Chunks that could be run and are not, by lane: since when (ms), or false for one that is not waiting
-- any more; written at the script's end. A small job is one chunk, which waits as long as its job is
-- queued: there is an index of that already, and only such chunks enter this one as are given back.
local WAITING = {}

local function note_waiting(chunk, since)
  local lane = get('lane')
  WAITING[lane] = WAITING[lane] or {}
  WAITING[lane][ID .. ' ' .. chunk] = since
end

local function begin_waiting(chunk)
  note_waiting(chunk, string.format('%d', NOW))
end

-- Take a chunk off the index; returns for how many ms it has waited, -1 if nobody knows.
local function end_waiting(chunk)
  note_waiting(chunk, false)
  local since = call('ZSCORE', string.format(WAITING_CHUNKS, get('lane')), ID .. ' ' .. chunk)
  return since and NOW - tonumber(since) or -1
end

-- None of the job's chunks is to be run any more.
local function stop_waiting()
  if number('chunks_done') >= number('chunks_total') then return end
  for chunk = number('chunks_taken'), number('chunks_total') - 1 do note_waiting(chunk, false) end
  for _, chunk in ipairs(call('LRANGE', RETURNED, 0, -1)) do note_waiting(chunk, false) end
end

local function write_waiting()
  for lane, chunks in pairs(WAITING) do
    local key, entered, left = string.format(WAITING_CHUNKS, lane), {}, {}
    for chunk, since in pairs(chunks) do
      if since then
        entered[#entered + 1] = since
        entered[#entered + 1] = chunk
      else
        left[#left + 1] = chunk
      end
    end
    -- A call takes some thousand arguments, and a job may have more chunks.
    for i = 1, #entered, 1000 do
      call('ZADD', key, unpack(entered, i, math.min(i + 999, #entered)))
    end
    for i = 1, #left, 1000 do call('ZREM', key, unpack(left, i, math.min(i + 999, #left))) end
  end
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

-- Host, with its port, that the open job's callback goes to, and the line of those to be told there;
-- nothing if the job has none.
local function callback()
  local url = get('callback_url')
  if not url then return end
  local host = string.match(url, '^%a+://([^/?]+)')
  return host, string.format(CALLBACKS_OF, host)
end

-- Have the end of the job told: it is due at once. No line is kept longer than the jobs in it.
local function call_back()
  local host, line = callback()
  if not host then return end
  call('ZADD', line, NOW, ID)
  call('ZADD', CALLBACKS, 'LT', NOW, host)
  for _, key in ipairs({line, CALLBACKS}) do
    call('EXPIRE', key, term('retention_seconds'), 'NX')
    call('EXPIRE', key, term('retention_seconds'), 'GT')
  end
end

-- Nothing more is to be told of the job.
local function leave_callbacks()
  local host, line = callback()
  if not host then return end
  call('ZREM', line, ID)
  if call('EXISTS', line) == 0 then call('ZREM', CALLBACKS, host) end
end

-- Names of objects that nobody needs any more are looked for once more after so long, in which whoever
-- was about to write one has learnt that its job is gone.
local LATE_MS = 120000

-- What a server loses that dies is younger than this: the end that made inputs useless may be among it.
local SETTLED_MS = 5000

-- Have the objects of the open job deleted whose names, behind the job's id, begin so: after `ms`.
-- Scripts can't reach them, so a note is left for who can. Returns it.
local function discard(url, what, ms, pass)
  local note = table.concat({ID .. '/' .. what, pass, url}, ' ')
  call('ZADD', GARBAGE, NOW + ms, note)
  return note
end

-- Free all that the job has. Returns a note of its objects, if it has some.
local function free_all()
  leave_callbacks()
  if not closed() then stop_waiting() end
  -- Not by the record, which may have expired.
  local url, note = call('HGET', PAYLOADS, ID), ''
  if url then
    note = discard(url, '', 0, 'first')
    discard(url, '', LATE_MS, 'last')
    call('HDEL', PAYLOADS, ID)
  end
  free_inputs()
  call('UNLINK', RECORD, CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS, DELIVERIES)
  -- Or what was changed of it would be written back.
  forget_record()
  return note
end

-- Where the bytes of the job's chunks are, if not here: texts are references to them then. Small jobs
-- have all here.
local function has_payloads()
  return get('lane') == 'bulk' and get('payload_url')
end

-- Count the lifetime of the job anew, with these keys of it besides the record. Its retention begins
-- with its end; before that it is kept for `active_seconds` after its last change, so that no queue is
-- too long for it.
local function keep(...)
  local has_ended = ENDS[get('status')]
  local seconds = term(has_ended and 'retention_seconds' or 'active_seconds')
  local expires_at = string.format('%d', NOW + seconds * 1000)
  set('expires_at_ms', expires_at)
  -- The sweep must still find how many inputs there are.
  RECORD_SECONDS = has_ended and seconds or seconds + 60
  for _, key in ipairs({...}) do call('EXPIRE', key, seconds) end
  if not has_ended then
    for chunk = 0, number('chunks_total') - 1 do keep_input(chunk) end
  end
  call('ZADD', EXPIRIES, expires_at, ID)
  local afterwards = seconds + term('tombstone_seconds')
  call('EXPIRE', TOMBSTONE, afterwards)
  local idempotency = get('idempotency_key')
  if idempotency then call('EXPIRE', string.format(IDEMPOTENCY, idempotency), afterwards) end
end

-- `keep` for all keys there may be while the job has not ended. What happens within a hundredth of its
-- lifetime is one change: then only the keys named, which may be new, get theirs.
local function renew(...)
  local seconds = term('active_seconds')
  if number('expires_at_ms') > NOW + seconds * 990 then
    for _, key in ipairs({...}) do call('EXPIRE', key, seconds, 'NX') end
  else
    keep(CHUNKS, RETURNED, PARTS, RESULTS, ERRORS, REJECTS)
  end
end

-- What jobs still bring: rows without an outcome, and bytes to be stored for them. The totals are what
-- admission looks at. Changes of the totals, and what single jobs bring after them, are written at the
-- script's end.
local OWED, OWED_BY = {rows = 0, bytes = 0}, {}

local function owed_by(id)
  if not OWED_BY[id] then
    local known = call('HMGET', BACKLOG, 'rows:' .. id, 'bytes:' .. id)
    OWED_BY[id] = {rows = tonumber(known[1]) or 0, bytes = tonumber(known[2]) or 0}
  end
  return OWED_BY[id]
end

-- Change what the job still brings.
local function owe(rows, bytes)
  local owed = owed_by(ID)
  owed.rows, owed.bytes = owed.rows + rows, owed.bytes + bytes
  OWED.rows, OWED.bytes = OWED.rows + rows, OWED.bytes + bytes
end

-- A job that has ended or is gone brings nothing more.
local function owe_nothing()
  local owed = owed_by(ID)
  owe(-owed.rows, -owed.bytes)
end

local function write_backlog()
  local written, removed = {}, {}
  for id, owed in pairs(OWED_BY) do
    for what, amount in pairs(owed) do
      local field = what .. ':' .. id
      if amount == 0 then
        removed[#removed + 1] = field
      else
        written[#written + 1] = field
        written[#written + 1] = amount
      end
    end
  end
  if #written > 0 then call('HSET', BACKLOG, unpack(written)) end
  if #removed > 0 then call('HDEL', BACKLOG, unpack(removed)) end
  for what, change in pairs(OWED) do
    if change ~= 0 then call('HINCRBY', BACKLOG, what, change) end
  end
end

local function write_stages()
  local entered, left = {}, {}
  for id, stage in pairs(STAGES) do
    if stage then
      entered[#entered + 1] = stage
      entered[#entered + 1] = id
    else
      left[#left + 1] = id
    end
  end
  if #entered > 0 then call('ZADD', UNFINISHED, unpack(entered)) end
  if #left > 0 then call('ZREM', UNFINISHED, unpack(left)) end
end

-- Jobs and rows by model version, written at the script's end. Who only has rows checked uses none.
local USED = {}

local function count_use(what, number)
  local model = get('model') or '?'
  if number == 0 or string.match(model, '^[^/]+/[^/]+/(.*)$') == VALIDATION then return end
  local field = model .. ' ' .. what
  USED[field] = (USED[field] or 0) + number
end

local function write_usage()
  for field, number in pairs(USED) do call('HINCRBY', USAGE, field, number) end
end

local function free_idempotency_key()
  local key = get('idempotency_key')
  if not key then return end
  call('DEL', string.format(IDEMPOTENCY, key))
  unset('idempotency_key')
end

-- What is told to whom at the script's end.
local TOLD = {}

-- Tell those who wait for the job's end that it is gone, or what there is to know of it.
local function tell(...)
  local awaited_by = get('awaited_by')
  if not awaited_by then return end
  for channel in string.gmatch(awaited_by, '%S+') do
    TOLD[channel] = TOLD[channel] or {}
    table.insert(TOLD[channel], {ID, ...})
  end
end

local function tell_end()
  if not get('awaited_by') then return end
  fetch(unpack(OF_JOB))
  local results, values = '', {}
  if number('chunks_total') == 1 and not has_payloads() and call('HSTRLEN', RESULTS, '0') <= MOST_TOLD then
    results = call('HGET', RESULTS, '0') or ''
  end
  for i, field in ipairs(OF_JOB) do values[i] = get(field) end
  tell(values, results)
end

-- Write all that was kept for the script's end.
local function settle()
  write_back()
  write_backlog()
  write_stages()
  write_waiting()
  write_usage()
  for channel, jobs in pairs(TOLD) do
    call('PUBLISH', channel, cjson.encode({string.format('%d', NOW), jobs}))
  end
end

-- Count the open job among those of its owner that have not ended. Returns false, and changes nothing,
-- if there are as many as there may be.
local function take_off()
  local owner, most = get('owner'), number('most_in_flight')
  if not owner then return true end
  local in_flight = string.format(IN_FLIGHT, owner)
  if most > 0 and call('SCARD', in_flight) >= most then return false end
  call('SADD', in_flight, ID)
  return true
end

local function land(owner)
  if owner then call('SREM', string.format(IN_FLIGHT, owner), ID) end
end

-- End the job: called once per job, since an ended job is closed to every script.
local function finish(status, code, detail)
  set('status', status, 'finished_at_ms', string.format('%d', NOW))
  if code then set('error_code', code, 'error_detail', detail) end
  if NEVER_TAKEN_IN[code] then free_idempotency_key() end
  free_inputs()
  stop_waiting()
  if has_payloads() then discard(get('payload_url'), 'input/', SETTLED_MS, 'first') end
  call('UNLINK', RETURNED, PARTS)
  if term('deadline_seconds') > 0 then call('ZREM', DEADLINES, ID) end
  if number('is_received') == 0 then call('ZREM', UPLOADS, ID) end
  owe_nothing()
  land(get('owner'))
  if number('failed') > 0 then keep(CHUNKS, RESULTS, ERRORS, REJECTS) else keep(CHUNKS, RESULTS) end
  call('PUBLISH', PROGRESS, status)
  tell_end()
  call_back()
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

-- What a tombstone says, and whose job it was: that outlives the record.
local function with_owner(word)
  local owner = get('owner')
  return owner and word .. ' ' .. owner or word
end

-- Forget all that is kept about the job outside of its own keys.
local function forget()
  owe_nothing()
  STAGES[ID] = false
  call('ZREM', JOBS, ID)
  -- Where nobody has swept until the tombstone, too, was gone, it may be anybody's.
  local tombstone = call('GET', TOMBSTONE)
  local owners = tombstone and {string.match(tombstone, ' (.+)$')} or call('HKEYS', API_KEYS)
  for _, owner in ipairs(owners) do
    call('ZREM', string.format(JOBS_OF, owner), ID)
    land(owner)
  end
  call('ZREM', EXPIRIES, ID)
  call('ZREM', DEADLINES, ID)
  call('ZREM', UPLOADS, ID)
end

-- Bytes in use and the most there may be; the latter is 0 where there is no bound.
local function memory()
  local info = call('INFO', 'memory')
  return tonumber(string.match(info, 'used_memory:(%d+)')),
    tonumber(string.match(info, 'maxmemory:(%d+)'))
end
