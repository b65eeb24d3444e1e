"""A job in the hands of who submitted it."""

import math
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rowmill.deliveries import Deliveries
from rowmill.errors import IncompleteWarning
from rowmill.formats import Format
from rowmill.job_calls import JobCalls
from rowmill.jobs import Job, JobStatus
from rowmill.polling import OnProgress
from rowmill.row_errors import RowError, row_errors_from
from rowmill.watching import watched

if TYPE_CHECKING:
    from rowmill.frames import DataFrame, Origin


class JobHandle:
    """One job and what can be done with it, over the client that made it.

    `job` is the job as it was last seen; `refresh`, `wait`, `cancel` look again.
    """

    def __init__(self, calls: JobCalls, job: Job, *, origin: "Origin | None" = None) -> None:
        self.job = job
        self._calls = calls
        self._origin = origin

    @property
    def id(self) -> str:
        """The job's id, by which `Client.handle` gives it again, also in another process."""
        return self.job.id

    @property
    def document(self) -> dict[str, object]:
        """The server's whole answer, as it was last seen."""
        return dict(self.job.document)

    def refresh(self) -> Job:
        """The job as it is now. Raises `ProblemError` (404, 410) if it is gone."""
        self.job = self._calls.job(self.id)
        return self.job

    def status(self) -> JobStatus:
        """The job's status as it is now."""
        return self.refresh().status

    def wait(self, timeout: float | None = None, *, progress: bool | OnProgress = False) -> Job:
        """The job, once it has ended with predictions (all rows or some).

        `timeout` is in seconds. `progress`: `True` draws a bar on a terminal or in a notebook; a
        function gets every sighting. Survives a server that is away for up to a minute. Raises
        `JobFailedError` for a job that `failed` or was `cancelled`, and `WaitTimeoutError`; then
        the job goes on.
        """
        with watched(progress) as seen:

            def note(job: Job) -> None:
                self.job = job
                seen(job)

            seconds = math.inf if timeout is None else timeout
            return self._calls.wait(self.id, timeout=seconds, on_progress=note)

    def results(
        self,
        format: Format = "csv",
        *,
        follow: bool = False,
        offset: int | None = None,
        limit: int | None = None,
        guard_formulas: bool | None = None,
    ) -> Iterator[bytes]:
        """The predictions in input order, in blocks; see `Client.results`."""
        return self._calls.results(
            self.id,
            format,
            follow=follow,
            offset=offset,
            limit=limit,
            guard_formulas=guard_formulas,
        )

    def to_pandas(self) -> "DataFrame":
        """The predictions of a job that has ended, typed, in input order; in memory as a whole.

        `error` holds the code of a row that has no prediction. The index is that of the data frame
        that was submitted, else the number of the row, from 1. Of a job that failed or was
        cancelled it has the rows that were done, with an `IncompleteWarning`. Raises `ProblemError`
        (409) before the end, `MissingPackageError` without pandas and pyarrow.
        """
        from rowmill.frames import predictions_from

        predictions = predictions_from(self.results("arrow"), self._origin)
        job = self.job if self.job.has_ended else self.refresh()
        if job.shortfall:
            warnings.warn(job.shortfall, IncompleteWarning, stacklevel=2)
        return predictions

    def download(
        self,
        path: str | os.PathLike[str],
        format: Format | None = None,
        *,
        guard_formulas: bool | None = None,
    ) -> None:
        """Writes the predictions to a file; see `Client.download`."""
        self._calls.download(self.id, path, format, guard_formulas=guard_formulas)

    def errors(self) -> Iterator[RowError]:
        """Why rows have no prediction, in input order, as they arrive; of a job that has ended."""
        return row_errors_from(self._calls.errors(self.id, "ndjson"))

    def cancel(self) -> Job:
        """Stops the job; idempotent, finished rows stay readable."""
        self.job = self._calls.cancel(self.id)
        return self.job

    def retry(self, *, model: str | None = None) -> "JobHandle":
        """A new job of the rows that failed, under the numbers they have; see `Client.retry`."""
        return JobHandle(self._calls, self._calls.retry(self.id, model=model), origin=self._origin)

    def delete(self) -> None:
        """Cancels the job if need be and frees its data at once."""
        self._calls.delete(self.id)

    def deliveries(self) -> Deliveries:
        """Whether the job's `callback_url` was told of its end."""
        return self._calls.deliveries(self.id)

    def __repr__(self) -> str:
        job = self.job
        return f"<JobHandle {job.id}: {job.status}, {job.rows_done:,} of {job.total:,} rows>"
