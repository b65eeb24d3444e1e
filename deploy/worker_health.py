"""Ends with 0 when the worker of this container was heard of lately, and ends a worker that hangs:

    python -m deploy.worker_health --pidfile /tmp/worker.pid

The heartbeat comes from the event loop that takes messages, so a worker that is frozen or hangs
falls silent. Docker only marks it as unhealthy and starts anew what has ended: so whoever was not
heard of for some checks in a row is killed. KILL works on a frozen process, too; its children are
ended by the system. Where a container's main process has number 1, as in Kubernetes, nothing in
the container can kill it, and the liveness probe that runs this does.

Nobody is killed because Redis is away, nor during a start, which may take minutes.
`celery inspect ping` would say less and import scikit-learn each time to ask.
"""

import argparse
import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from shared.errors import StoreError
from shared.job_store.connection import connect
from shared.job_store.workers import WorkerRegistry
from shared.settings import Settings

MOST_SILENT = 3
"""Checks in a row in which a worker may be silent. At one in 20 s that is a minute: long enough for
one that connects to Redis again after an outage, which Celery puts off for up to 30 s."""

START_SECONDS = 600.0
"""How long a worker that was never heard of may take to start: it tries and loads all models."""


@dataclass(frozen=True, kw_only=True)
class MainProcess:
    """The main process of a worker."""

    pid: int
    age_seconds: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """What checks have found of one main process so far."""

    pid: int = 0
    was_heard: bool = False
    silent: int = 0
    """Checks in a row."""

    def heard(self, process: MainProcess, *, dead_after_seconds: float) -> "Record":
        """The record once a worker of this host was heard of."""
        # Until then it may be the one before it, whose successor has yet to begin.
        is_own = process.age_seconds > dead_after_seconds
        was_heard = is_own or (self.was_heard and self.pid == process.pid)
        return Record(pid=process.pid, was_heard=was_heard)

    def silence(self, process: MainProcess) -> "Record":
        """The record once no worker of this host was heard of."""
        known = self if self.pid == process.pid else Record(pid=process.pid)
        if not known.was_heard and process.age_seconds < START_SECONDS:
            return known
        return replace(known, silent=known.silent + 1)

    @property
    def is_hanging(self) -> bool:
        return self.silent >= MOST_SILENT


class Hearing:
    """Whether a worker of this host is heard of."""

    def __init__(self, settings: Settings) -> None:
        self._dead_after_seconds = settings.dead_after_seconds
        self._registry = WorkerRegistry(
            connect(settings.redis_url),
            dead_after_seconds=settings.dead_after_seconds,
            max_job_losses=settings.max_job_losses,
        )
        self._host = socket.gethostname()

    def check(self, process: MainProcess | None, record: Record) -> tuple[Record, str]:
        """What is known from now on, and what is wrong; kills a process that hangs."""
        try:
            is_live = self._registry.is_live(self._host)
        except StoreError as error:
            return replace(record, silent=0), str(error)
        if process is None:
            return Record(), "" if is_live else "No worker runs."
        if is_live:
            return record.heard(process, dead_after_seconds=self._dead_after_seconds), ""
        record = record.silence(process)
        if not record.is_hanging:
            return record, f"The worker of {self._host} was not heard of lately."
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return Record(), f"The worker of {self._host} hung and was killed, to be started anew."


def main_process(pidfile: Path) -> MainProcess | None:
    """The process that wrote `pidfile`; None if it does not run."""
    try:
        pid, written_at = int(pidfile.read_text()), pidfile.stat().st_mtime
        is_worker = b"celery" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return MainProcess(pid=pid, age_seconds=time.time() - written_at) if is_worker else None


def read_record(path: Path) -> Record:
    """What was found before; nothing if it can't be read."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Record()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.worker_health")
    parser.add_argument("--pidfile", type=Path, required=True, help="as given to celery")
    pidfile: Path = parser.parse_args().pidfile
    path = pidfile.with_suffix(".health")
    record, problem = Hearing(Settings()).check(main_process(pidfile), read_record(path))
    path.write_text(json.dumps(asdict(record)))
    if problem:
        sys.exit(problem)


if __name__ == "__main__":
    main()
