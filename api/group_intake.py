"""Small jobs that come at the same time are taken in by one call of the store: group commit, as
databases do it for transactions.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from shared.job_store.ends import Ends
from shared.job_store.intake import FirstRequest, JobIntake, NewJob, TakenIn

logger = logging.getLogger(__name__)

MOST_JOBS = 64
MOST_BYTES = 1024**2
"""What a group has at most, give or take a job: a long script holds up the whole store."""

Entry = Future[TakenIn | FirstRequest]
"""What becomes of a job. Raises TooMuchQueuedError, JobTooLargeError, StoreError."""


class GroupIntake:
    """Takes in whole jobs. A job that comes alone goes at once; while one group is under way the
    next one gathers. Safe to share by threads, for which a thread of its own does the work.
    """

    def __init__(self, intake: JobIntake, ends: Ends, *, wake: Callable[[str], None]) -> None:
        """`wake`: sends a message that some worker has to look for work, because of a job."""
        self._intake = intake
        self._ends = ends
        self._wake = wake
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._gathered: SimpleQueue[tuple[NewJob, Entry]] = SimpleQueue()

    def take_in(self, job: NewJob) -> Entry:
        """Have a job taken in. Who waits for its end is made to look if it is not."""
        self._begin()
        entry: Entry = Future()
        self._gathered.put((job, entry))
        return entry

    def _begin(self) -> None:
        if self._thread is None:
            with self._lock:
                # Not before: the server forks its processes after the application was made.
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        while True:
            group = self._group()
            try:
                outcomes = self._intake.submit_all([job for job, _ in group])
            except Exception as error:  # noqa: BLE001 – whatever it is, those who wait have to know
                self._fail(group, error)
                continue
            for (job, entry), outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    self._fail([(job, entry)], outcome)
                    continue
                entry.set_result(outcome)
                if isinstance(outcome, TakenIn) and outcome.is_message_needed:
                    self._wake(job.id)

    def _group(self) -> list[tuple[NewJob, Entry]]:
        """Waits for one job; takes with it what has gathered meanwhile."""
        group = [self._gathered.get()]
        size_bytes = len(group[0][0].body.data)
        while len(group) < MOST_JOBS and size_bytes < MOST_BYTES:
            try:
                group.append(self._gathered.get_nowait())
            except Empty:
                break
            size_bytes += len(group[-1][0].body.data)
        return group

    def _fail(self, group: list[tuple[NewJob, Entry]], error: Exception) -> None:
        for job, entry in group:
            entry.set_exception(error)
            if job.terms.awaited_by:
                self._ends.look(job.id)
