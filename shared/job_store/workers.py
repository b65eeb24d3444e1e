"""What workers tell about themselves: that they live, and how fast a model is."""

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


MAX_SPEED_UP = 4.0
"""A measurement counts as at most so many times what was known: one odd chunk of cheap rows must
not make the next ones too large for the time limit."""

SPEEDS_KEPT_SECONDS = 30 * 24 * 3600
"""Speeds of models that nobody uses any more are forgotten after a month."""


class WorkerRegistry:
    """Who works, and how fast. Safe to share by threads. Raises StoreUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def beat(self, worker: str, *, processes: int) -> None:
        """Say that a worker with so many processes lives; forget those that died long ago."""
        now, seen = self._seen()
        gone = [name for name, (at, _) in seen.items() if now - at > FORGOTTEN_AFTER_SECONDS]
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.WORKERS, worker, f"{now:.3f} {processes}")
            pipe.expire(keys.WORKERS, int(FORGOTTEN_AFTER_SECONDS))
            if gone:
                pipe.hdel(keys.WORKERS, *gone)
            pipe.execute()

    def leave(self, worker: str) -> None:
        """Say that a worker stops."""
        with translated_errors():
            self._redis.hdel(keys.WORKERS, worker)

    def live_processes(self) -> int:
        """Number of worker processes that can score right now."""
        now, seen = self._seen()
        return sum(count for at, count in seen.values() if now - at <= DEAD_AFTER_SECONDS)

    def is_live(self, worker: str) -> bool:
        """Whether this worker was heard of lately."""
        now, seen = self._seen()
        return worker in seen and now - seen[worker][0] <= DEAD_AFTER_SECONDS

    def window(self) -> int:
        """How many chunks one job may have queued or running at a time."""
        return max(MIN_WINDOW, CHUNKS_PER_PROCESS * self.live_processes())

    def _seen(self) -> tuple[float, dict[str, tuple[float, int]]]:
        """The server's time, and by it when each worker was last heard of, with its processes.

        In seconds since 1970, by one clock for all machines.
        """
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.WORKERS)
            (seconds, microseconds), found = pipe.execute()
        told = {text(name): value.split() for name, value in found.items()}
        now = seconds + microseconds / 1_000_000
        return now, {name: (float(at), int(count)) for name, (at, count) in told.items()}

    def record_speed(self, model_version_id: str, rows_per_second: float) -> None:
        """Count in how fast a process just scored a chunk of this model version."""
        known = self.speed(model_version_id)
        if known is not None:
            rows_per_second = min(rows_per_second, MAX_SPEED_UP * known)
            rows_per_second = SMOOTHING * rows_per_second + (1 - SMOOTHING) * known
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.SPEEDS, model_version_id, f"{rows_per_second:.1f}")
            pipe.expire(keys.SPEEDS, SPEEDS_KEPT_SECONDS)
            pipe.execute()

    def forget_speed(self, model_version_id: str) -> None:
        """Begin to measure a model version anew: its chunks turned out to be too large."""
        with translated_errors():
            self._redis.hdel(keys.SPEEDS, model_version_id)

    def speed(self, model_version_id: str) -> float | None:
        """Rows per second of one process with this model version; None before it was measured."""
        with translated_errors():
            value = self._redis.hget(keys.SPEEDS, model_version_id)
        return float(value) if value else None
