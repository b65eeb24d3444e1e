"""Failed rows of a job as chunks of another one."""

from collections.abc import Iterable, Iterator

from shared import csv_records
from shared.chunks import ChunkPlan, RejectedRows


def chunks_of(
    rejected: Iterable[RejectedRows], *, delimiter: str, max_rows: int, max_bytes: int
) -> Iterator[tuple[ChunkPlan, bytes]]:
    """The failed rows of many chunks as chunks of at most so many rows, in order.

    Few rows of each are gathered and many are cut; what one chunk rejected is not more than a chunk
    may have, so only what is gathered is bounded by `max_bytes`.
    """
    gathered: list[RejectedRows] = []
    number = rows = size_bytes = 0
    for part in (part for some in rejected for part in _cut(some, delimiter.encode(), max_rows)):
        rows, size_bytes = rows + len(part.rows), size_bytes + len(part.records)
        if gathered and (rows > max_rows or size_bytes > max_bytes):
            yield _chunk_of(number, gathered)
            number, gathered = number + 1, []
            rows, size_bytes = len(part.rows), len(part.records)
        gathered.append(part)
    if gathered:
        yield _chunk_of(number, gathered)


def _cut(rejected: RejectedRows, delimiter: bytes, max_rows: int) -> Iterator[RejectedRows]:
    """Parts of at most so many rows."""
    if len(rejected.rows) <= max_rows:
        yield rejected
        return
    masked = csv_records.mask(rejected.records, delimiter)
    records = csv_records.split(rejected.records, masked, delimiter)
    starts = [record.start for record in records]
    ends = [*starts[max_rows::max_rows], len(rejected.records)]
    for number, end in enumerate(ends):
        first = number * max_rows
        yield RejectedRows(
            rows=rejected.rows[first : first + max_rows],
            lines=rejected.lines[first : first + max_rows],
            records=rejected.records[starts[first] : end],
        )


def _chunk_of(number: int, parts: list[RejectedRows]) -> tuple[ChunkPlan, bytes]:
    rejected = RejectedRows.joined(parts)
    plan = ChunkPlan(
        number=number,
        first_row=rejected.rows[0],
        first_line=rejected.lines[0],
        rows=len(rejected.rows),
        picked_rows=rejected.rows,
        picked_lines=rejected.lines,
    )
    return plan, rejected.records
