"""How far inputs are, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from rowmill.jobs import Job
from rowmill.polling import Clock
from rowmill.tables import duration_text, printable

LINE_SECONDS = 10.0
"""Between lines where no bar can be drawn: a sign of life in a log, and nothing of a short run."""

SMALLEST_SHARE = 0.05
"""Of several inputs, from which the rest of the time is told; of less it would be a wild guess."""


@dataclass(kw_only=True)
class Track:
    """How far one input is: first it is sent, then a job; nothing here ever decreases."""

    input_bytes: int | None = None
    """What there is to send; `None` for a pipe, 0 for a job that is only watched."""
    is_job_known: bool = False
    has_ended: bool = False
    sent_bytes: int = 0
    ratio: float = 0.0
    """Share of the rows that have a prediction or an error."""
    rows_done: int = 0
    rows_total: int = 0
    rows_per_second: float = 0.0
    eta_seconds: float | None = None
    _on_change: Callable[[], None] = field(default=lambda: None)

    def sent(self, sent_bytes: int) -> None:
        """So many bytes of the input have been sent."""
        self.sent_bytes = max(self.sent_bytes, sent_bytes)
        self._on_change()

    def seen(self, job: Job) -> None:
        """The job stands so; sightings may come in any order."""
        self.is_job_known = True
        self.has_ended |= job.has_ended
        self.ratio = max(self.ratio, min(job.ratio, 1.0))
        self.rows_done = max(self.rows_done, job.rows_done)
        self.rows_total = max(self.rows_total, job.total)
        self.rows_per_second = job.rows_per_second or 0.0
        self.eta_seconds = job.eta_seconds
        self._on_change()

    def ended(self) -> None:
        """Nothing more comes of the input, for better or worse."""
        self.has_ended, self.ratio = True, 1.0
        self._on_change()


class ProgressBar:
    """A context manager that shows its tracks as one while it is open.

    The bar is the share of the input that is scored, by bytes where there are several, and so
    stands still while the first is being sent; what is said beside it goes on.
    """

    def __init__(self, *, is_quiet: bool = False, clock: Clock | None = None) -> None:
        self._tracks: list[Track] = []
        self._inputs = 1
        self._input_bytes = 0
        self._clock = clock or Clock()
        self._lock = threading.Lock()
        self._begin = self._next_line = 0.0
        self._has_lines = not is_quiet and not sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[details]}"),
            console=Console(stderr=True),
            disable=is_quiet or not sys.stderr.isatty(),
        )

    def expect(self, sizes: list[int]) -> None:
        """There will be so many inputs, of so many bytes each."""
        self._inputs, self._input_bytes = len(sizes), sum(sizes)

    def track(self, input_bytes: int | None = 0) -> Track:
        """Shows one more input; what it tells may come from any thread."""
        track = Track(input_bytes=input_bytes, _on_change=self._draw)
        with self._lock:
            self._tracks.append(track)
        return track

    def say(self, text: str) -> None:
        """Puts a line on stderr, above the bar if there is one."""
        text = printable(text)
        if self._progress.disable:
            click.echo(text, err=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    @property
    def ratio(self) -> float:
        """The share of the input that is scored, 0 to 1."""
        if self._inputs == 1:
            return max((track.ratio for track in self._tracks), default=0.0)
        done = sum((track.input_bytes or 0) * track.ratio for track in self._tracks)
        return done / self._input_bytes if self._input_bytes else 0.0

    def _draw(self) -> None:
        with self._lock:
            now = self._clock.now()
            if not self._progress.disable:
                ratio, said = self.ratio, self._details(now)
                task = self._progress.task_ids[0]
                self._progress.update(
                    task, completed=ratio, description=self._description(), details=said
                )
            elif self._has_lines and now >= self._next_line:
                self._next_line = now + LINE_SECONDS
                said = f"{self._description()}  {self.ratio:.0%}  {self._details(now)}"
                click.echo(said, err=True)

    @property
    def _is_sending(self) -> bool:
        return self._inputs == 1 and not self._tracks[0].is_job_known

    def _description(self) -> str:
        return "Sending" if self._is_sending else "Scoring"

    def _details(self, now: float) -> str:
        """Like `45.2 MB of 99.0 MB`, or `4,200/10,000 rows  8,100 rows/s  1.0 s left`."""
        if self._is_sending:
            track = self._tracks[0]
            of = f" of {decimal(track.input_bytes)}" if track.input_bytes else ""
            return decimal(track.sent_bytes) + of
        parts = self._of_one(self._tracks[0]) if self._inputs == 1 else self._of_several(now)
        return "  ".join(part for part in parts if part)

    def _of_one(self, track: Track) -> Iterator[str]:
        yield f"{track.rows_done:,}/{track.rows_total:,} rows"
        yield f"{track.rows_per_second:,.0f} rows/s" if track.rows_per_second else ""
        yield "" if track.eta_seconds is None else f"{duration_text(track.eta_seconds)} left"

    def _of_several(self, now: float) -> Iterator[str]:
        ended = sum(track.has_ended for track in self._tracks)
        rows = sum(track.rows_done for track in self._tracks)
        seconds, ratio = now - self._begin, self.ratio
        yield f"{ended}/{self._inputs} files"
        yield f"{rows:,} rows"
        yield f"{rows / seconds:,.0f} rows/s" if rows and seconds else ""
        if SMALLEST_SHARE <= ratio < 1:
            yield f"{duration_text(seconds * (1 - ratio) / ratio)} left"

    def __enter__(self) -> Self:
        self._begin = self._clock.now()
        self._next_line = self._begin + LINE_SECONDS
        self._progress.add_task("", total=1.0, details="")
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
