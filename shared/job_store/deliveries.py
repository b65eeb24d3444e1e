"""Ends of jobs that are to be told to callbacks: which are due, who tells them, what came of it.

The script that ends a job puts it into the line of its callback's host, so no end is lost. Hosts
take turns, whatever they have to be told. A delivery is claimed for a while; if nothing is heard of
it by then it is due again, so an end may be told more than once.

All methods raise StoreUnavailableError when Redis does not answer in time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter
from redis import Redis

from shared.job_store import keys
from shared.job_store.connection import text, translated_errors
from shared.job_store.scripts import Scripts
from shared.jobs import Job
from shared.trail import NO_TRAIL, Trail


class DeliveryState(StrEnum):
    """Whether the end of a job was told to its callback."""

    NONE = "none"
    """The job has no callback."""
    PENDING = "pending"
    """It has not ended, or its end is still to be told."""
    DELIVERED = "delivered"
    """The receiver has answered that it was told."""
    FAILED = "failed"
    """No attempt is left."""
    GONE = "gone"
    """The receiver has answered that it wants to hear nothing more."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A delivery that was claimed."""

    job_id: str
    host: str
    """With its port, if the URL names one."""
    number: int
    """Of the attempt to be made, from 1; those count whose outcome was never heard of."""
    trail: Trail = NO_TRAIL


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to tell an end."""

    at_ms: int
    duration_seconds: float
    status: int | None = None
    """HTTP status of the answer, if there was one."""
    error: str | None = None
    """Why the end does not count as told, in words; None if it does."""


@dataclass(frozen=True, kw_only=True)
class DeliveryLog:
    """What became of a job's callback so far."""

    state: DeliveryState
    attempts: tuple[Attempt, ...] = ()
    next_at_ms: int | None = None


_ATTEMPT = TypeAdapter(Attempt)


class Deliveries:
    """Deliveries of all jobs. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, "claim_delivery", "settle_delivery")

    def claim(self, *, seconds: float, busy: Collection[str] = ()) -> Delivery | None:
        """A delivery that is due, for so long; None if there is none. `busy`: hosts passed over."""
        claimed = self._scripts.run("claim_delivery", int(seconds * 1000), *busy)
        if not claimed:
            return None
        job_id, host, number, trail = claimed
        return Delivery(
            job_id=text(job_id), host=text(host), number=number, trail=Trail.parse(text(trail))
        )

    def try_again(self, delivery: Delivery, attempt: Attempt, *, seconds: float) -> None:
        """Note an attempt that failed; the next one is due after so many seconds."""
        self._settle(delivery, attempt, "", int(seconds * 1000))

    def end(self, delivery: Delivery, state: DeliveryState, attempt: Attempt | None = None) -> None:
        """Note the last attempt, if one was made, and that there will be no other."""
        self._settle(delivery, attempt, state, 0)

    def _settle(
        self, delivery: Delivery, attempt: Attempt | None, state: str, milliseconds: int
    ) -> None:
        noted = _ATTEMPT.dump_json(attempt) if attempt else ""
        number = delivery.number
        self._scripts.run("settle_delivery", delivery.job_id, number, noted, state, milliseconds)

    def log(self, job: Job) -> DeliveryLog:
        """What became of the callback of a job, its attempts in order."""
        if job.callback_url is None:
            return DeliveryLog(state=DeliveryState.NONE)
        with translated_errors():
            found = self._redis.hgetall(keys.deliveries(job.id))
        state, next_at_ms = found.pop(b"state", b"pending"), found.pop(b"next_at_ms", None)
        found.pop(b"claims", None)
        return DeliveryLog(
            state=DeliveryState(text(state)),
            attempts=tuple(_ATTEMPT.validate_json(found[n]) for n in sorted(found, key=int)),
            next_at_ms=int(next_at_ms) if next_at_ms else None,
        )
