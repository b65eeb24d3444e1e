"""`Prefer: wait=N` (RFC 7240): answer a request when its job has ended, within bounds.

Its thread waits for a moment, in which most small jobs end. After that the answer is deferred,
where the server knows how, and no thread waits.
"""

import re
import time
from collections.abc import Callable
from threading import BoundedSemaphore
from types import TracebackType
from typing import Self

from flask import Request, Response

from api.deferral import MAY_DEFER, Deferred
from shared.errors import JobNotFoundError, StoreUnavailableError, TooManyWaitingError
from shared.job_store.ends import LOOK_SECONDS, Awaited, Ends, Seen, Told
from shared.jobs import Job

MOMENT_SECONDS = 0.25
"""How long a thread waits: to defer costs more than the answer to a small job."""

THREADS = 16
"""How many threads may wait or follow at a time: half of a process', so others always get one."""

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:[,;]|$)", re.IGNORECASE)

MakeAnswer = Callable[[Seen], Response]
"""From a job as it is after the wait to the answer of the request."""


class WaitingRoom:
    """Waits for jobs on behalf of requests. A preference may be passed over (RFC 7240 §2): when
    all seats are taken a request is answered at once. Safe to share by threads.
    """

    def __init__(self, ends: Ends, *, max_seconds: float, seats: int) -> None:
        self.ends = ends
        self.threads = BoundedSemaphore(THREADS)
        self._max_seconds = max_seconds
        self._seats = BoundedSemaphore(seats)

    def take_seat_and_thread(self) -> Callable[[], None]:
        """Hold a seat for a request that waits by itself, in a thread; returns what gives both
        back, once.

        Raises TooManyWaitingError.
        """
        if not self._seats.acquire(blocking=False):
            raise TooManyWaitingError
        if not self.threads.acquire(blocking=False):
            self._seats.release()
            raise TooManyWaitingError
        return self._leave_seat_and_thread

    def _leave_seat_and_thread(self) -> None:
        self.threads.release()
        self._seats.release()

    def leave_seat(self) -> None:
        """For a Wait that has one."""
        self._seats.release()

    def wait(self, request: Request, *, default: str = "") -> "Wait":
        """A place to wait in for as long as the request asks for, at most.

        `default`: what a request prefers that does not say.
        """
        match = _WAIT.search(request.headers.get("Prefer", default))
        seconds = min(float(match[1]), self._max_seconds) if match else None
        if seconds is not None and not self._seats.acquire(blocking=False):
            seconds = None
        return Wait(self, seconds, may_defer=MAY_DEFER in request.environ)


class Wait:
    """The wait of one request: a context in which it is answered, or deferred.

    Its seat is given back when the context is left with an answer.
    """

    def __init__(self, room: WaitingRoom, seconds: float | None, *, may_defer: bool) -> None:
        """`seconds`: None if nothing was asked for, or no seat was free."""
        self._room = room
        self._ends = room.ends
        self._seconds = seconds
        self._may_defer = may_defer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._seconds is not None and not isinstance(error, Deferred):
            self._room.leave_seat()

    @property
    def channel(self) -> str:
        """Where a job that is submitted now is to tell its end; empty if nobody waits for it.

        Raises StoreUnavailableError.
        """
        return self._ends.channel() if self._seconds else ""

    @property
    def applied(self) -> str | None:
        """What of the preference was applied, for `Preference-Applied`."""
        return None if self._seconds is None else f"wait={self._seconds:g}"

    def answered(self, job: Job | Awaited, make_answer: MakeAnswer) -> Response:
        """The answer, when the job has ended or the wait is over.

        Raises Deferred if that is not soon; what `make_answer` and `Ends.wait` raise, but of a job
        submitted just now StoreUnavailableError if the store has lost it: it may be sent again.
        """
        self._make_answer = make_answer
        self._is_new = isinstance(job, Awaited)
        if isinstance(job, Job):
            if not self._seconds or job.has_ended:
                return make_answer(Seen(job=job))
            job = Awaited(job_id=job.id, spec=job.spec)
        self._awaited = job
        self._ends_at = time.monotonic() + (self._seconds or 0)
        return self._answer(self._hold())

    def _hold(self) -> Seen:
        """The job after the time for which its thread may wait."""
        seconds = self._seconds or 0
        if not self._may_defer:
            return self._look(seconds)
        if not self._room.threads.acquire(blocking=False):
            return self._look(0)
        try:
            return self._look(min(seconds, MOMENT_SECONDS))
        finally:
            self._room.threads.release()

    def _look(self, timeout_seconds: float) -> Seen:
        try:
            return self._ends.wait(self._awaited, timeout_seconds=timeout_seconds)
        except JobNotFoundError as error:
            if self._is_new:
                raise StoreUnavailableError from error
            raise

    def _answer(self, seen: Seen, *, is_over: bool = False) -> Response:
        if seen.job.has_ended or is_over or self._ends_at <= time.monotonic():
            return self._make_answer(seen)
        self._told: Told | None = None
        self._look_at = time.monotonic() + LOOK_SECONDS
        raise Deferred(self)

    # --- without a thread: what `api.deferral.Later` asks for

    @property
    def resume_at(self) -> float:
        """When to resume at the latest, by `time.monotonic()`."""
        return min(self._look_at, self._ends_at)

    def listen(self, call: Callable[[], None]) -> None:
        """Have `call` called when something is heard of the job."""
        self._call = call
        self._ends.listen(self._awaited.job_id, self)

    def put(self, told: Told | None) -> None:
        """What was heard: the job's end, or that one had better look."""
        self._told = told
        self._call()

    def resume(self, *, is_over: bool) -> Response:
        """The answer, or Deferred again; as `answered`."""
        with self:
            self._ends.leave(self._awaited.job_id, self)
            seen = self._told.seen(self._awaited) if self._told else self._look(0)
            return self._answer(seen, is_over=is_over)
