"""The chunk: a contiguous slice of a job's rows; what is queued, run, retried and committed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.feature_counts import NOTHING_SEEN, FeatureCounts

FIRST_CHUNK_ROWS = 1_000
"""Rows of a chunk while nobody knows yet how fast the model is: small enough for a model of
50 ms a row, large enough that a fast one is not slowed by the overhead of a chunk."""

TARGET_SECONDS = 0.7
"""Work aimed at in one chunk: long enough that queue and commit (a few ms) don't count, short
enough that a cancel, a crash or a small job behind it costs under a second."""

ASSUMED_SPEED = FIRST_CHUNK_ROWS / TARGET_SECONDS
"""Rows a second that chunks are cut for while nobody knows better."""

ASSUMED_EXPLAINED_SPEED = 200.0
"""The same of rows whose contributions are asked for: some models take 25 ms for one."""

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
    picked_rows: tuple[int, ...] = ()
    """Numbers of the rows where they don't follow one another: a retry's, which keep those of the
    first job. Empty for a slice of an input."""
    picked_lines: tuple[int, ...] = ()

    def row(self, position: int) -> int:
        """Number of the row at a position, which counts from 0."""
        return self.picked_rows[position] if self.picked_rows else self.first_row + position

    def line(self, position: int, lines_before: int) -> int:
        """Line of the row at a position that has so many lines before it in the chunk."""
        if self.picked_lines:
            return self.picked_lines[position]
        return self.first_line + lines_before

    def part(self, first: int, behind: int, *, lines_before: int) -> "ChunkPlan":
        """The plan of the rows at the positions from `first` up to `behind`."""
        return replace(
            self,
            first_row=self.row(first),
            first_line=self.first_line + lines_before,
            rows=behind - first,
            picked_rows=self.picked_rows[first:behind],
            picked_lines=self.picked_lines[first:behind],
        )


@dataclass(frozen=True, kw_only=True)
class RowError:
    """Why one row has no prediction."""

    row: int
    line: int
    column: str
    """The input column it is about; empty when it is about the row as a whole."""
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class RejectedRows:
    """Failed rows of a chunk as they were sent, kept so that they can be retried."""

    rows: tuple[int, ...] = ()
    lines: tuple[int, ...] = ()
    records: bytes = b""

    @classmethod
    def joined(cls, parts: Iterable["RejectedRows"]) -> "RejectedRows":
        """Those of several parts, in order."""
        parts = list(parts)
        return cls(
            rows=tuple(row for part in parts for row in part.rows),
            lines=tuple(line for part in parts for line in part.lines),
            records=b"".join(part.records for part in parts),
        )


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """What scoring a chunk gave: lines without headers, and how many rows they stand for."""

    results: bytes
    errors: bytes
    succeeded: int
    failed: int
    rejected: RejectedRows = RejectedRows()
    feature_counts: FeatureCounts = NOTHING_SEEN


def joined(results: list[ChunkResult]) -> ChunkResult:
    """The results of the parts of a chunk, in order, as that of the chunk."""
    return ChunkResult(
        results=b"".join(result.results for result in results),
        errors=b"".join(result.errors for result in results),
        succeeded=sum(result.succeeded for result in results),
        failed=sum(result.failed for result in results),
        rejected=RejectedRows.joined(result.rejected for result in results),
        feature_counts=sum((result.feature_counts for result in results), NOTHING_SEEN),
    )


def target_rows(rows_per_second: float | None) -> int:
    """Rows a chunk should have for a model version of the given measured speed."""
    if rows_per_second is None:
        return FIRST_CHUNK_ROWS
    return max(MIN_CHUNK_ROWS, int(rows_per_second * TARGET_SECONDS))
