"""Failed rows of a job as chunks of another one."""

from collections.abc import Iterable, Iterator

from shared.chunks import ChunkPlan, RejectedRows


def chunks_of(
    rejected: Iterable[RejectedRows], *, wanted_rows: int
) -> Iterator[tuple[ChunkPlan, bytes]]:
    """The failed rows of many chunks as a few chunks of about `wanted_rows`, in order."""
    gathered: list[RejectedRows] = []
    number = 0
    for some in rejected:
        gathered.append(some)
        if sum(len(part.rows) for part in gathered) >= wanted_rows:
            yield _chunk_of(number, gathered)
            number, gathered = number + 1, []
    if gathered:
        yield _chunk_of(number, gathered)


def _chunk_of(number: int, rejected: list[RejectedRows]) -> tuple[ChunkPlan, bytes]:
    rows = tuple(row for part in rejected for row in part.rows)
    lines = tuple(line for part in rejected for line in part.lines)
    plan = ChunkPlan(
        number=number,
        first_row=rows[0],
        first_line=lines[0],
        rows=len(rows),
        picked_rows=rows,
        picked_lines=lines,
    )
    return plan, b"".join(part.records for part in rejected)
