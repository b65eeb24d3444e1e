-- ARGV: most rows waiting, share of memory that may be promised, number of records, then each as the
-- number of its parts and pairs of field and value; then for each job: id, which of the records is
-- its own, idempotency key or '', request's fingerprint, plan of its only chunk, the chunk, its rows,
-- most bytes of its results, bytes and sha256 of the body, trail of the request.
-- Takes in jobs whose whole body is one chunk. A repeat after a lost answer changes nothing.
-- Returns 1 if a worker must be woken by a message, then for each job {'created'}, with time and record
-- if nobody waits for its end, or what `create` has against it.
local most_rows, share, records, at = tonumber(ARGV[1]), tonumber(ARGV[2]), {}, 4
for i = 1, tonumber(ARGV[3]) do
  local parts = tonumber(ARGV[at])
  records[i] = {unpack(ARGV, at + 1, at + parts)}
  at = at + parts + 1
end

local lanes = {}

-- Read the whole record.
local function load()
  local found = call('HGETALL', RECORD)
  for i = 1, #found, 2 do FIELDS[found[i]] = found[i + 1] end
  IS_LOADED = true
end

local function record()
  if not IS_LOADED then load() end
  local found = {}
  for field, value in pairs(FIELDS) do
    if value then
      found[#found + 1] = field
      found[#found + 1] = value
    end
  end
  return found
end

local function submit(id, number_of_record, key, request, plan, data, rows, growth, bytes, sha256, trail)
  open(id)
  if call('EXISTS', RECORD) == 0 then
    rows, growth = tonumber(rows), tonumber(growth)
    local new = records[tonumber(number_of_record)]
    local why = create('queued', key, request, rows, #data + growth, most_rows, share, unpack(new))
    if why then return why end
    call('SET', input(0), data)
    set('trail', trail)
    add_chunk('0', plan, rows, growth)
    owe(rows, growth)
    close(bytes, sha256)
    keep(CHUNKS)
    lanes[get('lane')] = true
  end
  -- Who waits is told more when the job has ended.
  if get('awaited_by') then return {'created'} end
  return {'created', string.format('%d', NOW), record()}
end

local answers = {0}
for i = at, #ARGV, 11 do answers[#answers + 1] = submit(unpack(ARGV, i, i + 10)) end
for lane in pairs(lanes) do answers[1] = math.max(answers[1], wake(lane)) end
return answers
