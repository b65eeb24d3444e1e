"""One turn of one contender at one workload: measured, then checked."""

import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import load, workloads
from benchmarks.checks import WrongResultError, check
from benchmarks.contenders.contender import BulkRun, Contender
from benchmarks.figures import latency_figures
from benchmarks.load import Load, LoadRun
from benchmarks.models import Model
from benchmarks.usage import Meter

CLIENTS = 16
SMALL_JOBS_PER_SECOND = 5.0
ALONE_RUNS = 2
"""Before the small jobs, and again after them."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work a turn is."""

    rows: int
    jobs: int
    seconds: float


class Turns:
    """Takes turns; `client` is a process that runs nothing but the small jobs' client."""

    def __init__(self, sizes: Sizes, meter: Meter, client: Executor) -> None:
        self._sizes = sizes
        self._meter = meter
        self._client = client

    def bulk(
        self, contender: Contender, model: Model, *, has_pss: bool = False
    ) -> dict[str, float]:
        """W1: one bulk job."""
        service = contender.service
        with tempfile.TemporaryDirectory() as folder:
            with self._meter.measuring(
                service.groups(), service.redis_socket, has_pss=has_pss
            ) as usage:
                run = _bulk(contender)(model, Path(folder))
            self._check_bulk(contender, model, run)
        return {"seconds": run.seconds, **run.explain(), **usage}

    def small(self, contender: Contender, model: Model, *, jobs: int = 0) -> dict[str, float]:
        """W2: many small jobs from 16 clients."""
        jobs = jobs or self._sizes.jobs
        service = contender.service
        with self._meter.measuring(service.groups(), service.redis_socket) as usage:
            run = self._client.submit(load.run, self._load(contender, model, jobs)).result()
        self._check_small(contender, model, run)
        return {
            "jobs_per_second": jobs / run.seconds,
            "jobs": jobs,
            **latency_figures(run.latencies_seconds),
            **usage,
            "cpu.client": run.cpu_seconds,
        }

    def mixed(self, contender: Contender, model: Model) -> dict[str, float]:
        """W3: small jobs at a steady pace, while there is always a bulk job."""
        jobs = round(self._sizes.seconds * SMALL_JOBS_PER_SECOND)
        small = self._load(contender, model, jobs, jobs_per_second=SMALL_JOBS_PER_SECOND)
        with tempfile.TemporaryDirectory() as folder:
            beside: list[BulkRun] = []
            service = contender.service
            with self._meter.measuring(service.groups(), service.redis_socket) as usage:
                alone = self._alone(contender, model, Path(folder) / "before")
                running = self._client.submit(load.run, small)
                while not running.done():
                    beside.append(_bulk(contender)(model, _subfolder(Path(folder), len(beside))))
                run = running.result()
                alone += self._alone(contender, model, Path(folder) / "after")
            for bulk in (*alone, *beside):
                self._check_bulk(contender, model, bulk)
        self._check_small(contender, model, run)
        # The last one ran on when the small jobs had ended.
        counted = beside[:-1] or beside
        alone_seconds = statistics.median(bulk.seconds for bulk in alone)
        beside_seconds = statistics.median(bulk.seconds for bulk in counted)
        return {
            **latency_figures(run.latencies_seconds),
            "jobs": jobs,
            "bulk_alone_seconds": alone_seconds,
            "bulk_seconds": beside_seconds,
            "bulk_loss": beside_seconds / alone_seconds - 1,
            **usage,
        }

    @staticmethod
    def _alone(contender: Contender, model: Model, folder: Path) -> list[BulkRun]:
        folder.mkdir()
        folders = [_subfolder(folder, number) for number in range(ALONE_RUNS)]
        return [_bulk(contender)(model, one) for one in folders]

    def _load(
        self, contender: Contender, model: Model, jobs: int, *, jobs_per_second: float | None = None
    ) -> Load:
        if contender.small is None:
            raise ValueError(f"{contender.name} has no small jobs")
        way = contender.small(model)
        return Load(
            port=way.port,
            converse=way.converse,
            bodies=[way.body(rows) for rows in workloads.small_tables(jobs)],
            connections=CLIENTS,
            jobs_per_second=jobs_per_second,
        )

    def _check_bulk(self, contender: Contender, model: Model, run: BulkRun) -> None:
        if contender.bulk_predictions is None:
            return
        try:
            found = contender.bulk_predictions(model, run)
        except ValueError as error:
            raise WrongResultError(f"{contender.name}: {error}") from error
        check(model, found, model.expected(self._sizes.rows), whose=contender.name)

    def _check_small(self, contender: Contender, model: Model, run: LoadRun) -> None:
        if run.errors:
            raise WrongResultError(
                f"{contender.name}: {len(run.errors)} jobs failed: {run.errors[0]}"
            )
        if contender.small is None:
            return
        predictions = contender.small(model).predictions
        try:
            found = np.concatenate([predictions(answer) for answer in run.answers])
        except ValueError as error:
            raise WrongResultError(f"{contender.name}: {error}") from error
        check(model, found, model.expected(len(found)), whose=contender.name)


def _bulk(contender: Contender) -> Callable[[Model, Path], BulkRun]:
    if contender.bulk is None:
        raise ValueError(f"{contender.name} has no bulk jobs")
    return contender.bulk


def _subfolder(folder: Path, number: int) -> Path:
    path = folder / str(number)
    path.mkdir()
    return path
