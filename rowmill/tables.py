"""Jobs and models as plain text: aligned, never cut, so it can be piped on."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rowmill.advance import duration_text
from rowmill.jobs import Job
from rowmill.models import Model

JOB_HEADER = ("ID", "STATUS", "MODEL", "ROWS", "FAILED", "CREATED")
MODEL_HEADER = ("NAME", "LATEST", "VERSIONS", "DESCRIPTION")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The rows as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def job_table(jobs: Iterable[Job]) -> str:
    """One line per job."""
    return aligned([JOB_HEADER, *map(_job_row, jobs)])


def model_table(models: Iterable[Model]) -> str:
    """One line per model."""
    return aligned([MODEL_HEADER, *map(_model_row, models)])


def job_text(job: Job) -> str:
    """Everything about one job that a person asks for, one fact a line."""
    counts = job.counts
    facts = [
        ("job", job.id),
        ("status", job.status),
        ("model", job.model),
        ("rows", f"{counts.total:,}"),
        ("succeeded", f"{counts.succeeded:,}"),
        ("failed", f"{counts.failed:,}"),
        ("pending", f"{counts.pending:,}"),
        ("created", _time_text(job.created_at)),
        ("took", _took_text(job)),
        ("expires", _time_text(job.expires_at)),
        ("error", f"{job.failure.code}: {job.failure.detail}" if job.failure else ""),
        *(("warning", warning) for warning in job.warnings),
    ]
    return aligned([fact for fact in facts if fact[1]])


def model_text(model: Model) -> str:
    """One model with its metrics and input columns, one fact a line."""
    facts = [
        ("model", model.name),
        ("description", model.description),
        ("latest", model.latest),
        ("versions", ", ".join(model.versions)),
        *((f"metric {name}", str(value)) for name, value in model.metrics.items()),
        ("outputs", ", ".join(model.outputs)),
        *(("feature", str(feature)) for feature in model.features),
    ]
    return aligned([fact for fact in facts if fact[1]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()


def _job_row(job: Job) -> tuple[str, ...]:
    counts = job.counts
    created = _time_text(job.created_at)
    return (job.id, job.status, job.model, f"{counts.total:,}", f"{counts.failed:,}", created)


def _model_row(model: Model) -> tuple[str, ...]:
    return (model.name, model.latest, ", ".join(model.versions), model.description)


def _time_text(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _took_text(job: Job) -> str:
    return "" if job.duration_seconds is None else duration_text(job.duration_seconds)
