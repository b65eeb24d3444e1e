"""Chunks of rows made a job: created, appended while they come, closed, or ended as failed."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from api import exchange
from api.group_intake import Entry, GroupIntake
from api.uploads import Uploads
from shared.chunks import ChunkPlan
from shared.dispatch import Dispatcher
from shared.errors import (
    InputError,
    JobEndedError,
    JobTooLargeError,
    LimitError,
    RowmillError,
    StoreError,
    StoreFullError,
    TooMuchQueuedError,
    UploadIncompleteError,
)
from shared.job_store.ends import Awaited
from shared.job_store.intake import (
    DEFAULT_RETRY_SECONDS,
    Appended,
    FirstRequest,
    JobIntake,
    NewJob,
)
from shared.job_store.store import JobStore
from shared.jobs import Job, JobErrorCode, JobSpec, JobTerms

logger = logging.getLogger(__name__)

Chunk = tuple[ChunkPlan, bytes]

PAUSES_SECONDS = (0.1, 0.2, 0.5, *[1.0] * 29)
"""How long an upload is held up while Redis has no room for its next chunk: half a minute in all,
in which workers turn inputs into results or somebody deletes a job."""

REFUSALS = (LimitError, TooMuchQueuedError, JobTooLargeError, StoreFullError)
"""With which the store says that it has taken in nothing of a job."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """Size and SHA-256 of all that was taken in."""

    input_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Reception:
    """Opens jobs, and sees to it that each ends well or as failed. Safe to share by threads."""

    intake: JobIntake
    store: JobStore
    uploads: Uploads
    dispatcher: Dispatcher
    group_intake: GroupIntake

    def take_in(
        self, job: NewJob, *, turned_away: Callable[[], None]
    ) -> Job | Awaited | FirstRequest:
        """The job with all its rows, or what its idempotency key made before.

        One that somebody waits for may still be on its way into the store. `turned_away` is called
        once it is certain that the rows don't get there, by any thread. Raises TooMuchQueuedError,
        TooManyJobsError, JobTooLargeError, StoreError.
        """
        exchange.concerns(job.id)
        terms, entry = job.terms, self.group_intake.take_in(job)
        entry.add_done_callback(lambda done: turned_away() if _is_turned_away(done) else None)
        awaited = Awaited(
            job_id=job.id, spec=job.spec, told_on=terms.awaited_by, wait_until_taken_in=entry.result
        )
        if terms.awaited_by and not terms.idempotency_key:
            return awaited
        taken = entry.result()
        if isinstance(taken, FirstRequest):
            return taken
        return taken.job or awaited

    @contextmanager
    def job(
        self, job_id: str, spec: JobSpec, terms: JobTerms
    ) -> Iterator["OpenJob | FirstRequest"]:
        """A new job to put chunks into, or what the idempotency key of `terms` made before.

        What is raised inside ends the job as failed and goes on to the caller. A job that ends by
        itself meanwhile (cancelled, model not loadable) is no error: its record says what happened.
        Raises TooMuchQueuedError, JobTooLargeError.
        """
        first = self.intake.create(job_id, spec, terms)
        if first is not None:
            yield first
            return
        exchange.concerns(job_id)
        with self.uploads.under_way(job_id), self._failing(job_id):
            yield OpenJob(id=job_id, spec=spec, intake=self.intake, dispatcher=self.dispatcher)

    @contextmanager
    def _failing(self, job_id: str) -> Iterator[None]:
        try:
            yield
        except JobEndedError:
            return
        except RowmillError as error:
            is_refused = isinstance(error, InputError) and not isinstance(
                error, UploadIncompleteError
            )
            code = JobErrorCode.INPUT_REFUSED if is_refused else JobErrorCode.UPLOAD_INCOMPLETE
            with suppress(StoreError):  # nothing can be told to a store that is out of reach
                self.store.fail(job_id, code, str(error))
            raise


@dataclass(frozen=True, kw_only=True)
class OpenJob:
    """A job that is being taken in."""

    id: str
    spec: JobSpec
    intake: JobIntake
    dispatcher: Dispatcher

    def append(self, chunk: Chunk) -> None:
        """Store a chunk, when there is room for it, and see to it that somebody runs it.

        Raises JobEndedError, TooMuchQueuedError, StoreError.
        """
        if self._stored(chunk) is Appended.MESSAGE_NEEDED:
            wake(self.dispatcher, self.id)

    def _stored(self, chunk: Chunk) -> Appended:
        plan, data = chunk
        result_bytes = self.spec.result_bytes(plan.rows, input_bytes=len(data))
        for pause in (*PAUSES_SECONDS, None):
            appended = self.intake.append_chunk(
                self.id,
                plan,
                data,
                result_bytes=result_bytes,
                payload_url=self.spec.payload_url,
            )
            if appended is not Appended.NO_ROOM:
                return appended
            if pause is not None:
                time.sleep(pause)
        raise TooMuchQueuedError(DEFAULT_RETRY_SECONDS)

    def close(self, received: Received) -> None:
        """All chunks are here."""
        self.intake.close(self.id, input_bytes=received.input_bytes, sha256=received.sha256)


def _is_turned_away(entry: Entry) -> bool:
    """Of a store that is out of reach nobody knows what it has done."""
    if error := entry.exception():
        return isinstance(error, REFUSALS)
    return isinstance(entry.result(), FirstRequest)


def wake(dispatcher: Dispatcher, job_id: str) -> None:
    """Wake a worker. If that fails, its supervisor finds the chunk within a second or so."""
    try:
        dispatcher.wake(job_id=job_id)
    except StoreError as error:
        logger.warning("nobody woken", extra={"reason": str(error)})
