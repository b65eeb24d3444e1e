-- ARGV: job, 'results' | 'errors' | 'rejects', first chunk, bytes after which to stop, most chunks to look
-- at, 1 to stop before a chunk that may still be committed.
-- Reads what chunks have, in their order; changes nothing. Returns {chunk to go on with, 1 if that is
-- behind the last one, texts}, or the tombstone, if there is one, of a job that is gone.
open(ARGV[1])
local why = closed()
if why == 'gone' then return call('GET', TOMBSTONE) end
local is_followed = ARGV[6] == '1' and not why
local key = ({results = RESULTS, errors = ERRORS, rejects = REJECTS})[ARGV[2]]
local chunk, enough, total = tonumber(ARGV[3]), tonumber(ARGV[4]), number('chunks_total')
local behind = math.min(total, chunk + ARGV[5])
local texts, bytes = {}, 0
while chunk < behind and bytes < enough do
  local text = call('HGET', key, chunk)
  if text then
    texts[#texts + 1] = text
    bytes = bytes + #text
  elseif is_followed then
    break
  end
  chunk = chunk + 1
end
return {chunk, (chunk >= total and not is_followed) and 1 or 0, texts}
