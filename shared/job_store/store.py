"""Jobs in Redis: read, cancelled, deleted. Keys: `keys.py`; fields: `records.py`; steps: `lua/`.

All methods raise StoreUnavailableError when Redis does not answer in time. Those that read texts of
chunks raise PayloadStoreUnavailableError and PayloadLostError, too, where these are in an object
store; they hold two texts at most, and small ones up to a MiB.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis import Redis

from shared import payloads
from shared.chunks import RejectedRows
from shared.errors import (
    JobError,
    JobGoneError,
    JobNotFoundError,
    PayloadLostError,
    StoreError,
    StoreUnavailableError,
)
from shared.job_store import keys, records
from shared.job_store.connection import milliseconds, text, translated_errors
from shared.job_store.garbage import Garbage, Note
from shared.job_store.scripts import Scripts
from shared.jobs import Job, JobErrorCode, JobStatus
from shared.row_range import ALL_ROWS, RowRange, limited, without_first

LIST_BATCH = 100
"""Jobs read in one round trip while a list is filtered."""

READ_BYTES = 1024**2
"""Texts of chunks are read in one round trip until there are so many bytes: round trips don't count
then, however small the chunks, and a reader holds hardly more than the largest chunk has."""

READ_CHUNKS = 1_000
"""Chunks looked at in one round trip, during which the server serves nobody else. Most chunks have
no row errors to be read."""

LOOK_SECONDS = 1.0
"""A follower looks without being woken so often: a message may be lost, and a caller may go."""

OUTAGE_SECONDS = 30.0
"""For so long Redis may be away before a follower is cut off: longer than a restart takes."""


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; `after` is the id of the last job of the page before."""

    owner: str | None
    """Id of the API key whose jobs they are; None for anybody's."""
    status: JobStatus | None = None
    model: str | None = None
    after: str | None = None

    def admits(self, job: Job) -> bool:
        return self.status in (None, job.status) and self.model in (None, job.spec.model_name)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one round trip gave: texts of chunks, in order, and where to go on."""

    texts: tuple[bytes, ...] = ()
    payload_url: str = ""
    """Where the texts are, if these are references to them."""
    next_chunk: int = 0
    is_last: bool = False
    unwanted_rows: int = 0
    """So many of the next rows are still to be left out."""


class JobStore:
    """The truth about jobs. Safe to share by threads; holds nothing but the connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._garbage = Garbage(redis)
        self._scripts = Scripts(redis, "end_job", "delete_job", "await_end", "read_chunks")

    # --- ends

    def cancel(self, job_id: str) -> None:
        """End a job as cancelled unless it has ended; idempotent. What is finished stays."""
        self._scripts.run("end_job", job_id, JobStatus.CANCELLED, "", "")

    def fail(self, job_id: str, code: JobErrorCode, detail: str) -> None:
        """End a job as failed unless it has ended; idempotent. What is finished stays."""
        self._scripts.run("end_job", job_id, JobStatus.FAILED, code, detail)

    def delete(self, job_id: str) -> None:
        """Free all data of a job at once, running or not; objects of it, where their store is away,
        when it is back. Raises JobNotFoundError, JobGoneError."""
        note = self._scripts.run("delete_job", job_id)
        if note is None:
            self.get(job_id)
        elif note:
            with suppress(StoreError):  # the workers find the note
                self._garbage.clear(Note(text=text(note)))

    # --- reading

    def get(self, job_id: str) -> Job:
        """A snapshot of a job. Raises JobNotFoundError, JobGoneError."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.record(job_id))
            pipe.get(keys.tombstone(job_id))
            now, record, tombstone = pipe.execute()
        if record:
            return records.parse_job(job_id, record, read_at_ms=milliseconds(now))
        raise _absence(job_id, tombstone)

    def owner_of(self, job_id: str) -> str | None:
        """Whose a job is, or was as long as that is known; empty for nobody's, None for no job."""
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.record(job_id), ["status", "owner"])
            pipe.get(keys.tombstone(job_id))
            (status, owner), tombstone = pipe.execute()
        if status:
            return text(owner or "")
        return text(tombstone).partition(" ")[2] if tombstone else None

    def page(self, wanted: JobFilter, *, limit: int) -> tuple[list[Job], bool]:
        """Up to `limit` jobs, newest first, and whether there are more."""
        found: list[Job] = []
        for job in self._newest_first(wanted):
            if wanted.admits(job):
                found.append(job)
            if len(found) > limit:
                break
        return found[:limit], len(found) > limit

    def _newest_first(self, wanted: JobFilter) -> Iterator[Job]:
        bound, name = f"({wanted.after}" if wanted.after else "+", keys.jobs(wanted.owner)
        while True:
            with translated_errors():
                ids = self._redis.zrevrangebylex(name, bound, "-", start=0, num=LIST_BATCH)
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
            records.parse_job(job_id, record, read_at_ms=milliseconds(now))
            for job_id, record in zip(job_ids, found, strict=True)
            if record
        ]

    def get_with_results(
        self, job_id: str, rows: RowRange = ALL_ROWS
    ) -> tuple[Job, Iterator[bytes]]:
        """A snapshot of a job and its `results`, those of a small job in the same round trip.

        Raises as `get`.
        """
        with translated_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.record(job_id))
            pipe.hget(keys.results(job_id), "0")
            now, record, first = pipe.execute()
        if not record:
            return self.get(job_id), iter(())
        job = records.parse_job(job_id, record, read_at_ms=milliseconds(now))
        if job.has_ended and job.chunks_total == 1 and not job.spec.payload_url:
            texts, _ = without_first([first] if first else [], rows.offset)
            return job, limited(iter(texts), rows.limit)
        return job, self.results(job, rows)

    def results(self, job: Job, rows: RowRange = ALL_ROWS) -> Iterator[bytes]:
        """Result lines of a job's committed chunks, in input order, or some of these lines.

        Raises JobGoneError while iterating if the job is deleted or expires meanwhile.
        """
        return limited(self._texts(job.id, "results", rows.offset), rows.limit)

    def errors(self, job: Job, rows: RowRange = ALL_ROWS) -> Iterator[bytes]:
        """Row errors of a job's committed chunks, in input order, or some of them. Raises as
        `results`."""
        return limited(self._texts(job.id, "errors", rows.offset), rows.limit)

    def rejects(self, job: Job) -> Iterator[RejectedRows]:
        """The failed rows of a job's committed chunks, in input order. Raises as `results`."""
        return map(records.parse_rejects, self._texts(job.id, "rejects"))

    def _texts(self, job_id: str, what: str, unwanted_rows: int = 0) -> Iterator[bytes]:
        batch = Batch(unwanted_rows=unwanted_rows)
        while not batch.is_last:
            batch = self._next_batch(job_id, what, batch)
            batch = yield from self._wanted(job_id, batch)

    def _wanted(self, job_id: str, batch: Batch) -> Generator[bytes, None, Batch]:
        """The texts of a batch without unwanted rows; returns it with those that are left."""
        unwanted_rows = batch.unwanted_rows
        for found in self._read(job_id, batch):
            kept, unwanted_rows = without_first([found], unwanted_rows)
            yield from kept
        return replace(batch, texts=(), unwanted_rows=unwanted_rows)

    def _read(self, job_id: str, batch: Batch) -> Iterator[bytes]:
        if not batch.payload_url:
            yield from batch.texts
            return
        references = (payloads.Reference.parse(text(found)) for found in batch.texts)
        for found in payloads.opened(batch.payload_url).read_all(references):
            if found is None:
                self.get(job_id)  # deleted meanwhile, as a rule
                raise PayloadLostError(job_id)
            yield found

    def follow(self, job_id: str, rows: RowRange = ALL_ROWS) -> Iterator[bytes]:
        """Result lines of a job's chunks, in input order, each as soon as it and all before it are
        committed; after the job's end, those that there are. Woken, not polling.

        About every `LOOK_SECONDS` there is something: an empty text if nothing is new. Outlasts a
        restart of Redis. Raises JobNotFoundError, JobGoneError while iterating.
        """
        return limited(self._followed(job_id, rows.offset), rows.limit)

    def _followed(self, job_id: str, unwanted_rows: int) -> Iterator[bytes]:
        batch, is_idle, away_since = Batch(unwanted_rows=unwanted_rows), True, 0.0
        with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
            while not batch.is_last:
                first_chunk = batch.next_chunk
                try:
                    if is_idle:
                        _listen(subscription, keys.progress(job_id))
                    batch = self._next_batch(job_id, "results", batch, is_followed=True)
                    away_since = 0.0
                except StoreUnavailableError:
                    away_since = away_since or time.monotonic()
                    if time.monotonic() - away_since > OUTAGE_SECONDS:
                        raise
                    batch = replace(batch, texts=())
                is_idle = batch.next_chunk == first_chunk
                if not batch.texts:
                    yield b""
                batch = yield from self._wanted(job_id, batch)

    def _next_batch(
        self, job_id: str, what: str, before: Batch, *, is_followed: bool = False
    ) -> Batch:
        """Texts of the chunks behind a batch. Those that are missing are passed over or, if the job
        `is_followed` and may still bring them, not."""
        bounds = (before.next_chunk, READ_BYTES, READ_CHUNKS)
        answer = self._scripts.run(
            "read_chunks", job_id, what, *bounds, int(is_followed), before.unwanted_rows
        )
        if not isinstance(answer, list):
            raise _absence(job_id, answer)
        next_chunk, is_last, found, unwanted_rows, payload_url = answer
        return Batch(
            texts=tuple(found),
            payload_url=text(payload_url),
            next_chunk=next_chunk,
            is_last=bool(is_last),
            unwanted_rows=unwanted_rows,
        )

    def await_end(self, job_id: str, channel: str) -> bool:
        """Have a job's end told on a channel, see `ends.py`; False if it has ended or is gone."""
        return bool(self._scripts.run("await_end", job_id, channel))


def _absence(job_id: str, tombstone: bytes | None) -> JobError:
    """Why there is no such job."""
    reason = text(tombstone or "").partition(" ")[0]
    return JobGoneError(job_id, reason) if tombstone else JobNotFoundError(job_id)


# Any: a PubSub, which has no types.
def _listen(subscription: Any, channel: str) -> None:
    """Return when there was a message on the channel, but after `LOOK_SECONDS` at the latest.

    The first time it is the subscription's own: what happens after that is heard.
    """
    with translated_errors():
        if not subscription.subscribed:
            subscription.subscribe(channel)
        if subscription.get_message(timeout=LOOK_SECONDS):
            # One look is enough for all that happened until now.
            while subscription.get_message():
                pass
