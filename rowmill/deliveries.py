"""What became of a job's callback."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt:
    """One `POST` to the callback URL."""

    at: datetime
    status: int | None
    """What the receiver answered, if it did."""
    error: str | None
    """Why there was no answer, or why it was no good one."""
    duration_seconds: float


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """Whether the callback of a job was told of its end."""

    state: str
    """`none` without a callback, `pending`, `delivered`, `failed` or `gone`."""
    url: str | None
    attempts: tuple[DeliveryAttempt, ...]
    next_attempt_at: datetime | None
    document: Mapping[str, object]
    """The whole answer."""


# `Any`: JSON as it came.
def deliveries_from_json(document: Any) -> Deliveries:
    """The deliveries in an answer. Raises KeyError, TypeError or ValueError if there are none."""
    return Deliveries(
        state=document["state"],
        url=document["url"],
        attempts=tuple(
            DeliveryAttempt(
                at=datetime.fromisoformat(attempt["at"]),
                status=attempt["status"],
                error=attempt["error"],
                duration_seconds=float(attempt["duration_seconds"]),
            )
            for attempt in document["attempts"]
        ),
        next_attempt_at=_moment(document["next_attempt_at"]),
        document=document,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
