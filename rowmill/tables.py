"""Jobs and models as plain text: aligned, never cut, so it can be piped on."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rowmill.jobs import Job
from rowmill.models import Model

JOB_HEADER = ("ID", "STATUS", "MODEL", "ROWS", "FAILED", "CREATED")
MODEL_HEADER = ("NAME", "VERSION", "LATEST", "ALIASES", "DESCRIPTION")


def job_table(jobs: Iterable[Job]) -> str:
    """One line per job."""
    return _aligned([JOB_HEADER, *map(_job_row, jobs)])


def model_table(models: Iterable[Model]) -> str:
    """One line per model."""
    rows = [(m.name, m.version, m.latest, _aliases(m) or "-", m.description) for m in models]
    return _aligned([MODEL_HEADER, *rows])


def job_text(job: Job) -> str:
    """Everything about one job that a person asks for, one fact a line."""
    took = "" if job.duration_seconds is None else duration_text(job.duration_seconds)
    return _facts(
        ("job", job.id),
        ("status", job.status),
        ("model", job.model),
        ("rows", f"{job.total:,}"),
        ("succeeded", f"{job.succeeded:,}"),
        ("failed", f"{job.failed:,}"),
        ("pending", f"{job.total - job.rows_done:,}"),
        ("created", _time_text(job.created_at)),
        ("took", took),
        ("expires", _time_text(job.expires_at)),
        ("error", job.error_detail),
        *(("warning", warning) for warning in job.warnings),
    )


def model_text(model: Model) -> str:
    """One model with its metrics and input columns, one fact a line."""
    return _facts(
        ("model", model.name),
        ("description", model.description),
        ("serves", f"version {model.version}"),
        ("aliases", _aliases(model)),
        *(("version", str(version)) for version in model.versions),
        *(("compared", str(found)) for found in model.comparisons),
        *((f"metric {name}", str(value)) for name, value in model.metrics.items()),
        ("outputs", ", ".join(model.outputs)),
        *(("feature", str(feature)) for feature in model.features),
    )


def _aliases(model: Model) -> str:
    return ", ".join(f"{name} → {target}" for name, target in sorted(model.aliases.items()))


def job_summary(job: Job) -> str:
    """Like `Scored 993 of 1,000 rows in 1.2 s with petrol:1; 7 failed, see …`."""
    took = "" if job.duration_seconds is None else f" in {duration_text(job.duration_seconds)}"
    if not job.failed:
        return f"Scored {counted(job.succeeded, 'row')}{took} with {job.model}."
    return (
        f"Scored {job.succeeded:,} of {counted(job.total, 'row')}{took} with {job.model};"
        f" {job.failed:,} failed, see 'rowmill errors {job.id}'."
    )


def validation_summary(job: Job) -> str:
    """Like `993 of 1,000 rows would be scored with petrol:1; 7 would fail.`."""
    if not job.failed:
        return f"{job.succeeded:,} of {counted(job.total, 'row')} would be scored with {job.model}."
    return (
        f"{job.succeeded:,} of {counted(job.total, 'row')} would be scored with {job.model};"
        f" {job.failed:,} would fail."
    )


def counted(count: int, what: str) -> str:
    """Like `1 row` or `1,000 rows`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def duration_text(seconds: float) -> str:
    """Like `0.4 s` or, from a minute on, `0:03:05`."""
    return f"{seconds:.1f} s" if seconds < 59.95 else str(timedelta(seconds=round(seconds)))


def _facts(*facts: tuple[str, str]) -> str:
    return _aligned([fact for fact in facts if fact[1]])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [map(str.ljust, row, widths) for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in cells)


def _job_row(job: Job) -> tuple[str, ...]:
    created = _time_text(job.created_at)
    return (job.id, job.status, job.model, f"{job.total:,}", f"{job.failed:,}", created)


def _time_text(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str) -> str:
    """A line for a terminal: what would steer it, as a file's name may, is spelled out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
