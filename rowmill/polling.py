"""Waiting for the end of a job: long polls, pauses, and patience with a server that restarts."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rowmill.errors import RowmillError, WaitTimeoutError
from rowmill.jobs import Job

HOLD_SECONDS = 1
"""One long poll: often enough for a progress bar, seldom enough for the server."""

PATIENCE_SECONDS = 60.0
"""How long the server may be away. A job survives its restart, so a wait should too."""

DEFAULT_PAUSE_SECONDS = 1.0
"""Between polls, where the server names no `Retry-After`."""

SHORTEST_PAUSE_SECONDS = 0.1
"""Keeps a server that holds no request, whatever it says, from a busy loop."""

OnProgress = Callable[[Job], None]
"""Called with the job at every sighting."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time as the wait sees it; replaced in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One answer about the job."""

    job: Job
    pause_seconds: float | None = None
    """How long the server asks to be left alone."""


def wait_for_end(
    look: Callable[[], Sighting],
    job_id: str,
    *,
    clock: Clock,
    timeout_seconds: float = math.inf,
    on_progress: OnProgress | None = None,
) -> Job:
    """The job in its end state. Raises `WaitTimeoutError` or what `look` raises for good."""
    last_answer = clock.now()
    deadline = last_answer + timeout_seconds
    while True:
        try:
            sighting = look()
        except RowmillError as error:
            if not error.may_pass or clock.now() - last_answer > PATIENCE_SECONDS:
                raise
            pause_seconds = error.retry_after_seconds
        else:
            last_answer = clock.now()
            if on_progress is not None:
                on_progress(sighting.job)
            if sighting.job.has_ended:
                return sighting.job
            pause_seconds = sighting.pause_seconds
        rest_seconds = deadline - clock.now()
        if rest_seconds <= 0:
            raise WaitTimeoutError(job_id, timeout_seconds)
        clock.sleep(min(_bounded(pause_seconds), rest_seconds))


def _bounded(pause_seconds: float | None) -> float:
    if pause_seconds is None:
        return DEFAULT_PAUSE_SECONDS
    return max(pause_seconds, SHORTEST_PAUSE_SECONDS)
