"""From a request to a job: resolve the version, check the header, save chunk by chunk.

Every row is taken in once, whatever is sent twice: a request with an idempotency key is answered
with the job that its first sending made.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import TypedDict

from api import exchange
from api.allowance import UNLIMITED, Allowance, Quota
from api.intake.bodies import Body
from api.intake.csv_intake import CsvIntake
from api.intake.registry import make_intake
from api.reception import Chunk, Received, Reception
from api.rejects import chunks_of
from api.serving import Served, Serving
from api.specification import InputColumns, SubmitOptions, make_spec, retry_spec
from api.speeds import Speeds
from shared import tracing
from shared.callbacks import parse_callback
from shared.chunks import target_rows
from shared.errors import (
    EmptyInputError,
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    InvalidIdempotencyKeyError,
    JobNotFinishedError,
    ModelNotFoundError,
    NothingToRetryError,
    WebhooksNotConfiguredError,
)
from shared.job_store.ends import Awaited
from shared.job_store.intake import FirstRequest, NewJob, WholeBody
from shared.job_store.store import JobStore
from shared.jobs import CHUNK_BYTES, Job, JobSpec, JobTerms, Lane, new_job_id
from shared.model_repository import ModelRepository
from shared.settings import Settings
from shared.signature import OutputKind

MAX_KEY_CHARS = 255
"""Longest idempotency key; a UUID has 36 characters."""

SMALL_JOB_ROWS = 1_000
SMALL_JOB_SECONDS = 0.25
"""A job of one chunk that is as small as this, by the speed of its model as far as it is known,
goes into the small lane. A larger one there would be what the others wait for."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    """What a request says of who sends it, besides its body."""

    owner: str = ""
    """Id of the API key that jobs are to belong to."""
    caller: str = ""
    """Who takes turns with others."""
    allowance: Allowance = UNLIMITED
    idempotency_key: str | None = None
    announced_bytes: int = 0
    """Length of the body; 0 if it was not announced."""
    channel: str = ""
    """Where who waits for the end of the job listens; empty if nobody does."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """The job that answers a request."""

    job: Job | Awaited
    """As it is now, or one whose end is told on the sender's channel."""
    is_replayed: bool = False
    """Whether an earlier request with the same idempotency key made it."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Turns bodies into jobs. Safe to share by threads."""

    settings: Settings
    repository: ModelRepository
    serving: Serving
    store: JobStore
    speeds: Speeds
    reception: Reception

    # --- a body

    @tracing.span("take in a job")
    def submit(self, options: SubmitOptions, body: Body, sender: Sender) -> Submitted:
        """Take in a whole body; the job may be running or done by then.

        Nothing is created before the header and the first row are known to be good. What goes
        wrong after that ends the job as failed and is raised: InputError in all its kinds,
        StoreError. ModelNotFoundError, ManifestError when there is no such model;
        TooMuchQueuedError, JobTooLargeError when there is no room; RowQuotaExceededError,
        TooManyJobsError when the sender has had enough; IdempotencyKeyInUseError,
        IdempotencyKeyReusedError; WebhooksNotConfiguredError.
        """
        if options.callback_url:
            self._check_callback(options.callback_url)
        key, request = _digest_of(sender), _fingerprint(options)
        if key and (first := self.reception.intake.first_request(key)):
            return self._first_job(first, request, body=body)
        # Which version a job gets is told by its id.
        job_id = new_job_id()
        served = self._resolve(options.model, job_id)
        intake = self._intake_of(body, options, served, sender)
        columns = InputColumns(
            names=intake.header(max_columns=self.settings.max_columns), format=body.format
        )
        spec = intake.fitted(make_spec(options, served, columns, settings=self.settings))
        speed = self.speeds.of(spec)
        chunks = intake.chunks(lambda: target_rows(speed))
        first_chunk = next(chunks, None)
        if first_chunk is None:
            raise EmptyInputError(has_header=True)
        rows, body_bytes = _expected(first_chunk, intake)
        lane = _lane(rows, speed) if intake.is_exhausted else Lane.BULK
        spec = self._placed(spec, lane)
        terms = JobTerms(
            lane=lane,
            owner=sender.owner,
            most_in_flight=sender.allowance.most_in_flight,
            caller=sender.caller,
            idempotency_key=key,
            request=request,
            trail=exchange.trail(),
            awaited_by=sender.channel,
            callback_url=options.callback_url or "",
            **_needs(spec, rows, body_bytes, chunk_bytes=len(first_chunk[1])),
        )
        if terms.lane is Lane.SMALL:
            quota = sender.allowance.quota
            return self._submit_small(job_id, spec, terms, quota, chunk=first_chunk, body=body)
        # By the rows that are here: how many will come is a guess.
        sender.allowance.quota.check(first_chunk[0].rows)
        with self.reception.job(job_id, spec, terms) as job:
            if isinstance(job, FirstRequest):
                return self._first_job(job, request, body=body)
            for chunk in chain((first_chunk,), chunks):
                sender.allowance.quota.use(chunk[0].rows)
                job.append(chunk)
                speed = self.speeds.of(spec)
            job.close(Received(input_bytes=body.input_bytes, sha256=body.sha256))
        return Submitted(job=self.store.get(job.id))

    def _intake_of(
        self, body: Body, options: SubmitOptions, served: Served, sender: Sender
    ) -> CsvIntake:
        return make_intake(
            body,
            delimiter=options.delimiter,
            features=served.manifest.signature.feature_names,
            settings=self.settings,
            announced_bytes=sender.announced_bytes,
        )

    def _placed(self, spec: JobSpec, lane: Lane) -> JobSpec:
        """The spec of a job whose bytes go where those of new jobs in its lane do: a small one is
        answered before an object store would have taken its rows."""
        url = self.settings.payload_url if lane is Lane.BULK else ""
        return replace(spec, payload_url=url) if url != spec.payload_url else spec

    def _submit_small(
        self,
        job_id: str,
        spec: JobSpec,
        terms: JobTerms,
        quota: Quota,
        *,
        chunk: Chunk,
        body: Body,
    ) -> Submitted:
        plan, data = chunk
        whole = WholeBody(plan=plan, data=data, input_bytes=body.input_bytes, sha256=body.sha256)
        new = NewJob(id=job_id, spec=spec, terms=terms, body=whole)
        # Before: of requests that come at the same time each would find that there is enough left.
        quota.use(plan.rows)
        taken = self.reception.take_in(new, turned_away=partial(quota.give_back, plan.rows))
        if isinstance(taken, FirstRequest):
            return self._first_job(taken, terms.request, body=body)
        return Submitted(job=taken)

    def _check_callback(self, url: str) -> None:
        if not self.settings.webhook_secrets:
            raise WebhooksNotConfiguredError
        parse_callback(url, allow_private=self.settings.webhook_allow_private)

    def _resolve(self, reference: str, job_id: str) -> Served:
        reference = reference or self.settings.default_model
        if not reference:
            names = self.repository.names()
            if len(names) != 1:
                raise ModelNotFoundError(
                    f"Say which model with ?model=; there are: {', '.join(names) or 'none yet'}."
                )
            reference = names[0]
        return self.serving.resolve(reference, job_id)

    def _first_job(
        self, first: FirstRequest, request: str, *, body: Body | None = None
    ) -> Submitted:
        """The job that this request made when it was sent first.

        A body is read to its end and compared by its checksum. Raises JobGoneError.
        """
        job = self.store.get(first.job_id)
        # One that was broken off since the key was read has just left it free.
        if not job.was_taken_in:
            raise IdempotencyKeyInUseError(job.id)
        if first.request != request:
            raise IdempotencyKeyReusedError(job.id)
        if body is not None:
            body.drain()
            # A job that ended before its body did has no checksum; what there is of it agrees.
            is_same = job.input_sha256 in (None, body.sha256)
            if not is_same or job.spec.input_format is not body.format:
                raise IdempotencyKeyReusedError(job.id)
        return Submitted(job=job, is_replayed=True)

    # --- failed rows

    @tracing.span("take in a job")
    def retry(self, job_id: str, model: str | None, sender: Sender) -> Submitted:
        """A job of the rows of an ended job that failed. They keep their numbers and lines, and its
        end is told where that of the first job was.

        `model`: a model reference; by default the version that the first job was pinned to.
        Raises JobNotFoundError, JobGoneError, JobNotFinishedError, NothingToRetryError and what
        `submit` raises for a header that doesn't fit, for want of room or for its key.
        """
        key, request = _digest_of(sender), _sha256(f"{job_id} {model}")
        if key and (first := self.reception.intake.first_request(key)):
            return self._first_job(first, request)
        parent = self.store.get(job_id)
        if not parent.has_ended:
            raise JobNotFinishedError(job_id, parent.status)
        spec, new_id = parent.spec, new_job_id()
        reference = model or f"{spec.model_name}:{spec.model_version}"
        spec = retry_spec(parent, self.serving.resolve(reference, new_id))
        lane = _lane(parent.failed, self.speeds.of(spec))
        spec = self._placed(spec, lane)
        if not parent.failed:
            raise NothingToRetryError(job_id)
        sender.allowance.quota.check(parent.failed)
        failed_bytes = parent.input_bytes * parent.failed // parent.total
        terms = JobTerms(
            owner=sender.owner,
            most_in_flight=sender.allowance.most_in_flight,
            caller=sender.caller,
            lane=lane,
            idempotency_key=key,
            request=request,
            trail=exchange.trail(),
            callback_url=parent.callback_url or "",
            **_needs(spec, parent.failed, failed_bytes, chunk_bytes=self.settings.max_chunk_bytes),
        )
        with self.reception.job(new_id, spec, terms) as job:
            if isinstance(job, FirstRequest):
                return self._first_job(job, request)
            received, input_bytes = hashlib.sha256(), 0
            for plan, data in self._rejects(parent, spec):
                received.update(data)
                input_bytes += len(data)
                sender.allowance.quota.use(plan.rows)
                job.append((plan, data))
            job.close(Received(input_bytes=input_bytes, sha256=received.hexdigest()))
        return Submitted(job=self.store.get(job.id))

    def _rejects(self, parent: Job, spec: JobSpec) -> Iterator[Chunk]:
        return chunks_of(
            self.store.rejects(parent),
            delimiter=spec.delimiter,
            max_rows=target_rows(self.speeds.of(spec)),
            max_bytes=self.settings.max_chunk_bytes,
        )


def _digest_of(sender: Sender) -> str:
    """An idempotency key as it is stored, where it is the sender's own; empty for none. Raises
    InvalidIdempotencyKeyError."""
    key = sender.idempotency_key
    if key is None:
        return ""
    if not 0 < len(key) <= MAX_KEY_CHARS:
        raise InvalidIdempotencyKeyError(MAX_KEY_CHARS)
    return _sha256(f"{sender.owner}\0{key}" if sender.owner else key)


@lru_cache(maxsize=256)
def _fingerprint(options: SubmitOptions) -> str:
    """Two requests with the same options have the same; the body is compared by its checksum."""
    # What is asked for by default depends on the model, but is `predict` of nearly all.
    spelled_out = options.model_dump(mode="json") | {"output": options.output or OutputKind.PREDICT}
    return _sha256(json.dumps(spelled_out, sort_keys=True))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _lane(rows: int, rows_per_second: float | None) -> Lane:
    is_quick = rows_per_second is None or rows / rows_per_second <= SMALL_JOB_SECONDS
    return Lane.SMALL if rows <= SMALL_JOB_ROWS and is_quick else Lane.BULK


class _Needs(TypedDict):
    expected_rows: int
    expected_bytes: int


def _needs(spec: JobSpec, rows: int, body_bytes: int, *, chunk_bytes: int) -> _Needs:
    """What so many rows of a body take in Redis, with their results; in chunks of so many bytes."""
    if spec.payload_url:
        return {
            "expected_rows": rows,
            "expected_bytes": CHUNK_BYTES * -(-body_bytes // chunk_bytes),
        }
    result_bytes = spec.result_bytes(rows, input_bytes=body_bytes)
    return {"expected_rows": rows, "expected_bytes": body_bytes + result_bytes}


def _expected(first: Chunk, intake: CsvIntake) -> tuple[int, int]:
    """About how many rows and bytes a body has, by its first chunk."""
    plan, data = first
    body_bytes = len(data) + intake.bytes_to_come
    return plan.rows * body_bytes // len(data), body_bytes
