"""The times in Redis by which leases and workers are taken for dead, moved by hand."""

import random
from typing import Any

from redis import Redis

WORKERS = "workers"
LEASES = "leases*"

MAX_MOVE_MS = 30_000
"""More than any of these times lies ahead or back when all is well."""

MOVE = """
-- KEYS[1] hash; ARGV: field, which word of its text holds the time, by how much to move it (ms).
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text then return 0 end
local words = {}
for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
local at = tonumber(ARGV[2])
if at < 0 then at = #words + 1 + at end
local time = tonumber(words[at])
if not time then return 0 end
words[at] = string.format('%.0f', time + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[1], table.concat(words, ' '))
return 1
"""
"""In one step, so that a lease which is over by now does not come back."""


class LeaseClocks:
    """Depends on the layout in `shared/job_store/keys.py`: a lease's text ends with its deadline,
    a worker's begins with when it was last seen, both in milliseconds."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def move(self, chance: random.Random) -> dict[str, Any]:
        """Move one worker's last beat back, or the deadlines of all leases."""
        by_ms = chance.randint(-MAX_MOVE_MS, MAX_MOVE_MS)
        if chance.random() < 0.5:
            worker = chance.choice(sorted(self._redis.hkeys(WORKERS)))
            moved = self._move(WORKERS, worker, word=1, by_ms=-abs(by_ms))
        else:
            moved = sum(
                self._move(key, field, word=-1, by_ms=by_ms)
                for key in self._redis.scan_iter(LEASES, count=1000)
                for field in self._redis.hkeys(key)
            )
        return {"moved": moved, "by_ms": by_ms}

    def _move(self, key: str | bytes, field: bytes, *, word: int, by_ms: int) -> int:
        return int(self._redis.eval(MOVE, 1, key, field, word, by_ms))
