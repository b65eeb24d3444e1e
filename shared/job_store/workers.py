"""What workers tell about themselves: that they live, and how fast a model is."""

import time

from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import text, translated_errors

BEAT_SECONDS = 2.0
"""How often a worker says that it lives."""

DEAD_AFTER_SECONDS = 10.0
"""A worker not heard of for so long counts as dead: five beats, so that one lost does no harm."""

FORGOTTEN_AFTER_SECONDS = 3600.0
"""Dead workers are taken off the list after an hour."""

CHUNKS_PER_PROCESS = 2
"""Chunks a job may have queued per live worker process: one runs, one waits, so that no process
idles between two chunks and other jobs never wait behind more than that."""

MIN_WINDOW = 4
"""Chunks a job may have queued when no worker is alive yet."""

SMOOTHING = 0.3
"""Weight of the newest measurement of a model's speed; about the last six chunks count."""


class WorkerRegistry:
    """Who works, and how fast. Safe to share by threads. Raises StoreUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def beat(self, worker: str, *, processes: int) -> None:
        """Say that a worker with so many processes lives; forget those that died long ago."""
        now = time.time()
        with translated_errors():
            self._redis.hset(keys.WORKERS, worker, f"{int(now * 1000)} {processes}")
            for name, (seen, _) in self._seen().items():
                if now - seen > FORGOTTEN_AFTER_SECONDS:
                    self._redis.hdel(keys.WORKERS, name)

    def leave(self, worker: str) -> None:
        """Say that a worker stops."""
        with translated_errors():
            self._redis.hdel(keys.WORKERS, worker)

    def live_processes(self) -> int:
        """Number of worker processes that can score right now."""
        now = time.time()
        with translated_errors():
            seen = self._seen().values()
        return sum(processes for at, processes in seen if now - at <= DEAD_AFTER_SECONDS)

    def is_live(self, worker: str) -> bool:
        """Whether this worker was heard of lately."""
        with translated_errors():
            seen = self._seen()
        return worker in seen and time.time() - seen[worker][0] <= DEAD_AFTER_SECONDS

    def window(self) -> int:
        """How many chunks one job may have queued or running at a time."""
        return max(MIN_WINDOW, CHUNKS_PER_PROCESS * self.live_processes())

    def _seen(self) -> dict[str, tuple[float, int]]:
        """When each worker was last heard of (seconds since 1970), and its processes."""
        found = {}
        for name, value in self._redis.hgetall(keys.WORKERS).items():
            seen_ms, processes = value.split()
            found[text(name)] = (int(seen_ms) / 1000, int(processes))
        return found

    def record_speed(self, model_reference: str, rows_per_second: float) -> None:
        """Count in how fast a process just scored a chunk of this model version."""
        known = self.speed(model_reference)
        if known is not None:
            rows_per_second = SMOOTHING * rows_per_second + (1 - SMOOTHING) * known
        with translated_errors():
            self._redis.hset(keys.SPEEDS, model_reference, f"{rows_per_second:.1f}")

    def speed(self, model_reference: str) -> float | None:
        """Rows per second of one process with this model version; None before it was measured."""
        with translated_errors():
            value = self._redis.hget(keys.SPEEDS, model_reference)
        return float(value) if value else None
