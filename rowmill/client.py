"""The client: submit tables, follow jobs, read models.

client = Client("http://127.0.0.1:8000")
client.submit("petrol.csv", model="petrol").wait().download("predictions.csv")
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self, Unpack
from urllib.parse import quote

from rowmill.answers import read_json
from rowmill.errors import UnexpectedAnswerError
from rowmill.formats import ResultFormat
from rowmill.job_handle import JobHandle, job_in, path_of
from rowmill.jobs import Job
from rowmill.json_object import MalformedAnswerError
from rowmill.models import Model, model_from_json
from rowmill.polling import Clock
from rowmill.sources import OnSent, Source, opened
from rowmill.submission import SubmitOptions, query_of
from rowmill.transport import Transport

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where the local stack listens."""

DEFAULT_TIMEOUT_SECONDS = 60.0
"""Silence of the server that counts as trouble. Intake may pause an upload while a queue drains."""


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Some of the caller's jobs, newest first; iterates over their handles."""

    jobs: tuple[JobHandle, ...]
    has_more: bool
    """Whether there are older ones; `jobs(after=page.jobs[-1].id)` gives them."""

    def __iter__(self) -> Iterator[JobHandle]:
        return iter(self.jobs)


class Client:
    """One server, over one session; for one thread at a time. A context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        *,
        api_key: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._transport = Transport(url, timeout_seconds=timeout, api_key=api_key)
        self._clock = clock or Clock()

    def models(self) -> tuple[Model, ...]:
        """All models the server can score with."""
        answer = self._transport.fetch("GET", "/models")
        try:
            return tuple(model_from_json(item) for item in read_json(answer).children("models"))
        except MalformedAnswerError as error:
            raise UnexpectedAnswerError(answer.url, str(error)) from error

    def model(self, name: str) -> Model:
        """One model with its versions and signature. Raises `ProblemError` if there is none."""
        answer = self._transport.fetch("GET", f"/models/{quote(name, safe='')}")
        try:
            return model_from_json(read_json(answer))
        except MalformedAnswerError as error:
            raise UnexpectedAnswerError(answer.url, str(error)) from error

    def submit(
        self,
        source: Source,
        *,
        model: str | None = None,
        idempotency_key: str | None = None,
        on_sent: OnSent | None = None,
        **options: Unpack[SubmitOptions],
    ) -> JobHandle:
        """A handle on the new job; the source has been read to its end, in flat memory.

        A path's name tells its type: `.csv` (and any other) is CSV, `.ndjson`, `.json`, `.parquet`
        and `.arrow` are what they say, and a further `.gz` is sent compressed as it is. Everything
        else is sent as CSV. Raises `ProblemError` also when the server refuses before the end,
        and `SourceError`.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        with opened(source) as upload:
            upload.on_sent = on_sent
            answer = self._transport.upload(
                "/jobs", upload, query=query_of(model, options), headers=headers
            )
        return self._handle(job_in(answer))

    def predict(
        self,
        source: Source,
        *,
        model: str | None = None,
        format: ResultFormat | str = ResultFormat.CSV,
        timeout: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> bytes:
        """The predictions of a source that fits into memory: submits, waits, downloads.

        Rows that failed have no prediction but an `error`. Raises what `submit` and
        `JobHandle.wait` raise.
        """
        job = self.submit(source, model=model, **options).wait(timeout)
        return b"".join(job.results(format))

    def job(self, job_id: str) -> JobHandle:
        """A handle on a job that exists. Raises `ProblemError` (404, 410) if it doesn't."""
        return self._handle(job_in(self._transport.fetch("GET", path_of(job_id))))

    def jobs(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> JobPage:
        """The caller's jobs, newest first; `after` is the id of the last one already seen."""
        given = {"status": status, "model": model, "limit": limit, "after": after}
        query = {name: str(value) for name, value in given.items() if value is not None}
        answer = self._transport.fetch("GET", "/jobs", query=query)
        try:
            body = read_json(answer)
            jobs = tuple(self._handle(job_in(answer, item)) for item in body.children("jobs"))
            return JobPage(jobs=jobs, has_more=body.is_true("has_more"))
        except MalformedAnswerError as error:
            raise UnexpectedAnswerError(answer.url, str(error)) from error

    def close(self) -> None:
        """Closes the connections; handles of this client are of no more use."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _handle(self, job: Job) -> JobHandle:
        return JobHandle(job, transport=self._transport, clock=self._clock)
