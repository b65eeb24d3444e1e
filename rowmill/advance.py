"""How far a job has got, for people: never backwards, whatever the sightings say."""

from dataclasses import dataclass
from typing import Self

from rowmill.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Advance:
    """The furthest point seen so far, and the speed at the last sighting."""

    ratio: float = 0.0
    rows_done: int = 0
    rows_total: int = 0
    rows_per_second: float | None = None
    eta_seconds: float | None = None

    def after(self, job: Job) -> Self:
        """The advance after one more sighting, in whatever order sightings arrive."""
        return type(self)(
            ratio=max(self.ratio, min(job.progress.ratio, 1.0)),
            rows_done=max(self.rows_done, job.counts.succeeded + job.counts.failed),
            rows_total=max(self.rows_total, job.counts.total),
            rows_per_second=job.progress.rows_per_second,
            eta_seconds=None if job.has_ended else job.progress.eta_seconds,
        )

    @property
    def text(self) -> str:
        """Like `4,200/10,000 rows  8,100 rows/s  1 s left`."""
        parts = [f"{self.rows_done:,}/{self.rows_total:,} rows"]
        if self.rows_per_second:
            parts.append(f"{self.rows_per_second:,.0f} rows/s")
        if self.eta_seconds is not None:
            parts.append(f"{duration_text(self.eta_seconds)} left")
        return "  ".join(parts)


def duration_text(seconds: float) -> str:
    """Like `0.4 s`, `12 s`, `3 min 05 s` or `2 h 10 min`: two units at most."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest_seconds = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest_seconds} s"
    hours, rest_minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest_seconds:02d} s"
    return f"{hours} h {rest_minutes:02d} min"
