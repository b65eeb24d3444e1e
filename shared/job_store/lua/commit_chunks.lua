-- ARGV: worker, process, then for each chunk: job, chunk, token, results, errors, rejects, rows
-- succeeded, rows failed, counts of features. Commits each chunk once, by the holder of its newest lease; the last commit ends the job.
-- Returns for each 'committed', with the ms since the job was made behind it if that ended it, or why
-- not: 'gone' | 'ended' | 'stale'. Repeated after a lost answer it finds the result and changes nothing.
local worker = ARGV[1]
local rows_done = 0

local function free_parts(chunk)
  for _, part in ipairs(call('HKEYS', PARTS)) do
    if string.match(part, '^(%d+):') == chunk then call('HDEL', PARTS, part) end
  end
end

-- Add to what is known of the features: names and counts by turns.
local function add_feature_counts(counts)
  local known = get('feature_counts')
  if known and counts ~= '' then
    local more = {}
    for name, count in string.gmatch(counts, '(%S+) (%d+)') do more[name] = count end
    counts = string.gsub(known, '(%S+) (%d+)', function(name, count)
      if not more[name] then return nil end
      local sum = string.format('%s %d', name, count + more[name])
      more[name] = nil
      return sum
    end)
    for name, count in pairs(more) do counts = counts .. ' ' .. name .. ' ' .. count end
  end
  if counts ~= '' then set('feature_counts', counts) end
end

local function commit(id, chunk, token, results, errors, rejects, succeeded, failed, feature_counts)
  open(id)
  fetch('status', 'terms', 'awaited_by', 'idempotency_key', 'is_received', 'lane', 'owner', 'expires_at_ms',
    'model', 'payload_url', unpack(OF_JOB))
  local known = call('HMGET', CHUNKS, chunk .. ':token', chunk .. ':lost', chunk .. ':growth')
  local why = closed()
  if not why and known[1] ~= token then
    why = 'stale'
    call('HINCRBY', COUNTERS, 'commits_refused', 1)
  end
  -- Whatever becomes of the attempt, it is over.
  release(worker, chunk, token)
  -- Before all else: what this attempt has committed may have ended the job, and who is told otherwise
  -- deletes its object.
  if known[1] == token and is_committed(chunk) then return 'committed' end
  if why then return why end
  call('HSET', RESULTS, chunk, results)
  if errors ~= '' then call('HSET', ERRORS, chunk, errors) end
  if rejects ~= '' then call('HSET', REJECTS, chunk, rejects) end
  call('UNLINK', input(chunk))
  if known[2] then free_parts(chunk) end
  call('HDEL', CHUNKS, chunk .. ':running', chunk .. ':growth')
  owe(-(succeeded + failed), -(tonumber(known[3]) or 0))
  rows_done = rows_done + succeeded + failed
  count_use('succeeded', tonumber(succeeded))
  count_use('failed', tonumber(failed))
  add('chunks_done', 1)
  add('succeeded', succeeded)
  add_feature_counts(feature_counts)
  local all_failed, threshold = add('failed', failed), term('error_threshold')
  if threshold >= 0 and all_failed > threshold then
    finish('failed', 'error_threshold_exceeded',
      all_failed .. (all_failed == 1 and ' row' or ' rows') .. ' failed; the job allows '
      .. threshold .. '.')
  elseif not finish_if_complete() then
    renew(RESULTS, ERRORS, REJECTS)
    call('PUBLISH', PROGRESS, chunk)
    return 'committed'
  end
  return string.format('committed %d', NOW - number('created_at_ms'))
end

local outcomes = {}
for i = 3, #ARGV, 9 do outcomes[#outcomes + 1] = commit(unpack(ARGV, i, i + 8)) end
if rows_done > 0 then call('HINCRBY', BACKLOG, 'done', rows_done) end
-- This process looks in a moment for work that it may run.
local description = call('HGET', WORKERS, worker)
local all_busy, bulk_busy = busy(worker)
for _, lane in ipairs({'small', 'bulk'}) do
  if description and has_room(description, all_busy, bulk_busy, lane) then
    call('SET', string.format(WOKEN, lane), worker .. ' ' .. ARGV[2], 'PX', 100)
  end
end
return outcomes
