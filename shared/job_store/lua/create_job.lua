-- ARGV: pairs of field and value of the new record. Refuses an id that is taken.
if redis.call('EXISTS', RECORD) == 1 then return 'exists' end
local now = now_ms()
redis.call('HSET', RECORD, 'status', 'receiving', 'created_at_ms', now, unpack(ARGV))
redis.call('SET', TOMBSTONE, 'expired')
renew()
return 'created'
