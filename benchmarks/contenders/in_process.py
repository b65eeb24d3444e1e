"""No service at all: warm processes that read the file, predict and write the predictions.

The plain script is what one would write; the others are as fast as these libraries get.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from threadpoolctl import threadpool_limits

from benchmarks import cache, workloads
from benchmarks.contenders.contender import BulkRun, Contender
from benchmarks.models import MODELS, Model
from benchmarks.processes import warm_process

CHOOSING_ROUNDS = 3


def score(model_name: str, source: Path, target: Path, *, writer: str, threads: int) -> None:
    """One file to another; runs in a warm process, where the estimator stays loaded."""
    model = MODELS[model_name]
    with threadpool_limits(threads):
        X = pd.read_csv(source)
        predictions = np.asarray(getattr(model.estimator, model.output)(X), dtype=np.float64)
    columns = predictions.reshape(len(X), -1)
    if writer == "pandas":
        pd.DataFrame(columns, columns=list(model.columns)).to_csv(target, index=False)
        return
    arrays = [pa.array(column) for column in columns.T.copy()]
    pyarrow.csv.write_csv(pa.Table.from_arrays(arrays, names=list(model.columns)), target)


class WarmProcesses:
    """Two processes with everything imported."""

    name = "in-process"
    redis_socket: Path | None = None

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._halves_threads: dict[str, int] = {}
        self._pools: list[ProcessPoolExecutor] = []
        self._cores = os.cpu_count() or 1

    @contextmanager
    def running(self, models: Sequence[Model]) -> Iterator[None]:
        with ExitStack() as stack:
            self._pools = [stack.enter_context(warm_process()) for _ in range(2)]
            for model in models:
                self._choose_threads(model)
            yield

    def _choose_threads(self, model: Model) -> None:
        """One thread for each of the two processes, or all cores for both: whatever is faster."""
        self._halves_threads[model.name] = 1
        if not model.uses_threads:
            return
        target = cache.folder() / "choosing"
        target.mkdir(exist_ok=True)
        seconds: dict[int, list[float]] = {1: [], self._cores: []}
        for _ in range(CHOOSING_ROUNDS):
            for threads, found in seconds.items():
                self._halves_threads[model.name] = threads
                found.append(self.halves(model, target).seconds)
        self._halves_threads[model.name] = min(seconds, key=lambda threads: min(seconds[threads]))

    def groups(self) -> Mapping[str, Sequence[int]]:
        return {"script": [pid for pool in self._pools for pid in pool._processes]}

    def threads(self, model: Model) -> int:
        """Threads of each of the two processes."""
        return self._halves_threads[model.name]

    def whole(self, model: Model, target: Path, *, writer: str) -> BulkRun:
        """One process does it all."""
        result = target / f"{writer}.csv"
        source = workloads.bulk_file(self._rows)
        began = time.perf_counter()
        self._pools[0].submit(
            score, model.name, source, result, writer=writer, threads=self._cores
        ).result()
        return BulkRun(seconds=time.perf_counter() - began, results=(result,))

    def halves(self, model: Model, target: Path) -> BulkRun:
        """Two processes do a half each."""
        results = (target / "first.csv", target / "second.csv")
        sources = halves_of(workloads.bulk_file(self._rows))
        threads = self.threads(model)
        began = time.perf_counter()
        running = [
            pool.submit(score, model.name, source, result, writer="pyarrow", threads=threads)
            for pool, source, result in zip(self._pools, sources, results, strict=True)
        ]
        for half in running:
            half.result()
        return BulkRun(
            seconds=time.perf_counter() - began,
            results=results,
            explain=lambda: {"threads": threads},
        )


def halves_of(path: Path) -> tuple[Path, Path]:
    """The file in two, cut at a line end, each with the header; written once."""
    halves = path.with_suffix(".first.csv"), path.with_suffix(".second.csv")
    if not all(half.exists() for half in halves):
        data = path.read_bytes()
        header, middle = data.index(b"\n") + 1, data.index(b"\n", len(data) // 2) + 1
        halves[0].write_bytes(data[:middle])
        halves[1].write_bytes(data[:header] + data[middle:])
    return halves


def csv_predictions(model: Model, run: BulkRun) -> npt.NDArray[np.float64]:
    """Predictions of files that hold nothing else."""
    parts = [pd.read_csv(path) for path in run.results]
    return np.concatenate([part[list(model.columns)].to_numpy() for part in parts])


def contenders(rows: int) -> list[Contender]:
    processes = WarmProcesses(rows)
    ways: dict[str, tuple[str, Callable[[Model, Path], BulkRun]]] = {
        "pandas": ("pandas script", partial(processes.whole, writer="pandas")),
        "limit-1": ("limit, 1 process", partial(processes.whole, writer="pyarrow")),
        "limit-2": ("limit, 2 processes", processes.halves),
    }
    return [
        Contender(
            name=name,
            title=title,
            service=processes,
            workloads=frozenset({"w1"}),
            bulk=bulk,
            bulk_predictions=csv_predictions,
        )
        for name, (title, bulk) in ways.items()
    ]
