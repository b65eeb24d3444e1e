"""A job on the server, to act on."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import requests

from rowmill.answers import granted_wait_seconds, read_json, retry_after_seconds
from rowmill.downloads import Target, save
from rowmill.errors import JobCancelledError, JobFailedError, UnexpectedAnswerError
from rowmill.formats import ResultFormat
from rowmill.jobs import Job, JobStatus, job_from_json
from rowmill.json_object import JsonObject, MalformedAnswerError
from rowmill.polling import Clock, Sighting, Watch
from rowmill.transport import Transport


class JobHandle:
    """Knows the job as last seen (`job`); every method asks or tells the server."""

    def __init__(self, job: Job, *, transport: Transport, clock: Clock) -> None:
        self.job = job
        self._transport = transport
        self._clock = clock

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def status(self) -> JobStatus:
        """The status as last seen."""
        return self.job.status

    def refresh(self) -> Job:
        """The job as it is now."""
        return self._look(0).job

    def wait(
        self,
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> "JobHandle":
        """This handle, once the job has ended with predictions (all rows or some).

        Survives a server that is away for up to a minute. `on_progress` gets every sighting.
        Raises `JobFailedError`, `JobCancelledError`, `WaitTimeoutError` after `timeout` seconds.
        """
        Watch(
            self._look,
            job_id=self.id,
            clock=self._clock,
            timeout_seconds=timeout,
            on_progress=on_progress,
        ).until_end()
        self._raise_for_status()
        return self

    def results(
        self, format: ResultFormat | str = ResultFormat.CSV, *, follow: bool = False
    ) -> Iterator[bytes]:
        """The predictions in input order, in blocks; with `follow` also before the job's end."""
        return self._transport.stream(
            self._path + "/results",
            query={"follow": "true"} if follow else None,
            headers={"Accept": ResultFormat(format).media_type},
        )

    def download(self, target: Target, *, format: ResultFormat | str = ResultFormat.CSV) -> int:
        """Writes the predictions to a path (whole or not at all) or file; gives their bytes."""
        return save(self.results(format), target)

    def errors(self, format: ResultFormat | str = ResultFormat.CSV) -> Iterator[bytes]:
        """The row errors in blocks, as CSV or NDJSON: `row, line, column, code, message`."""
        return self._transport.stream(
            self._path + "/errors", headers={"Accept": ResultFormat(format).media_type}
        )

    def cancel(self) -> Job:
        """Asks the job to stop; idempotent, finished rows stay readable."""
        self.job = job_in(self._transport.fetch("POST", self._path + "/cancel"))
        return self.job

    def delete(self) -> None:
        """Cancels the job if need be and frees its data at once."""
        self._transport.fetch("DELETE", self._path)

    @property
    def _path(self) -> str:
        return path_of(self.id)

    def _look(self, hold_seconds: int) -> Sighting:
        headers = {"Prefer": f"wait={hold_seconds}"} if hold_seconds else None
        answer = self._transport.fetch(
            "GET", self._path, headers=headers, hold_seconds=hold_seconds
        )
        self.job = job_in(answer)
        return Sighting(
            job=self.job,
            granted_seconds=granted_wait_seconds(answer),
            retry_after_seconds=retry_after_seconds(answer, now=datetime.now(UTC)),
        )

    def _raise_for_status(self) -> None:
        if self.status is JobStatus.CANCELLED:
            raise JobCancelledError(self.id)
        if self.status not in {JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED}:
            failure = self.job.failure
            detail, code = (failure.detail, failure.code) if failure else ("", None)
            raise JobFailedError(self.id, detail, code=code)


def path_of(job_id: str) -> str:
    """The job's path on the server."""
    return f"/jobs/{quote(job_id, safe='')}"


def job_in(answer: requests.Response, body: JsonObject | None = None) -> Job:
    """The job in an answer, or in a part of it. Raises `UnexpectedAnswerError`."""
    try:
        return job_from_json(body or read_json(answer))
    except MalformedAnswerError as error:
        raise UnexpectedAnswerError(answer.url, str(error)) from error
