"""A large forest in one and in four processes of a worker: `python -m benchmarks.memory`.

Each is a local stack of its own. Its worker is measured when it is ready, when all its processes
have scored, when one was killed and replaced, when all have scored with a version that came later,
and when it was started again.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from sklearn.ensemble import RandomForestRegressor

from benchmarks import machine, workloads
from benchmarks.bulk import BulkConnection
from benchmarks.contenders.rowmill_stack import RowmillStack
from benchmarks.conversations import CSV, WAIT, RefusedError, document
from benchmarks.processes import StartError
from benchmarks.report import MB, table
from benchmarks.rounds import say
from deploy.local.stack import exit_on_signals
from shared.manifest import Manifest
from worker.publishing import publish

NAME = "forest"

TRAINING_ROWS = 20_000
MB_PER_TREE = 1.84
"""Of trees that are grown to the end on so many rows of noise, in memory as in the file."""

BULK_ROWS = 10_000
BUSY_SECONDS = 0.5
"""A process that has used so much processor time since has scored chunks."""

START_SECONDS = 60.0

READY, SCORED = "ready", "all processes have scored"
REPLACED = "one was killed and replaced, all have scored"
SWAPPED = "all have scored with a version that came later"
RESTARTED = "the worker was started again, all have scored with that version"


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes of a process tree: PSS divides shared pages among those that have them, USS leaves
    them out."""

    pss: int
    uss: int

    @classmethod
    def of(cls, pids: Sequence[int]) -> "Footprint":
        """Processes that are gone count nothing."""
        found = [_rollup(pid) for pid in pids]
        own = ("Private_Clean", "Private_Dirty")
        return cls(
            pss=sum(one.get("Pss", 0) for one in found),
            uss=sum(one.get(name, 0) for one in found for name in own),
        )


def _rollup(pid: int) -> Mapping[str, int]:
    """The sums over all mappings of a process, in bytes (proc_pid_smaps(5))."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = (line.split() for line in lines)
    return {name.rstrip(":"): 1024 * int(size) for name, size, *_ in fields}


class Run:
    """A stack with a number of processes, and what its worker uses."""

    def __init__(self, stack: RowmillStack) -> None:
        self._stack = stack

    def footprint(self) -> Footprint:
        return Footprint.of(self._stack.groups()["worker"])

    def pool(self) -> dict[int, psutil.Process]:
        """The processes that score, which are the main one's children."""
        workers = self._stack.groups().get("worker", ())
        found = {}
        for pid in workers:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.ppid() in workers:
                    found[pid] = process
        return found

    def kill_one(self) -> None:
        """Returns when another has taken the place of a pool process."""
        before = self.pool()
        victim = next(iter(before.values()))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        _wait(lambda: len(self.pool().keys() - before.keys()) == 1, "another process")

    def restart(self) -> None:
        """Returns when the worker has ended and supervisord has started it again."""
        before = self.pool()
        main = psutil.Process(next(iter(before.values())).ppid())
        main.terminate()
        main.wait()
        _wait(
            lambda: not before.keys() & self.pool().keys() and len(self.pool()) == len(before),
            "the worker that was started again",
        )

    def score(self, version: str, *, clients: int) -> None:
        """Send bulk and small jobs until every process of the pool has worked on some."""
        pool = self.pool().values()
        began = {one.pid: _cpu_seconds(one) for one in pool}
        with ThreadPoolExecutor(clients) as threads:
            while any(_cpu_seconds(one) < began[one.pid] + BUSY_SECONDS for one in pool):
                for job in self._round(threads, version, clients):
                    job.result()

    def _round(
        self, threads: ThreadPoolExecutor, version: str, clients: int
    ) -> Iterator[Future[None]]:
        bulk = workloads.bulk_file(BULK_ROWS).read_bytes()
        small = workloads.csv_body(workloads.table(workloads.SMALL_JOB_ROWS))
        for body in [bulk] * (clients // 2) + [small] * (20 * clients):
            yield threads.submit(self._job, version, body)

    def _job(self, version: str, body: bytes) -> None:
        with BulkConnection(self._stack.port) as connection:
            path = f"/jobs?model={NAME}:{version}"
            job = document(connection.post_bytes(path, body, CSV + WAIT), 202)
            while job["finished_at"] is None:
                job = document(connection.ask("GET", job["urls"]["self"], WAIT), 200)
            if job["status"] != "succeeded":
                raise StartError(f"a job did not succeed: {job['error']}")

    def is_serving(self, version: str) -> bool:
        """Whether the model's name means this version by now."""
        with BulkConnection(self._stack.port) as connection:
            return bool(
                document(connection.ask("GET", f"/models/{NAME}"), 200)["version"] == version
            )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def make_versions(repository: Path, *, megabytes: float) -> list[Manifest]:
    """Two versions of a forest whose artifact has about so many megabytes."""
    X = workloads.table(TRAINING_ROWS)
    y = np.random.default_rng(0).normal(size=len(X))
    trees = round(megabytes / MB_PER_TREE)
    forest = RandomForestRegressor(trees, random_state=0, n_jobs=-1).fit(X, y)
    forest.set_params(n_jobs=None)
    return [
        publish(forest, name=NAME, sample=X, repository=repository, description=text)
        for text in ("the first", "the second, of the same trees")
    ]


def measure(
    versions: Sequence[Manifest], repository: Path, *, workers: int
) -> dict[str, Footprint]:
    """What a worker with so many bulk processes uses at each step."""
    stack = RowmillStack(workers=workers)
    run, clients = Run(stack), 2 * workers + 2
    first, second = versions
    found = {}
    _put(first, repository, stack)
    with stack.running([]):
        _wait(lambda: len(run.pool()) == workers + 1, "the pool")
        found[READY] = run.footprint()
        run.score(first.version, clients=clients)
        found[SCORED] = run.footprint()
        run.kill_one()
        run.score(first.version, clients=clients)
        found[REPLACED] = run.footprint()
        _put(second, repository, stack)
        _wait(lambda: run.is_serving(second.version), "the second version")
        run.score(second.version, clients=clients)
        found[SWAPPED] = run.footprint()
        run.restart()
        run.score(second.version, clients=clients)
        found[RESTARTED] = run.footprint()
    return found


def _put(manifest: Manifest, repository: Path, stack: RowmillStack) -> None:
    """Copy a version into the repository of a stack, aside and then into its place."""
    home = stack.run_dir / "models" / manifest.name
    aside = home / ".aside"
    shutil.copytree(repository / manifest.version_id, aside)
    aside.rename(home / manifest.version)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise StartError(f"{what} was not there after {START_SECONDS:g} s")
        time.sleep(0.1)


def text(found: Mapping[int, Mapping[str, Footprint]], versions: Sequence[Manifest]) -> str:
    """A table: PSS and USS by step, and the ratio of the most processes to the fewest."""
    fewest, most = min(found), max(found)
    head = ["MB of PSS (USS)", *(f"ROWMILL_WORKERS={count}" for count in found)]
    lines = [
        [
            step,
            *(f"{one[step].pss / MB:.0f} ({one[step].uss / MB:.0f})" for one in found.values()),
            f"{found[most][step].pss / found[fewest][step].pss:.2f}",
        ]
        for step in found[fewest]
    ]
    return "\n\n".join(
        [
            machine.facts(),
            f"## A random forest of {versions[0].artifact.bytes / MB:.0f} MB",
            table([*head, "ratio"], lines),
        ]
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--megabytes", type=float, default=200, help="of the forest")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    exit_on_signals()
    try:
        with tempfile.TemporaryDirectory() as folder:
            repository = Path(folder)
            say("growing the forest")
            versions = make_versions(repository, megabytes=options.megabytes)
            found = {}
            for workers in options.workers:
                say(f"{workers} workers")
                found[workers] = measure(versions, repository, workers=workers)
        say("")
    except (RefusedError, StartError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what was started is stopped again.")
    print(text(found, versions))


if __name__ == "__main__":
    main()
