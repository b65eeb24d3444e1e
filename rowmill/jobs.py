"""A job as the server described it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rowmill.json_object import JsonObject, MalformedAnswerError


class JobStatus(StrEnum):
    """The states of a job; the server alone changes them."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


END_STATUSES = frozenset(
    {
        JobStatus.SUCCEEDED,
        JobStatus.PARTIALLY_SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
        JobStatus.EXPIRED,
    }
)
"""States that never change any more, but for expiry."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Rows by fate: `succeeded + failed + pending = total`."""

    total: int
    succeeded: int
    failed: int
    pending: int


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far and how fast; `None` where the server can't tell yet."""

    ratio: float
    rows_per_second: float | None
    eta_seconds: float | None
    chunks_done: int
    chunks_total: int


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed."""

    code: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request to predict every row of one input, as it stood when the server answered."""

    id: str
    status: JobStatus
    model_name: str
    model_version: str
    counts: Counts
    progress: Progress
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    failure: JobFailure | None
    warnings: tuple[str, ...]
    document: Mapping[str, object]
    """The whole answer, for fields this client doesn't know."""

    @property
    def has_ended(self) -> bool:
        """Whether the job has reached an end state."""
        return self.status in END_STATUSES

    @property
    def model(self) -> str:
        """The model version as a model reference, `name:version`."""
        return f"{self.model_name}:{self.model_version}"

    @property
    def duration_seconds(self) -> float | None:
        """From creation to the end; `None` before the end."""
        if self.created_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.created_at).total_seconds()


def job_from_json(body: JsonObject) -> Job:
    """The job in an answer. Raises `MalformedAnswerError`."""
    model = body.child("model")
    return Job(
        id=body.required_text("id"),
        status=_status(body.required_text("status")),
        model_name=model.text("name"),
        model_version=model.text("version"),
        counts=_counts(body.child("counts")),
        progress=_progress(body.child("progress")),
        created_at=body.moment("created_at"),
        started_at=body.moment("started_at"),
        finished_at=body.moment("finished_at"),
        expires_at=body.moment("expires_at"),
        failure=_failure(body),
        warnings=tuple(_warning(item) for item in body.items("warnings")),
        document=body.fields,
    )


def _status(text: str) -> JobStatus:
    try:
        return JobStatus(text)
    except ValueError:
        raise MalformedAnswerError("status", "a known state") from None


def _counts(body: JsonObject) -> Counts:
    return Counts(
        total=body.integer("total"),
        succeeded=body.integer("succeeded"),
        failed=body.integer("failed"),
        pending=body.integer("pending"),
    )


def _progress(body: JsonObject) -> Progress:
    return Progress(
        ratio=body.number("ratio"),
        rows_per_second=body.optional_number("rows_per_second"),
        eta_seconds=body.optional_number("eta_seconds"),
        chunks_done=body.integer("chunks_done"),
        chunks_total=body.integer("chunks_total"),
    )


def _failure(body: JsonObject) -> JobFailure | None:
    if body.fields.get("error") is None:
        return None
    error = body.child("error")
    return JobFailure(
        code=error.required_text("code"), detail=error.text("detail") or error.text("message")
    )


def _warning(item: object) -> str:
    if isinstance(item, str):
        return item
    warning = JsonObject(item, "warnings")
    return warning.text("detail") or warning.text("message") or warning.text("code")
