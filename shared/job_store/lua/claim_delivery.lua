-- ARGV: ms that the claim lasts, then hosts that are not to be called now.
-- Claims the delivery that is due, of the host whose turn it is: one that was just called stands behind
-- others that have something due. Who claims and is never heard of again loses it to the next.
-- Returns {job, host, claims of it so far, trail of its request}; false if nothing is due.

-- Jobs that are gone and are passed over in one go.
local MOST_GONE = 100
-- Hosts that turn out to have nothing due, as many.
local MOST_IDLE = 8

local is_busy = {}
for i = 2, #ARGV do is_busy[ARGV[i]] = true end

local function claim(line)
  for _ = 1, MOST_GONE do
    local id = call('ZRANGE', line, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, 1)[1]
    if not id then return end
    open(id)
    if get('callback_url') then
      call('ZADD', line, 'XX', NOW + ARGV[1], id)
      local claims = call('HINCRBY', DELIVERIES, 'claims', 1)
      call('HDEL', DELIVERIES, 'next_at_ms')
      call('PEXPIRE', DELIVERIES, call('PTTL', RECORD))
      return id, claims
    end
    call('ZREM', line, id)
  end
end

local hosts = call('ZRANGE', CALLBACKS, '-inf', NOW, 'BYSCORE', 'LIMIT', 0, #ARGV + MOST_IDLE)
for _, host in ipairs(hosts) do
  if not is_busy[host] then
    local line = string.format(CALLBACKS_OF, host)
    local id, claims = claim(line)
    local first = call('ZRANGE', line, 0, 0, 'WITHSCORES')
    if first[1] then
      call('ZADD', CALLBACKS, math.max(NOW, tonumber(first[2])), host)
    else
      call('ZREM', CALLBACKS, host)
    end
    if id then return {id, host, claims, get('trail') or ''} end
  end
end
return false
