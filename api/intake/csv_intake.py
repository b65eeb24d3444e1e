"""A stream of records, cut into chunks at record boundaries while it arrives.

Holds one chunk and one block at a time, whatever the size of the body.
"""

import codecs
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from api.intake.bodies import Body
from shared import csv_records
from shared.chunks import ChunkPlan
from shared.errors import (
    EmptyInputError,
    EncodingError,
    RecordTooLargeError,
    TooManyColumnsError,
    TooManyRowsError,
    UnclosedQuoteError,
)
from shared.jobs import JobSpec

NO_LIMIT = sys.maxsize

FIRST_LOOK_BYTES = 64 * 1024
"""Where the search for a record's end begins; it doubles from there."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large things may be."""

    chunk_bytes: int
    record_bytes: int
    rows: int = NO_LIMIT
    body_bytes: int = NO_LIMIT
    """All records of a body that is made into text, as that text."""


class CsvIntake:
    """Reads the header, then gives the rows in chunks; each byte is taken once, in order."""

    def __init__(
        self,
        body: Body,
        *,
        delimiter: str,
        limits: Limits,
        announced_bytes: int = 0,
    ) -> None:
        self._body = body
        self._blocks: Iterator[bytes] = body
        self._delimiter = delimiter.encode()
        self._max_chunk_bytes = limits.chunk_bytes
        self._max_record_bytes = limits.record_bytes
        self._max_rows = limits.rows
        self._announced_bytes = announced_bytes
        self._buffer = bytearray()
        self._has_ended = False
        self._line = 1
        self._row = 1
        self._number = 0
        self._bytes_per_row = 0.0

    @property
    def is_exhausted(self) -> bool:
        """Whether all rows have been given."""
        return self._has_ended and not self._buffer

    @property
    def bytes_to_come(self) -> int:
        """About how much follows the chunks given so far, by what was announced."""
        not_read = 0 if self._has_ended else max(0, self._announced_bytes - self._body.input_bytes)
        return len(self._buffer) + not_read

    def header(self, *, max_columns: int) -> tuple[str, ...]:
        """The column names; to be called first.

        Raises EmptyInputError, EncodingError, TooManyColumnsError, RecordTooLargeError.
        """
        self._fill(1)
        self._strip_byte_order_mark()
        is_blank = True
        while is_blank:
            record = self._take(1, first_look_bytes=FIRST_LOOK_BYTES)
            if not record:
                raise EmptyInputError(has_header=False)
            self._line += csv_records.count_lines(record)
            is_blank = not csv_records.count_records(record, self._delimiter)
        names = self._fields(record)
        if len(names) > max_columns:
            raise TooManyColumnsError(len(names), max_columns)
        return names

    def fitted(self, spec: JobSpec) -> JobSpec:
        """The spec of a job that asks for these columns; what only the body knows is added."""
        return spec

    def chunks(self, rows_wanted: Callable[[], int]) -> Iterator[tuple[ChunkPlan, bytes]]:
        """The rows after the header, about `rows_wanted()` at a time, but at least one.

        Every row is in exactly one chunk and blank records are in none. Raises
        UnclosedQuoteError, RecordTooLargeError, TooManyRowsError and whatever the blocks raise.
        """
        while data := self._take(self._target_bytes(rows_wanted())):
            masked = csv_records.mask(data, self._delimiter)
            lines = csv_records.count_lines(data)
            rows = csv_records.count_records(
                masked, self._delimiter, line_ends=lines if masked is data else None
            )
            first_line, self._line = self._line, self._line + lines
            if not rows:
                continue
            if self._row + rows - 1 > self._max_rows:
                raise TooManyRowsError(self._max_rows)
            plan = ChunkPlan(
                number=self._number, first_row=self._row, first_line=first_line, rows=rows
            )
            self._number, self._row = self._number + 1, self._row + rows
            self._bytes_per_row = len(data) / rows
            yield plan, data

    def _target_bytes(self, rows: int) -> int:
        """About how many bytes so many rows are, judged by the rows before them."""
        if not self._bytes_per_row:
            self._fill(FIRST_LOOK_BYTES)
            look = csv_records.mask(self._first(FIRST_LOOK_BYTES), self._delimiter)
            self._bytes_per_row = len(look) / max(
                1, csv_records.count_records(look, self._delimiter)
            )
        return max(1, min(int(rows * self._bytes_per_row), self._max_chunk_bytes))

    def _take(self, target_bytes: int, *, first_look_bytes: int = 0) -> bytes:
        """The next whole records: what ends within the target, at least one; empty at the end."""
        look = max(target_bytes, first_look_bytes)
        end = 0
        while not end:
            self._fill(look + 1)
            is_all = self._has_ended and len(self._buffer) <= look
            if is_all and len(self._buffer) <= target_bytes:
                return self._take_rest()
            data = self._first(look)
            masked = csv_records.mask(data, self._delimiter)
            end = csv_records.last_record_end(masked, target_bytes)
            if not end:
                end = csv_records.first_record_end(masked, target_bytes - 1)
                if (end or len(masked)) > self._max_record_bytes:
                    raise RecordTooLargeError(self._line, self._max_record_bytes)
            if not end and is_all:
                return self._take_rest()
            look = max(2 * look, FIRST_LOOK_BYTES)
        del self._buffer[:end]
        return data[:end]

    def _first(self, size_bytes: int) -> bytes:
        """The buffer's first bytes, copied once: a slice of it would be a copy to be copied."""
        with memoryview(self._buffer) as view:
            return bytes(view[:size_bytes])

    def _take_rest(self) -> bytes:
        """All that is left of a stream that has ended."""
        data = bytes(self._buffer)
        self._buffer.clear()
        if csv_records.ends_inside_quotes(data, self._delimiter):
            masked = csv_records.mask(data, self._delimiter)
            before = data[: csv_records.last_record_end(masked, len(masked))]
            raise UnclosedQuoteError(self._line + csv_records.count_lines(before))
        return data

    def _fill(self, size_bytes: int) -> None:
        """Read until the buffer holds so many bytes or the stream has ended."""
        while len(self._buffer) < size_bytes and not self._has_ended:
            block = next(self._blocks, None)
            if block is None:
                self._has_ended = True
                return
            self._buffer += block

    def _strip_byte_order_mark(self) -> None:
        self._fill(len(codecs.BOM_UTF8))
        if self._buffer.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise EncodingError("The body (it looks like UTF-16)")
        if self._buffer.startswith(codecs.BOM_UTF8):
            del self._buffer[: len(codecs.BOM_UTF8)]

    def _fields(self, record: bytes) -> tuple[str, ...]:
        if b"\0" in record:
            raise EncodingError("The header (it holds a NUL byte)")
        try:
            lines = [record.decode()]
            return tuple(next(csv.reader(lines, delimiter=self._delimiter.decode())))
        except UnicodeDecodeError as error:
            raise EncodingError("The header") from error
        except csv.Error as error:
            raise RecordTooLargeError(self._line, csv.field_size_limit()) from error
