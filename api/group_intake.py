"""Small jobs that come at the same time are taken in by one call of the store: group commit, as
databases do it for transactions.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue

from shared import logs
from shared.job_store.ends import Ends
from shared.job_store.intake import FirstRequest, JobIntake, NewJob, TakenIn

logger = logging.getLogger(__name__)

MOST_JOBS = 64
MOST_BYTES = 1024**2
"""What a group has at most, give or take a job: a long script holds up the whole store."""

Entry = Future[TakenIn | FirstRequest]
"""What becomes of a job. Raises TooMuchQueuedError, JobTooLargeError, StoreError."""


class GroupIntake:
    """Takes in whole jobs. A job that comes alone goes at once; while a call is under way the next
    group gathers, which a thread of its own takes in. Safe to share by threads.
    """

    def __init__(self, intake: JobIntake, ends: Ends, *, wake: Callable[[str], None]) -> None:
        """`wake`: sends a message that some worker has to look for work, because of a job."""
        self._intake = intake
        self._ends = ends
        self._wake = wake
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._calling = threading.Lock()
        self._gathered: SimpleQueue[tuple[NewJob, Entry]] = SimpleQueue()

    def take_in(self, job: NewJob) -> Entry:
        """Have a job taken in. Who waits for its end is made to look if it is not."""
        entry: Entry = Future()
        if self._calling.acquire(blocking=False):
            self._call(job, entry)
        else:
            self._gathered.put((job, entry))
            self._begin()
        return entry

    def _begin(self) -> None:
        if self._thread is None:
            with self._lock:
                # Not before: the server forks its processes after the application was made.
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="intake", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        """Take in what gathers while somebody calls."""
        while True:
            job, entry = self._gathered.get()
            self._calling.acquire()
            self._call(job, entry)

    def _call(self, job: NewJob, entry: Entry) -> None:
        """Take in a job, and what has gathered, for who holds `_calling`."""
        try:
            unheard_of = self._submit([(job, entry), *self._more(len(job.body.data))])
        finally:
            self._calling.release()
        # A message may take its time; nobody else has to wait for it. A job that is taken in does
        # not fail with it either: the workers' beat makes up for one that was not sent.
        if unheard_of:
            self._tell_of(unheard_of)

    def _tell_of(self, job: NewJob) -> None:
        # Whose thread it is may have brought another one.
        with logs.more_fields(request_id=job.terms.trail.request_id, job_id=job.id):
            try:
                self._wake(job.id)
            except Exception:
                logger.exception("nobody woken")

    def _more(self, size_bytes: int) -> Iterator[tuple[NewJob, Entry]]:
        """What has gathered, as far as it goes with a job of this size."""
        for _ in range(MOST_JOBS - 1):
            if size_bytes >= MOST_BYTES:
                return
            try:
                job, entry = self._gathered.get_nowait()
            except Empty:
                return
            size_bytes += len(job.body.data)
            yield job, entry

    def _submit(self, group: Sequence[tuple[NewJob, Entry]]) -> NewJob | None:
        """Tell each what became of it. Returns a job for which a worker must be woken by a message,
        if there is one."""
        outcomes: Sequence[TakenIn | FirstRequest | Exception]
        try:
            found = self._intake.submit_all([job for job, _ in group])
            outcomes, is_message_needed = found.jobs, found.is_message_needed
        except Exception as error:  # noqa: BLE001 – whatever it is, those who wait have to know
            outcomes, is_message_needed = [error] * len(group), False
        taken_in = None
        for (job, entry), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                entry.set_exception(outcome)
                if job.terms.awaited_by:
                    self._ends.look(job.id)
                continue
            entry.set_result(outcome)
            taken_in = job
        return taken_in if is_message_needed else None
