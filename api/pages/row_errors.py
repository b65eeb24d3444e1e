"""The first row errors of a job, each beside the row as it was sent."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from api.pages.record_cells import cell_span
from shared import csv_records
from shared.chunks import RejectedRows, RowError
from shared.job_store.store import JobStore
from shared.jobs import Job

SHOWN_ERRORS = 50
"""All others are in the file of row errors."""

CONTEXT_CHARS = 160
"""Shown of a record at most before and after what is marked in it, and of that itself."""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """A record as it was sent, around the cell that an error is about."""

    before: str
    marked: str | None
    """The cell; None if the error is about all of the record."""
    after: str

    @classmethod
    def of(cls, before: str, marked: str | None, after: str) -> "Excerpt":
        """The parts, each shortened where it is far from what is marked."""
        if len(before) > CONTEXT_CHARS:
            before = "…" + before[-CONTEXT_CHARS:]
        return cls(before=before, marked=marked and _head(marked), after=_head(after))


@dataclass(frozen=True, kw_only=True)
class FailedRow:
    """A row error and the row it is about."""

    error: RowError
    record: Excerpt | None
    """None if the row is not kept: it is where a job can be retried."""


def failed_rows(job: Job, store: JobStore) -> tuple[FailedRow, ...]:
    """The first row errors of what is committed, in input order."""
    if not job.failed:
        return ()
    errors = list(islice(row_errors(job, store), SHOWN_ERRORS))
    records = _records({error.row for error in errors}, store.rejects(job), job.spec.delimiter)
    return tuple(
        FailedRow(error=error, record=_excerpt(records.get(error.row), error.column, job))
        for error in errors
    )


def row_errors(job: Job, store: JobStore) -> Iterator[RowError]:
    """The row errors of what is committed, in input order, as they are asked for."""
    for text in store.errors(job):
        for row, line, column, code, message in csv.reader(io.StringIO(text.decode(), newline="")):
            yield RowError(row=int(row), line=int(line), column=column, code=code, message=message)


def _records(
    wanted: set[int], rejected: Iterator[RejectedRows], delimiter: str
) -> dict[int, bytes]:
    """The records of these rows, as far as they are there."""
    found: dict[int, bytes] = {}
    for part in rejected:
        # They come in input order: what is not there by now, such as rows that are not kept to be
        # retried, does not come any more, and there may be much of all else.
        if len(found) == len(wanted) or (part.rows and part.rows[0] > max(wanted)):
            break
        masked = csv_records.mask(part.records, delimiter.encode())
        records = csv_records.split(part.records, masked, delimiter.encode())
        for row, record in zip(part.rows, records, strict=False):
            if row in wanted:
                found[row] = part.records[record.start : record.end]
            if len(found) == len(wanted):
                break
    return found


def _excerpt(record: bytes | None, column: str, job: Job) -> Excerpt | None:
    """A record with the cell of a column marked, where it can be told."""
    if record is None:
        return None
    span = cell_span(record, column, job.spec)
    if span is None:
        return Excerpt.of("", None, _text(record))
    start, end = span
    return Excerpt.of(_text(record[:start]), _text(record[start:end]), _text(record[end:]))


def _text(record: bytes) -> str:
    return record.decode(errors="replace")


def _head(text: str) -> str:
    return text if len(text) <= CONTEXT_CHARS else text[:CONTEXT_CHARS] + "…"
