"""`Prefer: wait=N` (RFC 7240): answer a request when its job has ended, within bounds.

Its thread waits for a moment, in which most small jobs end. After that the answer is deferred,
where the server knows how, and no thread waits.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any, Self

from flask import Request, Response

from api.deferral import MAY_DEFER, Deferred
from api.http_metrics import leave_out
from shared.errors import JobNotFoundError, StoreUnavailableError, TooManyWaitingError
from shared.job_store.ends import (
    LOOK_SECONDS,
    Awaited,
    Ends,
    Hearing,
    Seen,
)
from shared.jobs import Job

MOMENT_SECONDS = 0.25
"""How long a thread waits: to defer costs more than the answer to a small job."""

WAITING_THREADS = 16
"""How many threads of a process may wait for a job, or for a store that is slow to say what became
of it."""

FOLLOWING_THREADS = 16
"""How many threads of a process may follow a job."""

RETRY_SECONDS = 0.2
"""When to look again after there was no thread to look with."""

AWAY_SECONDS = 1.0
"""When to look again after the store did not answer."""

LATE_SECONDS = 2.0
"""So much later than was asked for a request is refused that no thread has looked for."""

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:[,;]|$)", re.IGNORECASE)

MakeAnswer = Callable[[Seen], Response]
"""From a job as it is after the wait to the answer of the request."""


class WaitingRoom:
    """Waits for jobs on behalf of requests. A preference may be passed over (RFC 7240 §2): when
    all seats are taken a request is answered at once. Safe to share by threads.
    """

    def __init__(self, ends: Ends, *, max_seconds: float, seats: int) -> None:
        self.ends = ends
        self._max_seconds = max_seconds
        self._seats = BoundedSemaphore(seats)
        self._waiting_threads = BoundedSemaphore(WAITING_THREADS)
        self._following_threads = BoundedSemaphore(FOLLOWING_THREADS)

    def follow(self) -> Callable[[], None]:
        """Hold a seat and a thread for a request that follows a job; returns what gives both back,
        once.

        Raises TooManyWaitingError.
        """
        if not self._seats.acquire(blocking=False):
            raise TooManyWaitingError
        if not self._following_threads.acquire(blocking=False):
            self._seats.release()
            raise TooManyWaitingError

        def leave() -> None:
            self._following_threads.release()
            self._seats.release()

        return leave

    def wait(self, request: Request, *, default: str = "") -> "Wait":
        """A place to wait in for as long as the request asks for, at most.

        `default`: what a request prefers that does not say.
        """
        match = _WAIT.search(request.headers.get("Prefer", default))
        seconds = min(float(match[1]), self._max_seconds) if match else None
        if seconds is not None and not self._seats.acquire(blocking=False):
            seconds = None
        return Wait(self, seconds, environ=request.environ)

    def leave(self) -> None:
        """Give back the seat of a `wait`."""
        self._seats.release()

    @contextmanager
    def thread(self) -> Iterator[bool]:
        """Whether the thread may wait, as long as others have enough of them."""
        is_free = self._waiting_threads.acquire(blocking=False)
        try:
            yield is_free
        finally:
            if is_free:
                self._waiting_threads.release()


class Wait:
    """The wait of one request: a context in which it is answered, or deferred.

    Its seat is given back when the context is left with an answer or an error.
    """

    # Any: what a WSGI environment holds.
    def __init__(
        self, room: WaitingRoom, seconds: float | None, *, environ: dict[str, Any]
    ) -> None:
        """`seconds`: None if nothing was asked for, or no seat was free."""
        self.room = room
        self.seconds = seconds
        self.environ = environ
        self.may_defer = MAY_DEFER in environ
        self.is_cut_short = False
        self._hearing: Hearing | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Deferred):
            return
        if self._hearing:
            self._hearing.close()
        if self.seconds is not None:
            self.room.leave()

    @property
    def channel(self) -> str:
        """Where a job that is submitted now is to tell its end; empty if nobody waits for it, or if
        there is no channel yet: then who waits asks for its end to be told."""
        if not self.seconds:
            return ""
        try:
            return self.room.ends.channel(timeout_seconds=0)
        except StoreUnavailableError:
            return ""

    @property
    def applied(self) -> str | None:
        """What of the preference was applied, for `Preference-Applied`."""
        if self.seconds is None or self.is_cut_short:
            return None
        return f"wait={self.seconds:g}"

    def answered(self, job: Job | Awaited, make_answer: MakeAnswer) -> Response:
        """The answer, when the job has ended or the wait is over.

        Raises Deferred if that is not soon; what `make_answer` and `Hearing.wait` raise, but of a
        job submitted just now StoreUnavailableError if the store has lost it: it may be sent again.
        """
        is_new = isinstance(job, Awaited)
        if isinstance(job, Job):
            if not self.seconds or job.has_ended:
                return make_answer(Seen(job=job))
            job = Awaited(job_id=job.id, spec=job.spec)
        seconds = self.seconds or 0
        self._hearing = self.room.ends.hear(job)
        waiting = _Waiting(
            wait=self,
            hearing=self._hearing,
            is_new=is_new,
            make_answer=make_answer,
            ends_at=time.monotonic() + seconds,
        )
        return waiting.go_on(min(seconds, MOMENT_SECONDS) if self.may_defer else seconds)


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A request that waits, with its thread or as `api.deferral.Later`."""

    wait: Wait
    hearing: Hearing
    is_new: bool
    """Whether the request itself has submitted the job."""
    make_answer: MakeAnswer
    ends_at: float
    resume_at: float = 0.0
    """By `time.monotonic()`, like `ends_at`."""
    seen: Seen | None = None
    """The job as it was when it was last looked at."""

    def go_on(self, seconds: float) -> Response:
        """The answer if there is one within so many seconds, in which the thread waits."""
        with self.wait.room.thread() as may_wait:
            if not may_wait and self.wait.may_defer:
                raise self._later(RETRY_SECONDS)
            began = time.perf_counter()
            seen = self._look(seconds)
            # Of who does not wait it is the API's own work, that of taking the job in.
            if seconds:
                leave_out(self.wait.environ, time.perf_counter() - began)
        if seen.job.has_ended or self._is_late() or not self.wait.may_defer:
            return self.make_answer(seen)
        raise self._later(LOOK_SECONDS, seen)

    def _look(self, seconds: float) -> Seen:
        try:
            return self.hearing.wait(timeout_seconds=seconds)
        except StoreUnavailableError:
            # It is the submission that has failed, or the store can't be asked just now.
            self.hearing.awaited.wait_until_taken_in()
            if self._is_late() or not self.wait.may_defer:
                raise
            raise self._later(AWAY_SECONDS) from None
        except JobNotFoundError as error:
            if self.is_new:
                raise StoreUnavailableError from error
            raise

    def _is_late(self, seconds: float = 0.0) -> bool:
        return self.ends_at + seconds <= time.monotonic()

    def _later(self, seconds: float, seen: Seen | None = None) -> Deferred:
        """Raises StoreUnavailableError when that would be far too late."""
        if self._is_late(LATE_SECONDS):
            raise StoreUnavailableError
        resume_at = time.monotonic() + seconds
        if not self._is_late():
            resume_at = min(resume_at, self.ends_at)
        return Deferred(replace(self, resume_at=resume_at, seen=seen or self.seen))

    # --- without a thread

    def listen(self, call: Callable[[], None]) -> None:
        """Have `call` called when something is heard of the job."""
        self.hearing.listen(call)

    def resume(self, *, is_over: bool) -> Response:
        """The answer, or Deferred again; as `Wait.answered`."""
        with self.wait:
            if seen := self.hearing.heard():
                return self.make_answer(seen)
            if is_over and self.seen:
                self.wait.is_cut_short = True
                return self.make_answer(self.seen)
            return self.go_on(0)
