"""`Prefer: wait=N` (RFC 7240): hold a request until its job ends, within bounds."""

import re
from threading import BoundedSemaphore

from shared.job_store.store import JobStore
from shared.jobs import Job

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:[,;]|$)", re.IGNORECASE)


class WaitingRoom:
    """Waits for jobs on behalf of requests. A preference may be passed over (RFC 7240 §2): when
    all seats are taken a request is answered at once, so waiting can't use up the API's threads.
    """

    def __init__(self, store: JobStore, *, max_seconds: float, seats: int) -> None:
        self._store = store
        self._max_seconds = max_seconds
        self._seats = BoundedSemaphore(seats)

    def wait(self, job: Job, prefer: str) -> tuple[Job, str | None]:
        """The job as it is after the wait that a `Prefer` header asks for, and what of the
        preference was applied, for `Preference-Applied`."""
        match = _WAIT.search(prefer)
        if not match or not self._seats.acquire(blocking=False):
            return job, None
        try:
            seconds = min(float(match[1]), self._max_seconds)
            if seconds > 0 and not job.has_ended:
                job = self._store.wait_until_ended(job.id, timeout_seconds=seconds)
            return job, f"wait={seconds:g}"
        finally:
            self._seats.release()
