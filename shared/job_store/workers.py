"""What workers tell about themselves, and what they set right for one another."""

from collections.abc import Collection
from dataclasses import dataclass

from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import text, translated_errors
from shared.job_store.scripts import Scripts, texts

SWEPT_AT_ONCE = 200
"""Jobs of a kind that one sweep ends, so that it never holds up the server for long."""

WEIGHT_OF_FASTER = 0.3
WEIGHT_OF_SLOWER = 0.6
"""Of the newest measurement of a model's speed. Chunks that turn out too large are made smaller
sooner than small ones larger: they may pass the time limit."""

MAX_SPEED_UP = 4.0
"""A measurement counts as at most so many times what was known: one odd chunk of cheap rows must
not make the next ones too large for the time limit."""

SPEEDS_KEPT_SECONDS = 30 * 24 * 3600
"""Speeds of models that nobody uses any more are forgotten after a month."""


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What a worker learns by its heartbeat."""

    could_run: int
    """Idle processes that could run something which waits."""
    running: int
    """Processes of it that run something."""
    given_back: tuple[str, ...]
    """`job chunk` of what its dead processes ran."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a worker scores with."""

    processes: int
    """Those that are ready; one more than may run bulk chunks, when all are."""
    bulk_processes: int
    threads_per_process: int
    cores: int
    """Of its machine, as far as it may use them."""


class WorkerRegistry:
    """Who works, and how fast. Safe to share by threads. Raises StoreUnavailableError.

    All times are by the server's clock, so that those of several machines agree.
    """

    def __init__(self, redis: Redis, *, dead_after_seconds: float, max_job_losses: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "beat", "leave", "sweep")
        self._dead_after_seconds = dead_after_seconds
        self._max_job_losses = max_job_losses
        self._known_speeds: dict[str, float] = {}

    def beat(self, worker: str, capacity: Capacity, *, alive: Collection[int]) -> Pulse:
        """Say that a worker lives, what it scores with, and the ids of its live processes. What
        others of its processes ran is given back."""
        could_run, running, *given_back = self._scripts.run(
            "beat",
            worker,
            capacity.processes,
            capacity.bulk_processes,
            capacity.threads_per_process,
            capacity.cores,
            self._max_job_losses,
            *alive,
        )
        return Pulse(could_run=could_run, running=running, given_back=tuple(texts(given_back)))

    def leave(self, worker: str) -> list[str]:
        """Sign off; returns `job chunk` of what it still ran and others may run now."""
        return texts(self._scripts.run("leave", worker))

    def sweep(self) -> list[tuple[str, str]]:
        """Set right what dead workers, dead APIs and time have left behind.

        Any worker may call it; only one in a second does anything. Returns what was done, and to
        what: ("vanished" | "overdue", "job chunk"), ("dead", worker), ("deadline_exceeded" |
        "upload_incomplete" | "expired", job).
        """
        done = texts(
            self._scripts.run(
                "sweep", self._dead_after_seconds * 1000, self._max_job_losses, SWEPT_AT_ONCE
            )
        )
        return list(zip(done[::2], done[1::2], strict=True))

    def check_write(self) -> None:
        """Returns if the store takes writes; changes nothing in it.

        Raises StoreUnavailableError, StoreReadOnlyError, StoreFullError.
        """
        # A server looks at its memory, disk and replicas before it sees that nothing is to be
        # written.
        with translated_errors():
            self._redis.setrange(keys.SWEEP, 0, "")

    def is_live(self, host: str) -> bool:
        """Whether a worker on this host was heard of lately."""
        return any(worker.partition("/")[0] == host for worker in self.live())

    def live(self) -> dict[str, Capacity]:
        """What the workers score with that were heard of lately."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.WORKERS)
            (seconds, microseconds), found = pipe.execute()
        now_ms = seconds * 1000 + microseconds / 1000
        live = {}
        for name, told in found.items():
            at_ms, capacity = parse_worker(told)
            if now_ms - at_ms <= self._dead_after_seconds * 1000:
                live[text(name)] = capacity
        return live

    def counters(self) -> dict[str, int]:
        """What happened how often since the server began: commits refused, attempts lost."""
        with translated_errors():
            found = self._redis.hgetall(keys.COUNTERS)
        return {text(name): int(count) for name, count in found.items()}

    def record_speed(
        self, model_version_id: str, rows_per_second: float, *, is_least: bool = False
    ) -> None:
        """Count in how fast a process just scored a chunk of this model version.

        `is_least`: whether the model is at least so fast and perhaps much faster.
        """
        if is_least and rows_per_second <= self._known_speeds.get(model_version_id, 0.0):
            return
        known = self.speed(model_version_id)
        if known is not None:
            self._known_speeds[model_version_id] = known
            if is_least and rows_per_second <= known:
                return
            rows_per_second = min(rows_per_second, MAX_SPEED_UP * known)
            weight = WEIGHT_OF_FASTER if rows_per_second > known else WEIGHT_OF_SLOWER
            rows_per_second = weight * rows_per_second + (1 - weight) * known
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(keys.SPEEDS, model_version_id, f"{rows_per_second:.1f}")
            pipe.expire(keys.SPEEDS, SPEEDS_KEPT_SECONDS)
            pipe.execute()

    def speed(self, model_version_id: str) -> float | None:
        """Rows per second of one process with this model version; None before it was measured."""
        with translated_errors():
            value = self._redis.hget(keys.SPEEDS, model_version_id)
        return float(value) if value else None


def parse_worker(told: bytes) -> tuple[int, Capacity]:
    """When a worker was last heard of (ms), and what it scores with, as it is kept."""
    at_ms, processes, bulk_processes, threads, cores = map(int, told.split())
    return at_ms, Capacity(
        processes=processes,
        bulk_processes=bulk_processes,
        threads_per_process=threads,
        cores=cores,
    )
