"""Parquet files and Arrow streams, read a batch at a time.

This and `columnar_text.py` need pyarrow, which takes 40 MB: `registry.py` has them imported for the
first body in columns.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from api.intake.arrow_messages import MessageStream
from api.intake.columnar_text import SLICE_BYTES, csv_blocks, has_text, is_text
from api.intake.parquet_pages import check_pages
from shared.errors import BodyTooLargeError, DamagedFileError, HeaderError, quoted

PARQUET = "a Parquet file"
ARROW = "an Arrow stream"
STREAM_HINT = "Write it with `pyarrow.ipc.new_stream`; a Feather or Arrow file is no stream"

NULLABLE = re.compile(r"U?Int(8|16|32|64)|Float(32|64)|boolean")
"""pandas' types whose missing values are not NaN."""

BATCH_ROWS = 16 * 1024
THRIFT_BYTES = 64 * 1024 * 1024
"""What the metadata of a Parquet file may take."""


class ColumnarTable:
    """Rows in columns, read a batch at a time."""

    def __init__(self, name: str, schema: pa.Schema, rows: int | None, hint: str = "") -> None:
        self.rows = rows
        """How many rows it says it has, if it does."""
        self._name = name
        self._hint = hint
        self._schema = schema

    def names(self) -> tuple[str, ...]:
        """The columns. Raises DamagedFileError."""
        with reading(self._name, self._hint):
            return tuple(self._schema.names)

    def types_of(self, names: Sequence[str]) -> str:
        """The types of these columns, as an Arrow schema in base64; empty for none. With a field
        goes what pandas calls its type, if that says more."""
        if not names:
            return ""
        with reading(self._name, self._hint):
            pandas_types = _pandas_types(self._schema)
            fields = [
                pa.field(name, self._schema.field(name).type, metadata=pandas_types.get(name))
                for name in names
            ]
            return base64.b64encode(pa.schema(fields).serialize().to_pybytes()).decode()

    def check_types(self, names: Sequence[str]) -> None:
        """Raise HeaderError if a column is of a type that has no text."""
        problems = [
            (
                "unsupported_type",
                name,
                f"Column {quoted(name)} is of type {str(self._schema.field(name).type)[:80]}; "
                "it takes one value a row.",
            )
            for name in names
            if not has_text(self._schema.field(name).type)
        ]
        if problems:
            raise HeaderError(problems)

    def csv_blocks(self, names: Sequence[str], features: Collection[str]) -> Iterator[bytes]:
        """The rows with these columns, without a header.

        Of the features a float is written as a double: it is what the model gets. Raises
        DamagedFileError.
        """
        with reading(self._name, self._hint):
            for batch in self._batches(names):
                yield from csv_blocks(batch, names, features)

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        raise NotImplementedError


def _pandas_types(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """Of columns that were pandas' own nullable types: which, as metadata of their fields. Without
    it pandas reads integers with gaps as floats."""
    try:
        described = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        return {
            column["field_name"]: {"pandas": column["numpy_type"]}
            for column in described.get("columns", [])
            if NULLABLE.fullmatch(column["numpy_type"])
        }
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError):
        return {}  # anybody can write anything there


class ParquetTable(ColumnarTable):
    """A Parquet file."""

    def __init__(self, file: IO[bytes], *, limit_bytes: int) -> None:
        """Raises DamagedFileError."""
        self._file, self._limit_bytes = file, limit_bytes
        with reading(PARQUET):
            limits = {
                "thrift_string_size_limit": THRIFT_BYTES,
                "thrift_container_size_limit": THRIFT_BYTES,
            }
            opened = partial(pq.ParquetFile, file, pre_buffer=False, **limits)
            self._opened: Callable[..., pq.ParquetFile] = opened
            first = opened()
            self._metadata = first.metadata
            super().__init__(PARQUET, first.schema_arrow, self._metadata.num_rows)

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Raises BodyTooLargeError for a group of rows that would not fit into memory."""
        # Asked for a column's metadata, pyarrow ends the process where these are damaged.
        for number in range(self._metadata.num_row_groups):
            if self._metadata.row_group(number).total_byte_size > self._limit_bytes:
                raise BodyTooLargeError(self._limit_bytes)
        # What these say is only what the writer says of the pages, and so is what pages say.
        check_pages(self._file, limit_bytes=self._limit_bytes)
        # A text that repeats is held once: many long ones in a few bytes are a bomb.
        texts = [n for n in names if is_text(self._schema.field(n).type)]
        file = self._opened(read_dictionary=texts, buffer_size=SLICE_BYTES)
        yield from file.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False)


class ArrowTable(ColumnarTable):
    """A stream of Arrow record batches."""

    def __init__(self, stream: MessageStream, opening: bytes) -> None:
        """`opening` is the message with the schema, which stands at the beginning of `stream`."""
        self._stream = stream
        with reading(ARROW, STREAM_HINT):
            schema = pa.ipc.read_schema(pa.py_buffer(opening))
            super().__init__(ARROW, schema, None, STREAM_HINT)

    def _batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        wanted = sorted(self._schema.get_field_index(name) for name in names)
        options = pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
        for batch in pa.ipc.open_stream(self._stream, options=options):
            for column in batch.columns:
                # What an offset points at is only now known to be inside of the buffers.
                _unchecked_text(column).validate(full=True)
            yield batch


@contextmanager
def reading(name: str, hint: str = "") -> Iterator[None]:
    """Raises DamagedFileError where pyarrow can't go on. What the source raises goes through."""
    broken = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, MemoryError)
    try:
        yield
    except (*broken, OverflowError, NotImplementedError) as error:
        raise DamagedFileError(name, hint) from error


def _unchecked_text(column: pa.Array) -> pa.Array:
    """Texts as the bytes that they are: one that is not UTF-8 is the fault of its row alone."""
    views = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    return column.view(views[column.type]) if column.type in views else column
