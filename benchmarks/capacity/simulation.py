"""A service in motion: jobs arrive by chance, wait for a process and are worked on, event by event.

Small jobs pass API → Redis → worker → Redis → API. As in the real service one process at a time is
woken for them, asks Redis and takes all that waits by then. Bulk jobs are streams of chunks.
Components have processes; where all share a machine, each step needs one of its cores, too.
"""

import heapq
import itertools
import random
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.capacity.costs import COMPONENTS, Costs, Work

MOST_JOBS = 64
MOST_ROWS = 1_000
"""What a process scores together, see `TOGETHER` in the worker's tasks."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What there is to work with."""

    api_processes: int
    worker_processes: int
    """Those that may run bulk; each worker keeps one more for small jobs."""
    workers: int = 1
    redis_servers: int = 1
    """One for each Rowmill; more stand for as many services side by side."""
    cores: int | None = None
    """Of the one machine that all share; None where each process has a core of its own."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What comes."""

    jobs_per_second: float = 0.0
    rows_per_job: int = 5
    bulk_rows_per_second: float = 0.0
    chunk_rows: int = 40_000
    seconds: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of it."""

    jobs_arrived: int
    jobs_done: int
    bulk_rows_done: float
    latencies_seconds: Sequence[float]
    busy: Mapping[str, float]
    """Share of time in which a component's processes worked, 1 for all of them always."""
    jobs_per_call: float
    keeps_up: bool
    """Whether what had come in was done by the end, but for what was just under way."""

    def latency(self, quantile: float) -> float:
        """Seconds; not a number while no job is done."""
        ordered = sorted(self.latencies_seconds)
        if not ordered:
            return float("nan")
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


@dataclass
class _Step:
    """Something that a component does for so long."""

    seconds: float
    then: Callable[[], None]


class _Station:
    """Processes of one component, with the steps that wait for one."""

    def __init__(self, servers: int) -> None:
        self.servers = servers
        self.free = servers
        self.waiting: deque[_Step] = deque()
        self.busy_seconds = 0.0


@dataclass(order=True)
class _Event:
    at: float
    number: int
    happen: Callable[[], None] = field(compare=False)


class Simulation:
    """One run. The same seed gives the same run."""

    def __init__(self, costs: Costs, fleet: Fleet, demand: Demand, *, seed: int = 1) -> None:
        self._costs, self._fleet, self._demand = costs, fleet, demand
        # Chance that anyone can repeat, not one that nobody can guess.
        self._random = random.Random(seed)  # noqa: S311
        self._now = 0.0
        self._events: list[_Event] = []
        self._numbers = itertools.count()
        processes = fleet.worker_processes + fleet.workers
        self._stations = {
            "api": _Station(fleet.api_processes),
            "worker": _Station(processes),
            "redis": _Station(fleet.redis_servers),
        }
        self._free_cores = fleet.cores if fleet.cores is not None else 10**9
        self._ready: deque[tuple[_Station, _Step]] = deque()
        self._small: deque[float] = deque()
        self._bulk: deque[float] = deque()
        self._is_taking = False
        self._bulk_running = 0
        self._calls: list[int] = []
        self._latencies: list[float] = []
        self._arrived = 0
        self._bulk_rows = 0.0

    def run(self) -> Outcome:
        """Everything until the end of the time."""
        demand = self._demand
        if demand.jobs_per_second:
            self._at(self._gap(demand.jobs_per_second), self._small_arrives)
        if demand.bulk_rows_per_second:
            self._at(self._gap(self._chunks_per_second), self._chunk_arrives)
        while self._events and self._events[0].at <= demand.seconds:
            event = heapq.heappop(self._events)
            self._now = event.at
            event.happen()
        return self._outcome()

    def _outcome(self) -> Outcome:
        seconds, demand = self._demand.seconds, self._demand
        chunks_waiting = len(self._bulk) / max(1.0, self._chunks_per_second)
        undone_seconds = (self._arrived - len(self._latencies)) / max(1.0, demand.jobs_per_second)
        return Outcome(
            jobs_arrived=self._arrived,
            jobs_done=len(self._latencies),
            bulk_rows_done=self._bulk_rows,
            latencies_seconds=self._latencies,
            busy={
                name: self._stations[name].busy_seconds / self._stations[name].servers / seconds
                for name in COMPONENTS
            },
            jobs_per_call=statistics.fmean(self._calls) if self._calls else 0.0,
            # What arrives in a tenth of the time may be under way.
            keeps_up=max(undone_seconds, chunks_waiting) < seconds / 10,
        )

    # --- time and processes

    def _at(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, _Event(self._now + seconds, next(self._numbers), happen))

    def _gap(self, per_second: float) -> float:
        return self._random.expovariate(per_second)

    def _do(self, component: str, seconds: float, then: Callable[[], None]) -> None:
        """Have a process of this component work so long, when one and a core are free."""
        station = self._stations[component]
        step = _Step(seconds, then)
        if station.free:
            station.free -= 1
            self._get_core(station, step)
        else:
            station.waiting.append(step)

    def _get_core(self, station: _Station, step: _Step) -> None:
        if self._free_cores:
            self._free_cores -= 1
            self._at(step.seconds, lambda: self._done(station, step))
        else:
            self._ready.append((station, step))

    def _done(self, station: _Station, step: _Step) -> None:
        station.busy_seconds += step.seconds
        self._free_cores += 1
        if station.waiting:
            self._ready.append((station, station.waiting.popleft()))
        else:
            station.free += 1
        if self._ready:
            self._get_core(*self._ready.popleft())
        step.then()

    # --- small jobs

    def _small_arrives(self) -> None:
        began = self._now
        self._arrived += 1
        self._at(self._gap(self._demand.jobs_per_second), self._small_arrives)
        one = self._one_job
        # Half of what a job costs the API and Redis comes before it is scored.
        self._do(
            "api",
            self._costs["api"].of(one) / 2,
            lambda: self._do("redis", self._costs["redis"].of(one) / 2, lambda: self._queue(began)),
        )

    @property
    def _one_job(self) -> Work:
        return Work(jobs=1, rows=self._demand.rows_per_job)

    def _queue(self, began: float) -> None:
        self._small.append(began)
        self._look_for_work()

    def _look_for_work(self) -> None:
        station = self._stations["worker"]
        if self._small and station.free and not self._is_taking:
            self._is_taking = True
            station.free -= 1
            self._do("redis", self._costs["redis"].call / 2, self._take)
        elif self._bulk and station.free and self._bulk_running < self._fleet.worker_processes:
            self._bulk.popleft()
            self._bulk_running += 1
            self._score_chunk()

    def _take(self) -> None:
        """What a process that was woken gets."""
        self._is_taking = False
        most = min(MOST_JOBS, max(1, MOST_ROWS // self._demand.rows_per_job))
        taken = [self._small.popleft() for _ in range(min(most, len(self._small)))]
        self._look_for_work()
        self._score(taken)

    def _score(self, taken: list[float]) -> None:
        self._calls.append(len(taken))
        jobs = len(taken)
        work = Work(jobs=jobs, calls=1, rows=jobs * self._demand.rows_per_job)
        redis = self._costs["redis"]
        answering = redis.of(self._one_job) / 2 * jobs + redis.call / 2

        def answered() -> None:
            for began in taken:
                self._answer(began)

        def scored() -> None:
            self._do("redis", answering, answered)
            self._look_for_work()

        # The process is held already.
        step = _Step(self._costs["worker"].of(work), scored)
        self._get_core(self._stations["worker"], step)

    def _answer(self, began: float) -> None:
        seconds = self._costs["api"].of(self._one_job) / 2
        self._do("api", seconds, lambda: self._latencies.append(self._now - began))

    # --- bulk

    @property
    def _chunks_per_second(self) -> float:
        return self._demand.bulk_rows_per_second / self._demand.chunk_rows

    def _chunk_arrives(self) -> None:
        self._at(self._gap(self._chunks_per_second), self._chunk_arrives)
        chunk = Work(calls=1, rows=self._demand.chunk_rows)

        def stored() -> None:
            self._bulk.append(self._now)
            self._look_for_work()

        self._do(
            "api",
            self._costs["api"].of(chunk),
            lambda: self._do("redis", self._costs["redis"].of(chunk), stored),
        )

    def _score_chunk(self) -> None:
        def scored() -> None:
            self._bulk_running -= 1
            self._bulk_rows += self._demand.chunk_rows
            self._look_for_work()

        chunk = Work(calls=1, rows=self._demand.chunk_rows)
        self._do("worker", self._costs["worker"].of(chunk), scored)
