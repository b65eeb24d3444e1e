"""The chunk: a contiguous slice of a job's rows; what is queued, run, retried and committed."""

from dataclasses import dataclass

FIRST_CHUNK_ROWS = 1_000
"""Rows of a chunk while nobody knows yet how fast the model is: small enough for a model of
50 ms a row, large enough that a fast one is not slowed by the overhead of a chunk."""

TARGET_SECONDS = 0.7
"""Work aimed at in one chunk: long enough that queue and commit (a few ms) don't count, short
enough that a cancel, a crash or a small job behind it costs under a second."""

MIN_CHUNK_ROWS = 50
"""A chunk has at least so many rows even for a slow model, or its overhead takes over."""


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """Where a chunk's rows lie in the input. Rows and lines count from 1, chunks from 0."""

    number: int
    first_row: int
    first_line: int
    """Physical line of the input, with the header and newlines inside quotes counted."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class RowError:
    """Why one row has no prediction."""

    row: int
    line: int
    column: str
    """The input column it is about; empty when it is about the row as a whole."""
    code: str
    message: str


def target_rows(rows_per_second: float | None) -> int:
    """Rows a chunk should have for a model version of the given measured speed."""
    if rows_per_second is None:
        return FIRST_CHUNK_ROWS
    return max(MIN_CHUNK_ROWS, int(rows_per_second * TARGET_SECONDS))
