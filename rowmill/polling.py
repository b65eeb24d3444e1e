"""Waiting for the end of a job: long polls, pauses, and patience with a server that restarts."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rowmill.errors import ProblemError, RowmillError, TransportError, WaitTimeoutError
from rowmill.jobs import Job

HOLD_SECONDS = 25
"""One long poll. Shorter than the idle limit of common proxies (30 s and up)."""

WATCHED_HOLD_SECONDS = 1
"""One long poll while someone watches the progress; the header knows only whole seconds."""

PATIENCE_SECONDS = 60.0
"""How long the server may be away. A job survives its restart, so a wait should too."""

DEFAULT_PAUSE_SECONDS = 1.0
"""Between polls, where the server names no `Retry-After`."""

SHORTEST_PAUSE_SECONDS = 0.1
"""Keeps `Retry-After: 0` from becoming a busy loop."""

HELD_SHARE = 0.9
"""Of the time granted, what counts as held: two clocks are never quite of one mind."""

PASSING_STATUSES = frozenset({429, 502, 503, 504})
"""The server is overloaded or restarting; the job is not concerned."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time as the wait sees it; replaced in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One answer about the job."""

    job: Job
    granted_seconds: float = 0.0
    """How long the server said it would hold the request (`Preference-Applied: wait=N`)."""
    retry_after_seconds: float | None = None

    def pause_seconds(self, held_seconds: float) -> float:
        """How long to leave the server alone: not at all if it held the request as it said."""
        if self.granted_seconds and held_seconds >= self.granted_seconds * HELD_SHARE:
            return 0.0
        if self.retry_after_seconds is None:
            return DEFAULT_PAUSE_SECONDS
        return max(self.retry_after_seconds, SHORTEST_PAUSE_SECONDS)


class Watch:
    """Looks at one job until it ends. `look` takes the seconds the server may hold the request."""

    def __init__(
        self,
        look: Callable[[int], Sighting],
        *,
        job_id: str,
        clock: Clock,
        timeout_seconds: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> None:
        self.look = look
        self.job_id = job_id
        self.clock = clock
        self.timeout_seconds = timeout_seconds
        self.on_progress = on_progress
        self._deadline = clock.now() + (math.inf if timeout_seconds is None else timeout_seconds)
        self._last_answer = clock.now()

    def until_end(self) -> Job:
        """The job in its end state. Raises `WaitTimeoutError` or what `look` raises for good."""
        while True:
            started = self.clock.now()
            try:
                sighting = self.look(self._hold_seconds())
            except RowmillError as error:
                self._pause(self._bear(error))
                continue
            self._last_answer = self.clock.now()
            if self.on_progress is not None:
                self.on_progress(sighting.job)
            if sighting.job.has_ended:
                return sighting.job
            self._pause(sighting.pause_seconds(self._last_answer - started))

    def _hold_seconds(self) -> int:
        usual = HOLD_SECONDS if self.on_progress is None else WATCHED_HOLD_SECONDS
        return max(math.floor(min(usual, self._deadline - self.clock.now())), 0)

    def _bear(self, error: RowmillError) -> float:
        """Seconds to pause after trouble that may pass; raises any other, and any that stays."""
        if not _may_pass(error) or self.clock.now() - self._last_answer > PATIENCE_SECONDS:
            raise error
        asked = error.retry_after_seconds if isinstance(error, ProblemError) else None
        return max(asked or DEFAULT_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS)

    def _pause(self, seconds: float) -> None:
        rest_seconds = self._deadline - self.clock.now()
        if rest_seconds <= 0:
            raise WaitTimeoutError(self.job_id, self.timeout_seconds or 0.0)
        if seconds > 0:
            self.clock.sleep(min(seconds, rest_seconds))


def _may_pass(error: RowmillError) -> bool:
    if isinstance(error, ProblemError):
        return error.status in PASSING_STATUSES
    return isinstance(error, TransportError)
