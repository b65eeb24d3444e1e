"""The bodies this process is taking in, and the word it gives for them.

A job whose body arrives is vouched for every few seconds. When nobody does so any more, because the
process was killed or its machine is gone, the workers' sweep ends the job as `upload_incomplete`.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import StoreError
from shared.job_store.intake import JobIntake
from shared.job_store.store import JobStore
from shared.jobs import JobErrorCode

logger = logging.getLogger(__name__)

VOUCH_SECONDS = 2.0
"""A fifth of the time after which an upload that nobody vouches for is over."""


class Uploads:
    """Vouches for uploads from a thread of its own; one per process, used by all its threads."""

    def __init__(self, intake: JobIntake, store: JobStore) -> None:
        self._intake = intake
        self._store = store
        self._lock = threading.Lock()
        self._job_ids: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_over: Callable[[], bool] = bool

    @contextmanager
    def under_way(self, job_id: str) -> Iterator[None]:
        """Vouch for a job while the block runs."""
        with self._lock:
            self._job_ids.add(job_id)
            # Not before: the server forks its processes after the application was made.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._vouch, name="uploads", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._job_ids.discard(job_id)

    def break_off_when(self, is_over: Callable[[], bool]) -> None:
        """End the jobs whose bodies still arrive when `is_over`: the process is about to end."""
        self._is_over = is_over

    def _break_off(self) -> None:
        for job_id in self._current():
            detail = "The server stopped before the whole body was here; send it again."
            try:
                self._store.fail(job_id, JobErrorCode.UPLOAD_INCOMPLETE, detail)
            except StoreError as error:
                logger.warning("upload left to the sweep", extra={"reason": str(error)})

    def _current(self) -> list[str]:
        with self._lock:
            return list(self._job_ids)

    def _vouch(self) -> None:
        pause = threading.Event()
        while not pause.wait(VOUCH_SECONDS):
            if self._is_over():
                self._break_off()
            try:
                self._intake.vouch_for(self._current())
            except StoreError as error:
                logger.warning("uploads not vouched for", extra={"reason": str(error)})
