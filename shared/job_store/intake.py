"""How jobs come into Redis: admitted, appended chunk by chunk, closed.

All methods raise StoreUnavailableError when Redis does not answer in time, and StoreFullError when
it has no memory left for new work.
"""

import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from redis import Redis

from shared import payloads
from shared.chunks import ChunkPlan
from shared.errors import (
    JobEndedError,
    JobTooLargeError,
    RowmillError,
    StoreError,
    StoreFullError,
    TooManyJobsError,
    TooMuchQueuedError,
)
from shared.job_store import keys, records
from shared.job_store.connection import text, translated_errors
from shared.job_store.scripts import Scripts
from shared.job_store.store import JobStore
from shared.jobs import Job, JobSpec, JobTerms

PROMISED_SHARE = 0.75
"""Share of Redis' `maxmemory` that may be in use and promised when a job is admitted. The rest is
for what can't be foreseen: row errors, Celery's messages, the server's own buffers."""

USABLE_SHARE = 0.85
"""Share that may be in use when a chunk is added to a job whose size was not known beforehand."""

UPLOAD_SECONDS = 10.0
"""An upload that its API has not vouched for in so long is over: the API is dead."""

DEFAULT_RETRY_SECONDS = 10
MAX_RETRY_SECONDS = 300
"""When to come back while nothing is known of the drain rate, and at the latest."""


NOT_ADDED_SECONDS = 3600
"""How long an input is kept of which nobody said that it belongs to a job."""


class Appended(Enum):
    """What became of a chunk that was added."""

    MESSAGE_NEEDED = auto()
    """Taken in, and a worker has a process to spare that only a message wakes."""
    TAKEN_IN = auto()
    """Taken in; who runs it was woken, or is busy and will find it."""
    NO_ROOM = auto()
    """Not taken in: Redis is too full. It may be tried again."""


@dataclass(frozen=True, kw_only=True)
class WholeBody:
    """A body that is one chunk, and its size and SHA-256 as it was received."""

    plan: ChunkPlan
    data: bytes
    input_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A whole job, to be taken in."""

    id: str
    spec: JobSpec
    terms: JobTerms
    body: WholeBody


@dataclass(frozen=True, kw_only=True)
class TakenIn:
    """A job that was taken in at once."""

    job_id: str
    job: Job | None = None
    """As it is now; None for one whose end somebody waits for."""


@dataclass(frozen=True, kw_only=True)
class FirstRequest:
    """What an idempotency key was used for before."""

    job_id: str
    request: str


@dataclass(frozen=True, kw_only=True)
class GroupOutcome:
    """What became of jobs that were submitted together."""

    jobs: Sequence[TakenIn | FirstRequest | RowmillError]
    """In the order of the jobs: an error is what `JobIntake.create` would raise."""
    is_message_needed: bool
    """Whether a worker has a process to spare that only a message wakes."""


class JobIntake:
    """Takes jobs in. Safe to share by threads; holds nothing but the connection."""

    def __init__(
        self,
        redis: Redis,
        *,
        tombstone_seconds: int,
        max_retention_seconds: int,
        max_waiting_rows: int,
    ) -> None:
        self._redis = redis
        self._store = JobStore(redis)
        names = ("create_job", "submit_jobs", "append_chunk", "close_input", "keep_uploads")
        self._scripts = Scripts(redis, *names)
        self._tombstone_seconds = tombstone_seconds
        self._max_retention_seconds = max_retention_seconds
        self._max_waiting_rows = max_waiting_rows

    def create(self, job_id: str, spec: JobSpec, terms: JobTerms) -> FirstRequest | None:
        """Begin a job that is `receiving`; None, or what its idempotency key made before.

        A repeat after a lost answer changes nothing. A key whose body was never taken in whole is
        free again. Raises TooMuchQueuedError, TooManyJobsError, JobTooLargeError.
        """
        answer = self._scripts.run(
            "create_job",
            job_id,
            terms.idempotency_key,
            terms.request,
            terms.expected_rows,
            terms.expected_bytes,
            self._max_waiting_rows,
            PROMISED_SHARE,
            UPLOAD_SECONDS,
            *self._new_record(spec, terms),
            "trail",
            terms.trail.dump(),
        )
        return _first_request(answer)

    def submit_all(self, jobs: Sequence[NewJob]) -> GroupOutcome:
        """Take in whole jobs in one step. A repeat after a lost answer changes nothing."""
        known: dict[tuple[object, ...], int] = {}
        new_records: list[str | bytes | float] = []
        args: list[str | bytes | float] = []
        for job in jobs:
            terms, body = job.terms, job.body
            # Those of most jobs are alike, and each is sent once.
            who = (terms.owner, terms.caller, terms.most_in_flight)
            alike = (id(job.spec), terms.lane, who, terms.awaited_by, terms.callback_url)
            if alike not in known:
                known[alike] = len(known) + 1
                record = self._new_record(job.spec, terms)
                new_records += (len(record), *record)
            args += (job.id, known[alike], terms.idempotency_key, terms.request)
            args += (records.dump_plan(body.plan), body.data, body.plan.rows)
            args += (job.spec.result_bytes(body.plan.rows, input_bytes=len(body.data)),)
            args += (body.input_bytes, body.sha256, terms.trail.dump())
        is_message_needed, *answers = self._scripts.run(
            "submit_jobs",
            self._max_waiting_rows,
            PROMISED_SHARE,
            len(known),
            *new_records,
            *args,
        )
        return GroupOutcome(
            jobs=[_outcome(job.id, answer) for job, answer in zip(jobs, answers, strict=True)],
            is_message_needed=bool(is_message_needed),
        )

    def _new_record(self, spec: JobSpec, terms: JobTerms) -> list[str | bytes | float]:
        return records.new_record(
            spec,
            terms,
            active_seconds=self._max_retention_seconds,
            tombstone_seconds=self._tombstone_seconds,
        )

    def first_request(self, key: str) -> FirstRequest | None:
        """What an idempotency key was used for."""
        with translated_errors():
            found = self._redis.hmget(keys.idempotency(key), ["job_id", "request"])
        job_id, request = (text(value) if value else "" for value in found)
        return FirstRequest(job_id=job_id, request=request) if job_id else None

    def append_chunk(
        self,
        job_id: str,
        plan: ChunkPlan,
        data: bytes,
        *,
        result_bytes: int,
        payload_url: str = "",
    ) -> Appended:
        """Add a chunk whose results will take about so many bytes here. Idempotent.

        `payload_url`: the job's object store, if it has one. Raises JobEndedError or JobGoneError
        when the job ended while its body was arriving; PayloadStoreUnavailableError.
        """
        if payload_url:
            reference = payloads.Reference(name=f"{job_id}/input/{plan.number}", size=len(data))
            payloads.opened(payload_url).put(reference.name, data)
            data = reference.dump()
        try:
            # Not through the script: a plain SET takes over the bytes it receives, and a script's
            # argument is copied twice. A repeat keeps what came first.
            with translated_errors():
                name = keys.input_of(job_id, plan.number)
                self._redis.set(name, data, ex=NOT_ADDED_SECONDS, nx=True)
        except StoreFullError:
            return Appended.NO_ROOM
        answer = self._scripts.run(
            "append_chunk",
            job_id,
            plan.number,
            records.dump_plan(plan),
            plan.rows,
            result_bytes,
            USABLE_SHARE,
        )
        if answer[0] == b"full":
            return Appended.NO_ROOM
        if answer[0] != b"appended":
            if payload_url:
                with suppress(StoreError):  # what is left is found when the job goes
                    payloads.opened(payload_url).delete(reference.name)
            raise JobEndedError(job_id, self._store.get(job_id).status)
        return Appended.MESSAGE_NEEDED if answer[1] else Appended.TAKEN_IN

    def close(self, job_id: str, *, input_bytes: int, sha256: str) -> None:
        """Tell that the whole body has been taken in. Idempotent; an ended job stays as it is."""
        self._scripts.run("close_input", job_id, input_bytes, sha256)

    def vouch_for(self, job_ids: Collection[str]) -> None:
        """Say that these uploads are alive, for `UPLOAD_SECONDS` from now."""
        if job_ids:
            self._scripts.run("keep_uploads", UPLOAD_SECONDS, *job_ids)


# Any: the script's answer as redis-py gives it.
def _outcome(job_id: str, answer: Sequence[Any]) -> TakenIn | FirstRequest | RowmillError:
    try:
        if first := _first_request(answer):
            return first
    except RowmillError as error:
        return error
    job = None
    if len(answer) > 1:
        _, now_ms, record = answer
        job = records.parse_job(job_id, records.pairs(record), read_at_ms=int(now_ms))
    return TakenIn(job_id=job_id, job=job)


def _first_request(answer: Sequence[Any]) -> FirstRequest | None:
    """Raises TooMuchQueuedError, TooManyJobsError, JobTooLargeError."""
    outcome = answer[0].decode()
    if outcome == "busy":
        _, excess_rows, rate = answer
        raise TooMuchQueuedError(_seconds_until_drained(excess_rows, float(rate or 0)))
    if outcome == "never":
        raise JobTooLargeError(answer[1])
    if outcome == "in flight":
        raise TooManyJobsError(answer[1], retry_after_seconds=DEFAULT_RETRY_SECONDS)
    if outcome == "taken":
        return FirstRequest(job_id=answer[1].decode(), request=answer[2].decode())
    return None


def _seconds_until_drained(excess_rows: int, rows_per_second: float) -> int:
    """When there will be room again, as far as one can tell."""
    if not excess_rows or not rows_per_second:
        return DEFAULT_RETRY_SECONDS
    return max(1, min(math.ceil(excess_rows / rows_per_second), MAX_RETRY_SECONDS))
