"""Whether a job that comes now would be taken and scored."""

import threading
import time
from collections.abc import Callable

from shared.errors import NoLiveWorkerError, NotReadyError, NoUsableModelError, StoreError
from shared.job_store.model_reports import ModelReports
from shared.job_store.workers import WorkerRegistry

HOLDS_SECONDS = 1.0
"""How long an answer is given again. However many ask, the store is asked once in that time."""


class Readiness:
    """Looks at the store and at what workers tell. Safe to share by threads."""

    def __init__(
        self,
        workers: WorkerRegistry,
        reports: ModelReports,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._reports = reports
        self._clock = clock
        self._lock = threading.Lock()
        self._found: int | NotReadyError | StoreError = 0
        self._found_at = float("-inf")

    def processes(self) -> int:
        """Number of worker processes that can score, which is not 0.

        Raises NoLiveWorkerError, NoUsableModelError, StoreError.
        """
        # Who comes meanwhile waits for the same answer: a store that hangs costs each the same.
        with self._lock:
            if self._clock() - self._found_at >= HOLDS_SECONDS:
                self._found = self._look()
                self._found_at = self._clock()
            found = self._found
        if isinstance(found, int):
            return found
        raise found

    def _look(self) -> int | NotReadyError | StoreError:
        try:
            self._workers.check_write()
            processes = {name: of.processes for name, of in self._workers.live().items()}
            if not any(processes.values()):
                return NoLiveWorkerError()
            reports = self._reports.known().reports
        except StoreError as error:
            return error
        # A worker that can open no model lives and beats, but every job fails that it takes.
        able = (
            count
            for name, count in processes.items()
            if any(report.is_sound for report in reports.get(name, {}).values())
        )
        return sum(able) or NoUsableModelError()
