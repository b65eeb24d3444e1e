"""What a server does at one moment, as `GET /status` tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One of the two ways that chunks take to the workers."""

    jobs: int
    """Jobs that are all there and not begun."""
    running_chunks: int


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker, as it last reported."""

    name: str
    processes: int
    busy: int
    """Processes that score something."""
    last_heard_seconds: float
    is_live: bool


@dataclass(frozen=True, kw_only=True)
class Service:
    """Queue, workers and jobs of a server, as they stood when it answered."""

    small: Lane
    bulk: Lane
    waiting_rows: int
    max_waiting_rows: int
    """Where new jobs are refused."""
    rows_per_second: float | None
    oldest_waiting_seconds: float | None
    workers: tuple[Worker, ...]
    jobs: Mapping[str, int]
    """How many jobs have which status, of those that have not ended."""
    used_bytes: int
    max_bytes: int | None
    document: Mapping[str, object]
    """The whole answer."""


# `Any` in these: JSON as it came.
def service_from_json(document: Any) -> Service:
    """What an answer tells. Raises KeyError, TypeError or ValueError if it tells nothing."""
    queue, redis = document["queue"], document["redis"]
    return Service(
        small=_lane(queue["small"]),
        bulk=_lane(queue["bulk"]),
        waiting_rows=int(queue["waiting_rows"]),
        max_waiting_rows=int(queue["max_waiting_rows"]),
        rows_per_second=queue["rows_per_second"],
        oldest_waiting_seconds=queue["oldest_waiting_seconds"],
        workers=tuple(map(_worker, document["workers"])),
        jobs=dict(document["jobs"]),
        used_bytes=int(redis["used_bytes"]),
        max_bytes=redis["max_bytes"],
        document=document,
    )


def _lane(document: Any) -> Lane:
    return Lane(jobs=int(document["jobs"]), running_chunks=int(document["running_chunks"]))


def _worker(document: Any) -> Worker:
    return Worker(
        name=document["name"],
        processes=int(document["processes"]),
        busy=int(document["busy"]),
        last_heard_seconds=float(document["last_heard_seconds"]),
        is_live=bool(document["is_live"]),
    )
