"""A body in columns, made into CSV and cut into chunks as such."""

import tempfile
import weakref
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import IO

from api.intake.arrow_messages import MessageStream
from api.intake.bodies import Body, limited
from api.intake.columnar_tables import (
    ARROW,
    STREAM_HINT,
    ArrowTable,
    ColumnarTable,
    ParquetTable,
    reading,
)
from api.intake.csv_intake import CsvIntake, Limits
from shared.errors import EmptyInputError, TooManyColumnsError, TooManyRowsError
from shared.jobs import InputFormat, JobSpec

DELIMITER = ","


class ColumnarIntake(CsvIntake):
    """Reads the schema, then makes rows of the columns that are needed."""

    def __init__(
        self, body: Body, *, limits: Limits, features: Sequence[str], announced_bytes: int
    ) -> None:
        super().__init__(body, delimiter=DELIMITER, limits=limits, announced_bytes=announced_bytes)
        self._limits = limits
        self._features = frozenset(features)

    def header(self, *, max_columns: int) -> tuple[str, ...]:
        """The columns of the schema.

        Raises EmptyInputError, TooManyColumnsError, TooManyRowsError, DamagedFileError.
        """
        self._table = self._opened()
        if self._table.rows is not None and self._table.rows > self._max_rows:
            raise TooManyRowsError(self._max_rows)
        names = self._table.names()
        if len(names) > max_columns:
            raise TooManyColumnsError(len(names), max_columns)
        return names

    def fitted(self, spec: JobSpec) -> JobSpec:
        """The same with the types of what is carried. Raises HeaderError for nested columns."""
        self._table.check_types(spec.header)
        rows = _rows(self._table, spec.header, self._features, self._body)
        self._blocks = limited(rows, self._limits.body_bytes)
        return replace(spec, carried_types=self._table.types_of(spec.carried))

    @property
    def bytes_to_come(self) -> int:
        if self._table.rows is None:
            return super().bytes_to_come
        rows_left = max(0, self._table.rows - self._row + 1)
        return max(len(self._buffer), int(rows_left * self._bytes_per_row))

    def _opened(self) -> ColumnarTable:
        if self._body.format is InputFormat.PARQUET:
            return ParquetTable(self._spooled(), limit_bytes=self._limits.body_bytes)
        stream = MessageStream(self._body, limit_bytes=self._limits.body_bytes)
        with reading(ARROW, STREAM_HINT):
            opening = stream.opening()
        if not opening:
            raise EmptyInputError(has_header=False)
        return ArrowTable(stream, opening)

    def _spooled(self) -> IO[bytes]:
        """The body in a file without a name: the directory of a Parquet file is at its end."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 – closed with the intake
        weakref.finalize(self, file.close)
        for block in self._body:
            file.write(block)
        if not self._body.input_bytes:
            raise EmptyInputError(has_header=False)
        return file


def _rows(
    table: ColumnarTable, names: Sequence[str], features: Collection[str], body: Body
) -> Iterator[bytes]:
    # No method: an intake that its own blocks refer to would keep its file until it is found.
    yield from table.csv_blocks(names, features)
    # What stands behind the last row belongs to the body and its checksum.
    body.drain()
