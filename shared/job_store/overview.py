"""What there is to do, who does it and how full the store is: for people who watch a service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import text, translated_errors
from shared.job_store.stages import STAGES
from shared.job_store.workers import Capacity, parse_worker
from shared.jobs import JobStatus, Lane


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What jobs that have not ended still bring."""

    waiting_rows: int
    promised_bytes: int
    """Of inputs and results that are not in the store yet."""
    rows_per_second: float | None
    """At which all workers did rows of late; None while no worker measures it."""
    oldest_waiting_seconds: float | None
    """Since the oldest job was made of which no chunk has been begun."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What could be run in a lane and is not: in the small one, jobs that are queued, which are a
    chunk each, and chunks that were given back; in the other all chunks."""

    chunks: int
    oldest_seconds: float
    """For how long the one has waited that could be run first; 0 if none waits."""


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as it was last heard of."""

    name: str
    capacity: Capacity
    last_heard_seconds: float
    is_live: bool
    running: Sequence[tuple[int, Lane]]
    """Process and lane of each chunk that it runs; a process may run small jobs together."""

    @property
    def host(self) -> str:
        return self.name.partition("/")[0]

    @property
    def busy(self) -> int:
        """Processes that run something."""
        return len({process for process, _ in self.running})


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A service at a moment."""

    jobs: Mapping[tuple[Lane, JobStatus], int]
    """Those that have not ended."""
    backlog: Backlog
    waiting: Mapping[Lane, Waiting]
    workers: Sequence[WorkerState]
    """By name."""
    used_bytes: int
    max_bytes: int | None
    """Memory of the store; None where it has no bound."""

    def running_chunks(self, lane: Lane) -> int:
        """Chunks of a lane that live workers run."""
        return sum(
            of == lane for worker in self.workers if worker.is_live for _, of in worker.running
        )


class Overviews:
    """Looks at all of the store that costs little, however many jobs there are.

    Safe to share by threads. What is looked at one after the other may change meanwhile.
    """

    def __init__(self, redis: Redis, *, dead_after_seconds: float) -> None:
        self._redis = redis
        self._dead_after_ms = dead_after_seconds * 1000

    def now(self) -> Overview:
        """The service as it is now. Raises StoreUnavailableError."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.info("memory")
            pipe.hmget(keys.BACKLOG, ["rows", "bytes", "rate", "sampled_at_ms"])
            pipe.hgetall(keys.WORKERS)
            for stage in STAGES.values():
                pipe.zcount(keys.UNFINISHED, stage, stage)
            for lane in Lane:
                queued = STAGES[lane, JobStatus.QUEUED]
                pipe.zrange(keys.UNFINISHED, queued, queued, byscore=True, offset=0, num=1)
            for lane in Lane:
                pipe.zcard(keys.waiting(lane))
                pipe.zrange(keys.waiting(lane), 0, 0, withscores=True)
            time, memory, backlog, told, *found = pipe.execute()
        now_ms = time[0] * 1000 + time[1] / 1000
        counts = dict(zip(STAGES, found, strict=False))
        oldest = found[len(STAGES) :][: len(Lane)]
        indexed = found[len(STAGES) + len(Lane) :]
        names = sorted(told)
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hvals(keys.leases(text(name)))
            for ids in oldest:
                pipe.hget(keys.record(text(ids[0]) if ids else ""), "created_at_ms")
            answers = pipe.execute()
        held = answers[: len(names)]
        created = dict(zip(Lane, answers[len(names) :], strict=True))
        return Overview(
            jobs=counts,
            backlog=self._backlog(backlog, list(created.values()), now_ms),
            waiting={
                Lane.SMALL: _waiting(
                    indexed[0] + counts[Lane.SMALL, JobStatus.QUEUED],
                    [*(since for _, since in indexed[1]), created[Lane.SMALL]],
                    now_ms,
                ),
                Lane.BULK: _waiting(indexed[2], [since for _, since in indexed[3]], now_ms),
            },
            workers=[
                self._worker(text(name), told[name], leases, now_ms)
                for name, leases in zip(names, held, strict=True)
            ],
            used_bytes=memory["used_memory"],
            max_bytes=memory["maxmemory"] or None,
        )

    def _backlog(
        self, known: Sequence[bytes | None], created: Sequence[bytes | None], now_ms: float
    ) -> Backlog:
        rows, promised, rate, sampled_at_ms = (float(value or 0) for value in known)
        is_measured = now_ms - sampled_at_ms <= self._dead_after_ms
        ages = [_seconds(now_ms - int(at_ms)) for at_ms in created if at_ms]
        return Backlog(
            waiting_rows=int(rows),
            promised_bytes=int(promised),
            rows_per_second=rate if is_measured else None,
            oldest_waiting_seconds=max(ages, default=None),
        )

    def _worker(
        self, name: str, told: bytes, leases: Sequence[bytes], now_ms: float
    ) -> WorkerState:
        at_ms, capacity = parse_worker(told)
        running = [lease.decode().split() for lease in leases]
        return WorkerState(
            name=name,
            capacity=capacity,
            last_heard_seconds=_seconds(now_ms - at_ms),
            is_live=now_ms - at_ms <= self._dead_after_ms,
            running=[(int(process), Lane(lane)) for process, _, lane, _ in running],
        )


def _waiting(chunks: int, since_ms: Sequence[float | bytes | None], now_ms: float) -> Waiting:
    ages = [_seconds(now_ms - float(at_ms)) for at_ms in since_ms if at_ms]
    return Waiting(chunks=chunks, oldest_seconds=max(ages, default=0.0))


def _seconds(milliseconds: float) -> float:
    return max(0.0, milliseconds) / 1000
