"""What happens to a job as server-sent events (HTML standard, §9.2)."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from shared.errors import JobError, StoreUnavailableError
from shared.jobs import Job

MEDIA_TYPE = "text/event-stream"

BEGINNING = b"retry: 2000\n\n"
"""How many milliseconds a client that was cut off waits before it comes back."""

KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_SECONDS = 15.0
"""So often something is sent, for whoever between server and client cuts off what is silent. Many
proxies do so after a minute, some after 30 s."""

Describe = Callable[[Job], Mapping[str, object]]
"""From a job to its document."""


def event_id(job: Job) -> str:
    """Changes with the job's status and its counts, and with nothing else."""
    return f"{job.status}-{job.total}-{job.succeeded}-{job.failed}"


def event(job: Job, describe: Describe) -> bytes:
    """The event of a job as it is."""
    name = "completed" if job.has_ended else "progress"
    data = json.dumps(describe(job), separators=(",", ":"))
    return f"id: {event_id(job)}\nevent: {name}\ndata: {data}\n\n".encode()


def stream(
    jobs: Iterable[Job | None],
    describe: Describe,
    *,
    last_id: str | None,
    is_over: Callable[[], bool],
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
) -> Iterator[bytes]:
    """An event for each of these snapshots of a job that differs from the one before; between them
    comments and empty texts. None is a look that failed.

    `last_id`: of the event that the client has seen last. Ends where `jobs` do, and early when
    the job is gone, the store is out of reach for too long or the server `is_over`: a client that
    comes back learns the rest.
    """
    yield BEGINNING
    sent_at = time.monotonic()
    with suppress(JobError, StoreUnavailableError):
        for job in jobs:
            text = b""
            if job is not None and event_id(job) != last_id:
                last_id = event_id(job)
                text = event(job, describe)
            elif time.monotonic() - sent_at >= keep_alive_seconds:
                text = KEEP_ALIVE
            if text:
                sent_at = time.monotonic()
            yield text
            if is_over():
                return
