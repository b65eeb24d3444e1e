"""Calls about jobs by their ids: look, wait, read, cancel, retry, delete."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rowmill.answers import parsed, retry_after_seconds
from rowmill.deliveries import Deliveries, deliveries_from_json
from rowmill.downloads import save
from rowmill.errors import JobFailedError, RowmillError
from rowmill.formats import MEDIA_TYPES, Format, format_of
from rowmill.jobs import GOOD_END_STATUSES, Job, job_from_json
from rowmill.polling import HOLD_SECONDS, Clock, OnProgress, Sighting, wait_for_end
from rowmill.retries import Patience
from rowmill.row_errors import row_errors_from
from rowmill.submission import key_header, query_of
from rowmill.transport import Transport


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Some of the jobs, newest first."""

    jobs: tuple[Job, ...]
    has_more: bool
    """Whether there are older ones; `jobs(after=page.jobs[-1].id)` gives them."""


class JobCalls:
    """What a server does with its jobs, over one session."""

    def __init__(self, transport: Transport, *, clock: Clock, patience_seconds: float) -> None:
        self._transport = transport
        self._clock = clock
        self._patience = Patience(transport=transport, clock=clock, seconds=patience_seconds)

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
            raise self.failure_of(job)
        return job

    def failure_of(self, job: Job) -> JobFailedError:
        """The error of a job that ended badly, with its first row error if that is had at once."""
        if not job.failed:
            return JobFailedError(job)
        try:
            blocks = self._transport.stream(
                f"{_path(job.id)}/errors",
                headers={"Accept": MEDIA_TYPES["ndjson"]},
                query={"limit": "1"},
            )
            return JobFailedError(job, next(row_errors_from(blocks), None))
        except RowmillError:
            return JobFailedError(job)  # the job's end matters more than an example

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
        query = query_of({"status": status, "model": model, "limit": limit, "after": after})
        return parsed(self._transport.fetch("GET", "/jobs", query=query), _page_from_json)

    def results(
        self,
        job_id: str,
        format: Format = "csv",
        *,
        follow: bool = False,
        offset: int | None = None,
        limit: int | None = None,
        guard_formulas: bool | None = None,
    ) -> Iterator[bytes]:
        """The predictions of a job that has ended, in input order, in blocks.

        `offset` rows are left out, `limit` is how many come at most. `follow` gives those of a job
        that has not ended as they are scored, up to its end; it is silent while nothing is. Results
        that break off raise `TransportError`, after the blocks that came. `guard_formulas` puts an
        apostrophe before cells of a CSV that a spreadsheet would run; without it the server's
        setting counts. Raises `ProblemError` (409) before the end.
        """
        query = query_of(
            {
                "follow": follow or None,
                "offset": offset,
                "limit": limit,
                "guard_formulas": guard_formulas,
            }
        )
        return self._stream(job_id, "results", format, query=query, may_be_silent=follow)

    def download(
        self,
        job_id: str,
        path: str | os.PathLike[str],
        format: Format | None = None,
        *,
        guard_formulas: bool | None = None,
    ) -> None:
        """Writes the predictions of a job that has ended to a file, whole or not at all.

        `format` is what the path's name promises, else CSV. Raises `OutputError`.
        """
        found = format or format_of(os.fspath(path)) or "csv"
        save(self.results(job_id, found, guard_formulas=guard_formulas), path)

    def errors(
        self, job_id: str, format: Format = "csv", *, guard_formulas: bool | None = None
    ) -> Iterator[bytes]:
        """The row errors in blocks: `row, line, column, code, message`."""
        query = query_of({"guard_formulas": guard_formulas})
        return self._stream(job_id, "errors", format, query=query)

    def cancel(self, job_id: str) -> Job:
        """Stops the job; idempotent, finished rows stay readable."""
        return parsed(self._transport.fetch("POST", _path(job_id) + "/cancel"), job_from_json)

    def retry(
        self, job_id: str, *, model: str | None = None, idempotency_key: str | None = None
    ) -> Job:
        """A new job of the rows that failed in one that has ended; rows keep their numbers.

        By the same model version, or by `model`, which takes the same columns. Trouble that may
        pass is tried again, as with `Client.submit`. Raises `ProblemError` (409):
        `job_not_finished`, `nothing_to_retry`.
        """
        asked = {"only": "failed"} | ({} if model is None else {"model": model})
        path, headers = _path(job_id) + "/retry", key_header(idempotency_key)
        answer = self._patience.run(
            lambda: self._transport.fetch("POST", path, headers=headers, json=asked)
        )
        return parsed(answer, job_from_json)

    def delete(self, job_id: str) -> None:
        """Cancels the job if need be and frees its data at once."""
        self._transport.fetch("DELETE", _path(job_id))

    def deliveries(self, job_id: str) -> Deliveries:
        """Whether the `callback_url` of a job was told of its end."""
        answer = self._transport.fetch("GET", _path(job_id) + "/deliveries")
        return parsed(answer, deliveries_from_json)

    def _look(self, job_id: str) -> Sighting:
        headers = {"Prefer": f"wait={HOLD_SECONDS}"}
        answer = self._transport.fetch("GET", _path(job_id), headers=headers)
        was_held = "Preference-Applied" in answer.headers
        pause_seconds = 0.0 if was_held else retry_after_seconds(answer)
        return Sighting(job=parsed(answer, job_from_json), pause_seconds=pause_seconds)

    def _stream(
        self,
        job_id: str,
        what: str,
        format: Format,
        *,
        query: Mapping[str, str] | None = None,
        may_be_silent: bool = False,
    ) -> Iterator[bytes]:
        return self._patience.run(
            lambda: self._transport.stream(
                f"{_path(job_id)}/{what}",
                headers={"Accept": MEDIA_TYPES[format]},
                query=query,
                may_be_silent=may_be_silent,
            )
        )


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


# `Any`: JSON as it came.
def _page_from_json(body: Any) -> JobPage:
    return JobPage(jobs=tuple(map(job_from_json, body["jobs"])), has_more=body["has_more"])
