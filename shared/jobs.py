"""The job: one request to predict every row of one input with one model version."""

import secrets
import time
from dataclasses import dataclass
from enum import StrEnum

from shared.feature_counts import NOTHING_SEEN, FeatureCounts
from shared.signature import OutputColumn, OutputKind
from shared.trail import NO_TRAIL, Trail


class JobStatus(StrEnum):
    """Where a job is in its life; changes are made by the scripts of the job store alone."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


END_STATUSES = frozenset(
    {
        JobStatus.SUCCEEDED,
        JobStatus.PARTIALLY_SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }
)


class JobErrorCode(StrEnum):
    """Why a job failed as a whole."""

    ALL_ROWS_FAILED = "all_rows_failed"
    ERROR_THRESHOLD_EXCEEDED = "error_threshold_exceeded"
    MODEL_LOAD_FAILED = "model_load_failed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    INPUT_REFUSED = "input_refused"
    PAYLOAD_LOST = "payload_lost"


NEVER_TAKEN_IN = frozenset({JobErrorCode.UPLOAD_INCOMPLETE, JobErrorCode.INPUT_REFUSED})
"""The body was not taken in: the job is no answer to its request, which may be sent again."""

STOPPED_BY_TERMS = frozenset(
    {JobErrorCode.DEADLINE_EXCEEDED, JobErrorCode.ERROR_THRESHOLD_EXCEEDED}
)
"""The request that made the job wanted it to end so."""


class InputFormat(StrEnum):
    """What the body of a job was; its chunks are lines of CSV or, for the JSON formats, of JSON."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def is_json(self) -> bool:
        return self in (InputFormat.NDJSON, InputFormat.JSON)

    @property
    def has_lines(self) -> bool:
        """Whether a row can be found by its line in what was sent."""
        return self in (InputFormat.CSV, InputFormat.NDJSON)

    @property
    def has_nulls(self) -> bool:
        """Whether it has a sign of its own for a missing value, so that no text stands for one."""
        return self is not InputFormat.CSV


class Lane(StrEnum):
    """Where a job's chunks wait. Every worker looks into the small one first and keeps a process
    for it, so that a small job never waits behind bulk work."""

    SMALL = "small"
    BULK = "bulk"


class ResultJoin(StrEnum):
    """Which columns of the input every result line repeats."""

    NONE = "none"
    INPUT = "input"


ANY_NUMBER = -1
"""Error threshold of a job that may have any number of failed rows."""


VALIDATION = "validate_only"
"""What a model version is used for, where rows are checked and not scored."""

ROW_BYTES = 12
OUTPUT_BYTES = 20
"""A line of results has the row's number and delimiters, and a number of up to 20 characters for
each output."""

CHUNK_BYTES = 1000
"""What Redis holds of a chunk whose bytes are elsewhere: plan, tokens, worker, references."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What was asked for. Fixed when the job is created; all a worker needs besides the rows."""

    model_name: str
    model_version: str
    model_sha256: str
    output: OutputKind
    header: tuple[str, ...]
    delimiter: str
    """Between the cells of a chunk's records; empty where they are lines of JSON."""
    carried: tuple[str, ...]
    """Input columns that every result line repeats, in the order of the header."""
    result_columns: tuple[OutputColumn, ...]
    """All columns of the results with their types, from `row` to `error`."""
    error_threshold: int = ANY_NUMBER
    retention_seconds: int
    deadline_seconds: int | None = None
    """How long after its creation the job must have ended."""
    validate_only: bool = False
    """Whether rows are only parsed and checked, and no model is called."""
    retry_of: str | None = None
    """The job whose failed rows these are."""
    input_format: InputFormat = InputFormat.CSV
    carried_types: str = ""
    """Types of the carried columns where the input had some: an Arrow schema, as IPC in base64."""
    shadow_version: str | None = None
    """Version of the model that scores the same rows, only to be compared; and its checksum."""
    shadow_sha256: str | None = None
    model_warnings: tuple[str, ...] = ()
    """What there was to say of the model version when the job was made."""
    payload_url: str = ""
    """The object store that the bytes of its chunks are in, see `payloads.py`; empty: Redis."""

    @property
    def model_version_id(self) -> str:
        return f"{self.model_name}/{self.model_version}"

    @property
    def speed_id(self) -> str:
        """What speeds and uses are kept by: taking a prediction apart takes many times as long as
        making it, and checking rows a fraction, so chunks that suit the one would not suit the
        other."""
        if self.validate_only:
            return f"{self.model_version_id}/{VALIDATION}"
        is_explained = self.output is OutputKind.CONTRIBUTIONS
        return f"{self.model_version_id}/{self.output}" if is_explained else self.model_version_id

    def result_bytes(self, rows: int, *, input_bytes: int) -> int:
        """About how much memory of Redis the results of a chunk of so many rows take, and those of
        them that fail."""
        if self.payload_url:
            return CHUNK_BYTES
        outputs = len(self.result_columns) - len(self.carried) - len(("row", "error"))
        carried_share = len(self.carried) / max(1, len(self.header))
        return rows * (ROW_BYTES + OUTPUT_BYTES * outputs) + int(input_bytes * carried_share)


@dataclass(frozen=True, kw_only=True)
class JobTerms:
    """On what terms a job is taken in."""

    lane: Lane = Lane.BULK
    owner: str = ""
    """Id of the API key that the job belongs to; empty where keys are not needed."""
    most_in_flight: int = 0
    """So many jobs of the owner may be unfinished at a time; 0 for any number."""
    caller: str = ""
    """Who takes turns with others: one who sends many jobs delays mostly their own."""
    expected_rows: int = 0
    """Rows that the body is expected to have, and bytes that it and its results will take."""
    expected_bytes: int = 0
    idempotency_key: str = ""
    """Digest of the request's key; empty if it had none."""
    request: str = ""
    """Fingerprint of all of the request but its body."""
    awaited_by: str = ""
    """Channel on which the job's end is told to who waits for it; empty if nobody does."""
    callback_url: str = ""
    """URL to which the job's end is told; empty for none."""
    trail: Trail = NO_TRAIL
    """What is kept of the request that makes the job."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A snapshot of a job's record. Times are milliseconds since 1970 by the store's clock."""

    id: str
    spec: JobSpec
    status: JobStatus
    total: int
    """Rows taken in so far; it grows while the job is `receiving`."""
    succeeded: int
    failed: int
    chunks_total: int
    chunks_done: int
    created_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    expires_at_ms: int
    read_at_ms: int
    """When the snapshot was taken."""
    owner: str = ""
    """Id of the API key that it belongs to; empty for one that was made without."""
    input_bytes: int = 0
    input_sha256: str | None = None
    attempts_lost: int = 0
    """Attempts on its chunks that ended with a dead, frozen or vanished process."""
    error_code: str | None = None
    error_detail: str | None = None
    callback_url: str | None = None
    """Where its end is told to, if anywhere."""
    feature_counts: FeatureCounts = NOTHING_SEEN
    """What the rows that are done show of the model's features."""

    @property
    def has_ended(self) -> bool:
        return self.status in END_STATUSES

    @property
    def was_taken_in(self) -> bool:
        """Whether it has its whole body, or ended for another reason than that body."""
        return self.status is not JobStatus.RECEIVING and self.error_code not in NEVER_TAKEN_IN

    @property
    def was_stopped(self) -> bool:
        """Whether it ended before its rows did because a caller wanted it so."""
        return self.status is JobStatus.CANCELLED or self.error_code in STOPPED_BY_TERMS

    @property
    def pending(self) -> int:
        """Rows that have neither a prediction nor an error."""
        return self.total - self.succeeded - self.failed

    @property
    def rows_per_second(self) -> float | None:
        """Measured over the job's running time; None before the first chunk is done."""
        done = self.succeeded + self.failed
        if self.started_at_ms is None or not done:
            return None
        running_ms = (self.finished_at_ms or self.read_at_ms) - self.started_at_ms
        return done / (max(running_ms, 1) / 1000)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until the rows taken in so far are done; None when there is no telling."""
        if self.has_ended or not self.rows_per_second:
            return None
        return self.pending / self.rows_per_second


def new_job_id() -> str:
    """An id that sorts by time (48 bits of milliseconds) and can't be guessed (80 random bits)."""
    return f"job_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


JOB_ID_PATTERN = r"job_[0-9a-f]{32}"
