-- ARGV: job, 'results' | 'errors' | 'rejects', first chunk, bytes after which to stop, most chunks to look
-- at, 1 to stop before a chunk that may still be committed, rows that are not wanted from there on.
-- Reads what chunks have, in their order; changes nothing. Chunks of whose results nothing is wanted are
-- passed over unread. Returns {chunk to go on with, 1 if that is behind the last one, texts, rows not
-- wanted of the first text, URL of the object store that texts refer to or ''}, or the tombstone, if there is one, of a job that is gone.
open(ARGV[1])
fetch('status', 'chunks_total', 'lane', 'payload_url')
local why = closed()
if why == 'gone' then return call('GET', TOMBSTONE) end
local is_followed = ARGV[6] == '1' and not why
local key = ({results = RESULTS, errors = ERRORS, rejects = REJECTS})[ARGV[2]]
local chunk, enough, total = tonumber(ARGV[3]), tonumber(ARGV[4]), number('chunks_total')
local behind = math.min(total, chunk + ARGV[5])
local unwanted = tonumber(ARGV[7])
local texts, bytes = {}, 0

-- Results have a line for each row of the plan, so those of a committed chunk need not be counted.
local function is_passed()
  if unwanted == 0 or texts[1] or key ~= RESULTS or not is_committed(chunk) then return false end
  local rows = tonumber(string.match(call('HGET', CHUNKS, chunk), '"rows":(%d+)'))
  if rows > unwanted then return false end
  unwanted = unwanted - rows
  return true
end

while chunk < behind and bytes < enough do
  if not is_passed() then
    local text = call('HGET', key, chunk)
    if text then
      texts[#texts + 1] = text
      bytes = bytes + #text
    elseif is_followed then
      break
    end
  end
  chunk = chunk + 1
end
return {chunk, (chunk >= total and not is_followed) and 1 or 0, texts, unwanted, has_payloads() or ''}
