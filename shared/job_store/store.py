"""Jobs and their chunks in Redis. Keys: `keys.py`; fields: `records.py`; atomic steps: `lua/`.

All methods raise StoreUnavailableError when Redis does not answer in time, and those that bring
new work StoreFullError when it has no memory left.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis import Redis

from shared.chunks import ChunkPlan
from shared.errors import JobEndedError, JobGoneError, JobNotFoundError
from shared.job_store import keys, records
from shared.job_store.connection import text, translated_errors
from shared.job_store.scripts import JobScripts
from shared.jobs import Job, JobErrorCode, JobSpec, JobStatus

LIST_BATCH = 100
"""Jobs read in one round trip while a list is filtered."""


class LeaseRefusal(StrEnum):
    """Why there is nothing to do for a chunk any more."""

    GONE = "gone"
    ENDED = "ended"
    COMMITTED = "committed"
    EXHAUSTED = "exhausted"


class CommitOutcome(StrEnum):
    """What became of a commit; only by `committed` the chunk has this attempt's result."""

    COMMITTED = "committed"
    GONE = "gone"
    ENDED = "ended"
    STALE = "stale"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to commit one chunk, until a newer lease is given."""

    job_id: str
    spec: JobSpec
    plan: ChunkPlan
    token: int
    input: bytes


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What scoring a chunk gave: lines without headers, and how many rows they stand for."""

    results: bytes
    errors: bytes
    succeeded: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; `after` is the id of the last job of the page before."""

    status: JobStatus | None = None
    model: str | None = None
    after: str | None = None

    def admits(self, job: Job) -> bool:
        return self.status in (None, job.status) and self.model in (None, job.spec.model_name)


class JobStore:
    """The truth about jobs. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis, *, tombstone_seconds: int, max_retention_seconds: int) -> None:
        self._redis = redis
        self._scripts = JobScripts(redis)
        self._tombstone_seconds = tombstone_seconds
        self._max_retention_seconds = max_retention_seconds

    # --- intake

    def create(self, job_id: str, spec: JobSpec) -> None:
        """Begin a job that is `receiving`. A repeat after a lost answer changes nothing."""
        record = records.new_record(
            spec,
            active_seconds=self._max_retention_seconds,
            tombstone_seconds=self._tombstone_seconds,
        )
        self._scripts.run("create_job", job_id, record)
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zadd(keys.JOBS, {job_id: 0})
            pipe.zremrangebylex(keys.JOBS, "-", f"({self._oldest_possible_id()}")
            pipe.execute()

    def _oldest_possible_id(self) -> str:
        """Jobs with smaller ids are taken to have expired: kept for the longest retention after
        an end that came as late as a job may wait for one."""
        oldest_ms = time.time_ns() // 1_000_000 - 2 * self._max_retention_seconds * 1000
        return f"job_{max(oldest_ms, 0):012x}"

    def append_chunk(self, job_id: str, plan: ChunkPlan, data: bytes, *, window: int) -> list[int]:
        """Add a chunk; returns the numbers of the chunks to queue now. Idempotent.

        Raises JobEndedError or JobGoneError when the job ended while its body was arriving.
        """
        answer = self._scripts.run(
            "append_chunk",
            job_id,
            [plan.number, records.dump_plan(plan), data, plan.rows, window],
        )
        if answer[0] != b"appended":
            self._raise_closed(job_id)
        return [int(number) for number in answer[1:]]

    def close_input(self, job_id: str, *, input_bytes: int, sha256: str) -> None:
        """Tell that the whole body has been taken in. Idempotent; an ended job stays as it is."""
        self._scripts.run("close_input", job_id, [input_bytes, sha256])

    def _raise_closed(self, job_id: str) -> None:
        raise JobEndedError(job_id, self.get(job_id).status)

    # --- work

    def lease(
        self, job_id: str, chunk: int, *, owner: str, max_attempts: int
    ) -> Lease | LeaseRefusal:
        """The newest lease of a chunk, or why nobody needs to run it."""
        answer = self._scripts.run("lease_chunk", job_id, [chunk, owner, max_attempts])
        if answer[0] != b"leased":
            return LeaseRefusal(answer[0].decode())
        _, token, plan, data, spec = answer
        return Lease(
            job_id=job_id,
            spec=records.parse_spec(spec),
            plan=records.parse_plan(plan),
            token=token,
            input=data,
        )

    def commit(
        self, lease: Lease, result: ChunkResult, *, window: int
    ) -> tuple[CommitOutcome, list[int]]:
        """Store a chunk's result once; returns what became of it and the chunks to queue now.

        The last commit of a job ends it in the same step.
        """
        answer = self._scripts.run(
            "commit_chunk",
            lease.job_id,
            [
                lease.plan.number,
                lease.token,
                result.results,
                result.errors,
                result.succeeded,
                result.failed,
                window,
            ],
        )
        return CommitOutcome(answer[0].decode()), [int(number) for number in answer[1:]]

    # --- ends

    def cancel(self, job_id: str) -> None:
        """End a job as cancelled unless it has ended; idempotent. What is finished stays."""
        self._scripts.run("end_job", job_id, [JobStatus.CANCELLED, "", ""])

    def fail(self, job_id: str, code: JobErrorCode, detail: str) -> None:
        """End a job as failed unless it has ended; idempotent. What is finished stays."""
        self._scripts.run("end_job", job_id, [JobStatus.FAILED, code, detail])

    def delete(self, job_id: str) -> None:
        """Free all data of a job at once, running or not. Raises JobNotFoundError, JobGoneError."""
        if not self._scripts.run("delete_job", job_id):
            self.get(job_id)
        with translated_errors():
            self._redis.zrem(keys.JOBS, job_id)

    # --- reading

    def get(self, job_id: str) -> Job:
        """A snapshot of a job. Raises JobNotFoundError, JobGoneError."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.record(job_id))
            pipe.get(keys.tombstone(job_id))
            now, record, tombstone = pipe.execute()
        if record:
            return records.parse_job(job_id, record, read_at_ms=_milliseconds(now))
        if tombstone:
            raise JobGoneError(job_id, tombstone.decode())
        raise JobNotFoundError(job_id)

    def page(self, wanted: JobFilter, *, limit: int) -> tuple[list[Job], bool]:
        """Up to `limit` jobs, newest first, and whether there are more."""
        found: list[Job] = []
        for job in self._newest_first(wanted.after):
            if wanted.admits(job):
                found.append(job)
            if len(found) > limit:
                break
        return found[:limit], len(found) > limit

    def _newest_first(self, after: str | None) -> Iterator[Job]:
        bound = f"({after}" if after else "+"
        while True:
            with translated_errors():
                ids = self._redis.zrevrangebylex(keys.JOBS, bound, "-", start=0, num=LIST_BATCH)
            if not ids:
                return
            yield from self._get_many([text(job_id) for job_id in ids])
            bound = f"({text(ids[-1])}"

    def _get_many(self, job_ids: list[str]) -> list[Job]:
        """Snapshots of those jobs that have not expired."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for job_id in job_ids:
                pipe.hgetall(keys.record(job_id))
            now, *found = pipe.execute()
        return [
            records.parse_job(job_id, record, read_at_ms=_milliseconds(now))
            for job_id, record in zip(job_ids, found, strict=True)
            if record
        ]

    def results(self, job: Job) -> Iterator[bytes]:
        """Result lines of a job's committed chunks, in input order.

        Raises JobGoneError while iterating if the job is deleted or expires meanwhile.
        """
        return self._texts(job, keys.results(job.id))

    def errors(self, job: Job) -> Iterator[bytes]:
        """Row errors of a job's committed chunks, in input order. Raises as `results`."""
        return self._texts(job, keys.errors(job.id))

    def _texts(self, job: Job, key: str) -> Iterator[bytes]:
        for number in range(job.chunks_total):
            with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
                pipe.hget(key, str(number))
                pipe.exists(keys.record(job.id))
                found, is_there = pipe.execute()
            if not is_there:
                self.get(job.id)
            if found:
                yield found

    def wait_until_ended(self, job_id: str, *, timeout_seconds: float) -> Job:
        """The job when it has ended, or as it is after the timeout. Woken, not polling.

        Raises JobNotFoundError, JobGoneError.
        """
        deadline = time.monotonic() + timeout_seconds
        with translated_errors(), self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(keys.ended(job_id))
            # The subscription stands when its own message is here; an end after that is heard.
            subscription.get_message(timeout=timeout_seconds)
            job = self.get(job_id)
            while not job.has_ended and (left := deadline - time.monotonic()) > 0:
                subscription.get_message(timeout=left)
                job = self.get(job_id)
        return job


def _milliseconds(server_time: Any) -> int:
    """Redis' TIME, (seconds, microseconds), as milliseconds."""
    seconds, microseconds = server_time
    return int(seconds) * 1000 + int(microseconds) // 1000
