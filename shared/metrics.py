"""Metrics that several processes count together, and how they are shown to Prometheus.

prometheus_client keeps what a process counts in files of its own, which whoever is asked adds up
(its "multiprocess mode"). It names the files by process id, so that those of dead processes pile
up: a stack whose processes die often would read more of them at every look. Here they are named by
*seats*: a process takes a free seat when it counts for the first time, and goes on counting from
what it finds there. So nothing that was counted is lost with a process, and there are never more
files than there were processes at a time (decision 0034).
"""

import atexit
import fcntl
import hmac
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from pydantic import SecretStr

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The text format that every version of Prometheus reads."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Bounds of the buckets for what chunks and jobs take: from a coalesced row to a long night."""

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library looks for the directory of its files."""

_NAME = "rowmill-metrics-"


class Seats:
    """Gives each process that counts a number of its own, and that of a dead one to the next.

    A seat is a file that its holder has locked. The system gives the lock up when the process ends,
    however it does; a forked process does not share it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = 0
        self._seat = ""

    def own(self) -> str:
        """The seat of the process that asks."""
        if self._process != os.getpid():
            self._seat, self._process = self._take(), os.getpid()
        return self._seat

    def _take(self) -> str:
        for number in count():
            # Open as long as the process lives, or the lock would be given up.
            file = os.open(self._directory / f"seat-{number}", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                os.close(file)
            else:
                # What it counted goes on, what it held is over.
                for gauges in self._directory.glob(f"gauge_*_{number}.db"):
                    gauges.unlink()
                return str(number)
        raise AssertionError("unreachable")


def begin() -> Path:
    """Let this process and those it will start count together, from zero; returns the directory
    that they share. Called before any metric is made; a second call changes nothing."""
    if (begun := _begun_here()) is not None:
        return begun
    _remove_left_behind()
    directory = Path(tempfile.mkdtemp(prefix=f"{_NAME}{os.getpid()}-"))
    _count_in(directory)
    atexit.register(end)
    return directory


def join() -> None:
    """Let this process count together with the one that started it, if that one counts."""
    if (directory := os.environ.get(_DIRECTORY)) and Path(directory).is_dir():
        _count_in(Path(directory))


def end() -> None:
    """Remove the directory, if it is this process that began it: nobody counts any more."""
    if (directory := _begun_here()) is not None:
        shutil.rmtree(directory, ignore_errors=True)


def _begun_here() -> Path | None:
    directory = Path(os.environ.get(_DIRECTORY, ""))
    return directory if directory.name.startswith(f"{_NAME}{os.getpid()}-") else None


def _count_in(directory: Path) -> None:
    os.environ[_DIRECTORY] = str(directory)
    # The library chooses this by the variable when it is imported; by now it may be.
    values.ValueClass = values.MultiProcessValue(Seats(directory).own)  # type: ignore[no-untyped-call]


def _remove_left_behind() -> None:
    """Remove what processes have left that were killed: the machine may never be started anew."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_NAME}*-*"):
        process = directory.name.removeprefix(_NAME).partition("-")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            shutil.rmtree(directory, ignore_errors=True)
        except (PermissionError, ValueError):
            continue


class AllProcesses(Collector):
    """What all processes together have counted, dead ones included."""

    def collect(self) -> Iterator[Metric]:
        """Families by name. Empty where nobody counts."""
        directory = os.environ.get(_DIRECTORY)
        files = Path(directory).glob("*.db") if directory else ()
        found = [str(file) for file in files if _is_readable(file)]
        # Without types in the library.
        merged: Iterable[Metric] = MultiProcessCollector.merge(found)  # type: ignore[no-untyped-call]
        yield from sorted(merged, key=lambda metric: metric.name)


def _is_readable(file: Path) -> bool:
    """One that is being made has no length yet; one of gauges goes when its seat is taken."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


def exposition(*collectors: Collector) -> bytes:
    """What these have collected, as text."""
    registry = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)


def holds_token(authorization: str, token: SecretStr) -> bool:
    """Whether the value of an `Authorization` header holds this token; no token is held by none."""
    expected = token.get_secret_value()
    scheme, _, given = authorization.partition(" ")
    is_bearer = scheme.lower() == "bearer" and bool(expected)
    # In constant time, so that a token can't be guessed from how long a refusal takes.
    return is_bearer and hmac.compare_digest(given.strip().encode(), expected.encode())
