"""Stacks of one, two and four worker processes at work, one after the other."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

from benchmarks import load, workloads
from benchmarks.capacity.costs import CLIENT, COMPONENTS, MEMORY, Sample, Work
from benchmarks.checks import WrongResultError, check
from benchmarks.contenders.rowmill import Ways, bulk_predictions, small_predictions
from benchmarks.contenders.rowmill_stack import RowmillStack
from benchmarks.conversations import rowmill_predict
from benchmarks.load import Load
from benchmarks.models import Model
from benchmarks.processes import warm_process
from benchmarks.rounds import say
from benchmarks.usage import Meter, meter

WARM_UP_JOBS = 100

CALLS = (b'"event": "chunks run together"', b'"event": "chunk run"')
"""What the worker's log says at each call."""


@dataclass(frozen=True, kw_only=True)
class SmallJobs:
    """A load of jobs of so many rows from so many clients."""

    jobs: int
    rows: int
    clients: int

    @property
    def name(self) -> str:
        return f"{self.rows} rows, {self.clients} client{'s' if self.clients > 1 else ''}"


SMALL = (
    SmallJobs(jobs=500, rows=5, clients=1),
    SmallJobs(jobs=3_000, rows=5, clients=16),
    SmallJobs(jobs=3_000, rows=5, clients=64),
    SmallJobs(jobs=1_500, rows=200, clients=16),
    SmallJobs(jobs=500, rows=1_000, clients=16),
)
BULK_ROWS = (200_000, 1_000_000)


class Run:
    """One stack, measured."""

    def __init__(self, stack: RowmillStack, model: Model, workers: int, parts: ExitStack) -> None:
        self._stack, self._model, self._workers = stack, model, workers
        self._meter: Meter = parts.enter_context(meter())
        self._client = parts.enter_context(warm_process())

    def samples(self) -> Iterator[Sample]:
        """Raises WrongResultError."""
        self._small(SmallJobs(jobs=WARM_UP_JOBS, rows=5, clients=16))
        for jobs in SMALL:
            yield self._small(jobs)
        self._bulk(BULK_ROWS[0])
        for rows in BULK_ROWS:
            yield self._bulk(rows)

    def _small(self, small: SmallJobs) -> Sample:
        tables = workloads.small_tables(small.jobs, small.rows)
        way = Ways(self._stack, 0).small(self._model, converse=rowmill_predict)
        order = Load(
            port=way.port,
            converse=way.converse,
            bodies=[way.body(table) for table in tables],
            connections=small.clients,
        )
        before, calls = self._redis_bytes(), self._calls()
        with self._measuring() as usage:
            run = self._client.submit(load.run, order).result()
        if run.errors:
            raise WrongResultError(f"{len(run.errors)} jobs failed: {run.errors[0]}")
        found = np.concatenate([small_predictions(self._model, one) for one in run.answers])
        check(self._model, found, self._model.expected(len(found)), whose=small.name)
        work = Work(jobs=small.jobs, calls=self._calls() - calls, rows=len(found))
        kept = self._redis_bytes() - before
        usage |= {MEMORY: kept, CLIENT: run.cpu_seconds}
        return self._sample(small.name, work, usage, run.seconds)

    def _bulk(self, rows: int) -> Sample:
        ways, calls = Ways(self._stack, rows), self._calls()
        with tempfile.TemporaryDirectory() as folder:
            with self._measuring() as usage:
                run = ways.bulk(self._model, Path(folder), is_followed=False)
            predictions = bulk_predictions(self._model, run)
        check(self._model, predictions, self._model.expected(rows), whose=f"{rows} rows")
        work = Work(jobs=1, calls=self._calls() - calls, rows=rows)
        return self._sample(f"{rows:,} rows, one job", work, usage, run.seconds)

    def _measuring(self) -> AbstractContextManager[dict[str, float]]:
        return self._meter.measuring(self._stack.groups(), self._stack.redis_socket)

    def _sample(self, name: str, work: Work, usage: dict[str, float], seconds: float) -> Sample:
        used = {one: usage[f"cpu.{one}"] for one in COMPONENTS}
        used |= {one: usage[one] for one in (MEMORY, CLIENT) if one in usage}
        return Sample(name=name, workers=self._workers, work=work, used=used, seconds=seconds)

    def _calls(self) -> int:
        """How often a process of the worker has scored something so far."""
        log = (self._stack.run_dir / "logs" / "worker.log").read_bytes()
        return sum(log.count(call) for call in CALLS)

    def _redis_bytes(self) -> int:
        client = redis.Redis(unix_socket_path=str(self._stack.redis_socket))
        return int(client.info("memory")["used_memory"])


def measured(model: Model, worker_counts: Sequence[int], *, rounds: int) -> list[Sample]:
    """All samples of all rounds; stacks take turns, one running at a time."""
    samples: list[Sample] = []
    for number in range(rounds):
        for workers in worker_counts:
            say(f"round {number + 1}: {workers} worker processes")
            stack = RowmillStack(workers=workers)
            with ExitStack() as parts, stack.running([model]):
                samples += Run(stack, model, workers, parts).samples()
    say("")
    return samples
