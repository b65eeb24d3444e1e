"""The progress bar on stderr: bytes while sending, rows while scoring."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from rowmill.advance import Advance
from rowmill.jobs import Job


class ProgressBar:
    """A context manager that draws while it is open, and nothing at all if `is_shown` is false."""

    def __init__(self, *, is_shown: bool, input_bytes: int | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[details]}"),
            console=Console(stderr=True),
            disable=not is_shown,
        )
        self._input_bytes = input_bytes
        self._sending: TaskID | None = None
        self._scoring: TaskID | None = None
        self._advance = Advance()

    def sent(self, sent_bytes: int) -> None:
        """Shows that so many bytes of the input are on the server."""
        if self._sending is None:
            self._sending = self._add("Sending", self._input_bytes)
        self._progress.update(
            self._sending, completed=sent_bytes, details=decimal(sent_bytes), refresh=False
        )

    def seen(self, job: Job) -> None:
        """Shows how far the job is; never less than before."""
        if self._scoring is None:
            self._end_sending()
            self._scoring = self._add("Scoring", 1.0)
        self._advance = self._advance.after(job)
        self._progress.update(
            self._scoring, completed=self._advance.ratio, details=self._advance.text
        )

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

    def _add(self, description: str, total: float | None) -> TaskID:
        return self._progress.add_task(description, total=total, details="")

    def _end_sending(self) -> None:
        """A pipe's length is known only now."""
        if self._sending is not None:
            self._progress.update(self._sending, total=1, completed=1)


def has_terminal() -> bool:
    """Whether someone can see a bar on stderr."""
    return sys.stderr.isatty()
