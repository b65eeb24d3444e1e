"""`Prefer: wait=N` (RFC 7240): hold a request until its job ends, within bounds."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from shared.errors import JobNotFoundError, StoreUnavailableError, TooManyWaitingError
from shared.job_store.ends import Awaited, Ends, Seen
from shared.jobs import Job

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:[,;]|$)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How long a request is held, if at all."""

    ends: Ends
    seconds: float | None
    """None if nothing was asked for, or no seat was free."""

    @property
    def channel(self) -> str:
        """Where a job that is submitted now is to tell its end; empty if nobody waits for it.

        Raises StoreUnavailableError.
        """
        return self.ends.channel() if self.seconds else ""

    @property
    def applied(self) -> str | None:
        """What of the preference was applied, for `Preference-Applied`."""
        return None if self.seconds is None else f"wait={self.seconds:g}"

    def for_end(self, job: Job | Awaited) -> Seen:
        """A job as it is after the wait.

        Raises as `Ends.wait`, but of one that was submitted just now StoreUnavailableError if the
        store has lost it: it may be sent again.
        """
        if isinstance(job, Job):
            if not self.seconds or job.has_ended:
                return Seen(job=job)
            job = Awaited(job_id=job.id, spec=job.spec)
            return self.ends.wait(job, timeout_seconds=self.seconds)
        try:
            return self.ends.wait(job, timeout_seconds=self.seconds or 0)
        except JobNotFoundError as error:
            raise StoreUnavailableError from error


class WaitingRoom:
    """Waits for jobs on behalf of requests. A preference may be passed over (RFC 7240 §2): when
    all seats are taken a request is answered at once, so waiting can't use up the API's threads.
    """

    def __init__(self, ends: Ends, *, max_seconds: float, seats: int) -> None:
        self._ends = ends
        self._max_seconds = max_seconds
        self._seats = BoundedSemaphore(seats)

    def take_seat(self) -> Callable[[], None]:
        """Hold a seat for a request that waits by itself; returns what gives it back, once.

        Raises TooManyWaitingError.
        """
        if not self._seats.acquire(blocking=False):
            raise TooManyWaitingError
        return self._seats.release

    @contextmanager
    def seat(self, prefer: str) -> Iterator[Wait]:
        """A place to wait in for as long as a `Prefer` header asks for, at most."""
        match = _WAIT.search(prefer)
        if not match or not self._seats.acquire(blocking=False):
            yield Wait(ends=self._ends, seconds=None)
            return
        try:
            yield Wait(ends=self._ends, seconds=min(float(match[1]), self._max_seconds))
        finally:
            self._seats.release()
