"""The client: submit tables, wait for jobs, read results and models.

client = Client("http://127.0.0.1:8000")
job = client.wait(client.submit("petrol.csv", model="petrol").id)
client.download(job.id, "predictions.csv")
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack
from urllib.parse import quote

from rowmill.downloads import save
from rowmill.errors import JobFailedError
from rowmill.jobs import GOOD_END_STATUSES, Job, job_from_json
from rowmill.models import Model, model_from_json
from rowmill.polling import HOLD_SECONDS, Clock, OnProgress, Sighting, wait_for_end
from rowmill.served import wait_until_served
from rowmill.transport import Transport, parsed, retry_after_seconds
from rowmill.uploads import OnSent, Source, is_gzip, opened

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where the local stack listens."""

DEFAULT_TIMEOUT_SECONDS = 60.0
"""Silence of the server that counts as trouble. Intake may pause an upload while a queue drains."""

Format = Literal["csv", "ndjson"]

MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


class SubmitOptions(TypedDict, total=False):
    """Options of `POST /jobs`, by their names there; one that is absent or `None` isn't sent."""

    model: str | None
    output: str | None
    join: Literal["none", "input"] | None
    key: str | None
    delimiter: str | None
    error_threshold: int | None
    expires_in: int | None
    strict: bool | None


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Some of the jobs, newest first."""

    jobs: tuple[Job, ...]
    has_more: bool
    """Whether there are older ones; `jobs(after=page.jobs[-1].id)` gives them."""


class Client:
    """One server, over one session; for one thread at a time. A context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._transport = Transport(url, timeout_seconds=timeout)
        self._clock = clock or Clock()

    def submit(
        self, source: Source, *, on_sent: OnSent | None = None, **options: Unpack[SubmitOptions]
    ) -> Job:
        """The new job; the source, a CSV, has been read to its end, in flat memory.

        A path that ends in `.gz` is sent compressed as it is. Raises `ProblemError`, also when
        the server refuses before the end, and `SourceError`.
        """
        headers = {"Content-Type": "text/csv"}
        if is_gzip(source):
            headers["Content-Encoding"] = "gzip"
        with opened(source, on_sent) as upload:
            answer = self._transport.upload("/jobs", upload, query=_query(options), headers=headers)
        return parsed(answer, job_from_json)

    def wait(
        self, job_id: str, *, timeout: float = math.inf, on_progress: OnProgress | None = None
    ) -> Job:
        """The job, once it has ended with predictions (all rows or some).

        Survives a server that is away for up to a minute. `on_progress` gets every sighting.
        Raises `JobFailedError`, and `WaitTimeoutError` after `timeout` seconds.
        """
        job = wait_for_end(
            lambda: self._look(job_id),
            job_id,
            clock=self._clock,
            timeout_seconds=timeout,
            on_progress=on_progress,
        )
        if job.status not in GOOD_END_STATUSES:
            raise JobFailedError(job)
        return job

    def predict(self, source: Source, **options: Unpack[SubmitOptions]) -> bytes:
        """The predictions as CSV, of a source that fits into memory: submits, waits, reads."""
        job = self.wait(self.submit(source, **options).id)
        return b"".join(self.results(job.id))

    def job(self, job_id: str) -> Job:
        """The job as it is now. Raises `ProblemError` (404, 410) if there is none."""
        return parsed(self._transport.fetch("GET", _path(job_id)), job_from_json)

    def jobs(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> JobPage:
        """The jobs, newest first; `after` is the id of the last one already seen."""
        query = _query({"status": status, "model": model, "limit": limit, "after": after})
        return parsed(self._transport.fetch("GET", "/jobs", query=query), _page_from_json)

    def results(self, job_id: str, format: Format = "csv") -> Iterator[bytes]:
        """The predictions of a job that has ended, in input order, in blocks."""
        return self._stream(job_id, "results", format)

    def download(self, job_id: str, path: str | os.PathLike[str], format: Format = "csv") -> None:
        """Writes the predictions of a job that has ended to a file, whole or not at all."""
        save(self.results(job_id, format), path)

    def errors(self, job_id: str, format: Format = "csv") -> Iterator[bytes]:
        """The row errors in blocks: `row, line, column, code, message`."""
        return self._stream(job_id, "errors", format)

    def cancel(self, job_id: str) -> Job:
        """Stops the job; idempotent, finished rows stay readable."""
        return parsed(self._transport.fetch("POST", _path(job_id) + "/cancel"), job_from_json)

    def delete(self, job_id: str) -> None:
        """Cancels the job if need be and frees its data at once."""
        self._transport.fetch("DELETE", _path(job_id))

    def models(self) -> tuple[Model, ...]:
        """All models the server can score with."""
        answer = self._transport.fetch("GET", "/models")
        return parsed(answer, lambda body: tuple(map(model_from_json, body["models"])))

    def model(self, name: str) -> Model:
        """One model with its versions and signature. Raises `ProblemError` if there is none."""
        answer = self._transport.fetch("GET", f"/models/{quote(name, safe='')}")
        return parsed(answer, model_from_json)

    def wait_until_served(self, reference: str, *, timeout: float = math.inf) -> Model:
        """The model, once jobs get the version that a name, name@alias or name:version means.

        Survives a server that is away. Raises `VersionFailedError`, and `VersionWaitError` after
        `timeout` seconds.
        """
        return wait_until_served(
            lambda: self.model(reference), reference, clock=self._clock, timeout_seconds=timeout
        )

    def close(self) -> None:
        """Closes the connections."""
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

    def _look(self, job_id: str) -> Sighting:
        headers = {"Prefer": f"wait={HOLD_SECONDS}"}
        answer = self._transport.fetch("GET", _path(job_id), headers=headers)
        was_held = "Preference-Applied" in answer.headers
        pause_seconds = 0.0 if was_held else retry_after_seconds(answer)
        return Sighting(job=parsed(answer, job_from_json), pause_seconds=pause_seconds)

    def _stream(self, job_id: str, what: str, format: Format) -> Iterator[bytes]:
        headers = {"Accept": MEDIA_TYPES[format]}
        return self._transport.stream(f"{_path(job_id)}/{what}", headers=headers)


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


# `Any`: the values of a TypedDict, and JSON as it came.
def _query(options: Any) -> dict[str, str]:
    """The options that are given; booleans as JSON spells them."""
    given = {name: value for name, value in options.items() if value is not None}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }


def _page_from_json(body: Any) -> JobPage:
    return JobPage(jobs=tuple(map(job_from_json, body["jobs"])), has_more=body["has_more"])
