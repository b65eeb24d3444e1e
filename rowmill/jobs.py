"""A job as the server described it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """The states of a job; the server alone changes them."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


GOOD_END_STATUSES = frozenset({JobStatus.SUCCEEDED, JobStatus.PARTIALLY_SUCCEEDED})
END_STATUSES = GOOD_END_STATUSES | {JobStatus.FAILED, JobStatus.CANCELLED}

NEVER_TAKEN_IN = frozenset({"upload_incomplete", "input_refused"})
"""Codes of jobs that do not even know all rows of their input."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request to predict every row of one input, as it stood when the server answered."""

    id: str
    status: JobStatus
    model: str
    """The model version as a model reference, `name:version`."""
    total: int
    """Rows taken in so far; it grows while the job is `receiving`."""
    succeeded: int
    failed: int
    ratio: float
    """Rows done of those taken in, 0 to 1."""
    rows_per_second: float | None
    eta_seconds: float | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime
    error_code: str
    """Why the job failed as a whole, for programs; empty if it didn't."""
    error_detail: str
    """Why the job failed as a whole; empty if it didn't."""
    warnings: tuple[str, ...]
    """What to know before the predictions are used."""
    document: Mapping[str, object]
    """The whole answer."""

    @property
    def has_ended(self) -> bool:
        """Whether the job has reached an end state."""
        return self.status in END_STATUSES

    @property
    def shortfall(self) -> str:
        """Why its results are not those of a whole input; empty if they are, or may yet be."""
        has_all = self.rows_done == self.total and self.error_code not in NEVER_TAKEN_IN
        if has_all or not self.has_ended or self.status in GOOD_END_STATUSES:
            return ""
        end = "was cancelled" if self.status is JobStatus.CANCELLED else "failed"
        rows = f"{self.rows_done:,} of the {self.total:,} rows taken in"
        return f"The results hold {rows}: the job {end}."

    @property
    def rows_done(self) -> int:
        """Rows that have a prediction or an error."""
        return self.succeeded + self.failed

    @property
    def duration_seconds(self) -> float | None:
        """From creation to the end; `None` before the end."""
        if self.finished_at is None:
            return None
        return (self.finished_at - self.created_at).total_seconds()


# `Any`: JSON as it came.
def job_from_json(document: Any) -> Job:
    """The job in an answer. Raises KeyError, TypeError or ValueError if there is none."""
    model, counts, progress = document["model"], document["counts"], document["progress"]
    finished_at = document["finished_at"]
    error = document["error"] or {"code": "", "detail": ""}
    return Job(
        id=document["id"],
        status=JobStatus(document["status"]),
        model=f"{model['name']}:{model['version']}",
        total=int(counts["total"]),
        succeeded=int(counts["succeeded"]),
        failed=int(counts["failed"]),
        ratio=float(progress["ratio"]),
        rows_per_second=progress["rows_per_second"],
        eta_seconds=progress["eta_seconds"],
        created_at=datetime.fromisoformat(document["created_at"]),
        finished_at=datetime.fromisoformat(finished_at) if finished_at else None,
        expires_at=datetime.fromisoformat(document["expires_at"]),
        error_code=error["code"],
        error_detail=error["detail"],
        warnings=tuple(document["warnings"]),
        document=document,
    )
