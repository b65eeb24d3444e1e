"""The progress bar on stderr: bytes while sending, rows while scoring."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from rowmill.jobs import Job
from rowmill.tables import duration_text


class ProgressBar:
    """A context manager that draws while it is open, and nothing where nobody can see it."""

    def __init__(self, *, input_bytes: int | None = None) -> None:
        self.ratio = 0.0
        self.rows_done = 0
        self.rows_total = 0
        self._input_bytes = input_bytes
        self._sending: TaskID | None = None
        self._scoring: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[details]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )

    def sent(self, sent_bytes: int) -> None:
        """Shows that so many bytes of the input have been sent."""
        if self._sending is None:
            self._sending = self._progress.add_task("Sending", total=self._input_bytes, details="")
        self._progress.update(self._sending, completed=sent_bytes, details=decimal(sent_bytes))

    def seen(self, job: Job) -> None:
        """Shows how far the job is; never less than before, in whatever order sightings come."""
        if self._scoring is None:
            self._scoring = self._progress.add_task("Scoring", total=1.0, details="")
            if self._sending is not None:  # a pipe's length is known only now
                self._progress.update(self._sending, total=1, completed=1)
        self.ratio = max(self.ratio, min(job.ratio, 1.0))
        self.rows_done = max(self.rows_done, job.rows_done)
        self.rows_total = max(self.rows_total, job.total)
        self._progress.update(self._scoring, completed=self.ratio, details=self._details(job))

    def _details(self, job: Job) -> str:
        """Like `4,200/10,000 rows  8,100 rows/s  1.0 s left`."""
        parts = [f"{self.rows_done:,}/{self.rows_total:,} rows"]
        if job.rows_per_second:
            parts.append(f"{job.rows_per_second:,.0f} rows/s")
        if job.eta_seconds is not None:
            parts.append(f"{duration_text(job.eta_seconds)} left")
        return "  ".join(parts)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
