"""Parquet files and Arrow streams as CSV. The only module of intake that imports pyarrow, and only
when it is asked for one.

What a value becomes: integers, decimals and booleans as they are; a float the shortest text that
reads back as the same one, NaN nothing; times as ISO 8601 with a space, those with a time zone in
UTC with a Z behind; durations as a number in their unit; a dictionary's the text that it stands
for. Nulls are empty. Nested values have no text.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

from api.intake.arrow_messages import MessageStream
from shared.errors import BodyTooLargeError, DamagedFileError, HeaderError, quoted

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET = "a Parquet file"
ARROW = "an Arrow stream"
STREAM_HINT = "Write it with `pyarrow.ipc.new_stream`; a Feather or Arrow file is no stream"

SLICE_BYTES = 1024 * 1024
"""About how much text is made at a time."""

NUMBER_BYTES = 32
"""About how long a number or a time is at most."""

NULLABLE = re.compile(r"U?Int(8|16|32|64)|Float(32|64)|boolean")
"""pandas' types whose missing values are not NaN."""

BATCH_ROWS = 16 * 1024
THRIFT_BYTES = 64 * 1024 * 1024
"""What the metadata of a Parquet file may take."""


class ColumnarTable:
    """Rows in columns, read a batch at a time."""

    def __init__(self, name: str, schema: "pa.Schema", rows: int | None, hint: str = "") -> None:
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
        import pyarrow as pa

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
            if not _has_text(self._schema.field(name).type)
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
                columns = [
                    _plain(batch.column(batch.schema.get_field_index(name)), name in features)
                    for name in names
                ]
                yield from _csv(columns)

    def _batches(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        raise NotImplementedError


def _pandas_types(schema: "pa.Schema") -> dict[str, dict[str, str]]:
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
        import pyarrow.parquet as pq

        self._limit_bytes = limit_bytes
        with reading(PARQUET):
            limits = {
                "thrift_string_size_limit": THRIFT_BYTES,
                "thrift_container_size_limit": THRIFT_BYTES,
            }
            opened = partial(pq.ParquetFile, file, pre_buffer=False, **limits)
            self._opened: Callable[..., pq.ParquetFile] = opened
            self._metadata = opened().metadata
            super().__init__(PARQUET, opened().schema_arrow, self._metadata.num_rows)

    def _batches(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        """Raises BodyTooLargeError for a group of rows that would not fit into memory."""
        # Asked for a column's metadata, pyarrow ends the process where these are damaged.
        for number in range(self._metadata.num_row_groups):
            if self._metadata.row_group(number).total_byte_size > self._limit_bytes:
                raise BodyTooLargeError(self._limit_bytes)
        # A text that repeats is held once: many long ones in a few bytes are a bomb.
        texts = [n for n in names if _is_text(self._schema.field(n).type)]
        file = self._opened(read_dictionary=texts, buffer_size=SLICE_BYTES)
        yield from file.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False)


class ArrowTable(ColumnarTable):
    """A stream of Arrow record batches."""

    def __init__(self, stream: MessageStream, opening: bytes) -> None:
        """`opening` is the message with the schema, which stands at the beginning of `stream`."""
        import pyarrow as pa

        self._stream = stream
        with reading(ARROW, STREAM_HINT):
            schema = pa.ipc.read_schema(pa.py_buffer(opening))
            super().__init__(ARROW, schema, None, STREAM_HINT)

    def _batches(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

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
    import pyarrow as pa

    broken = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, MemoryError)
    try:
        yield
    except (*broken, OverflowError, NotImplementedError) as error:
        raise DamagedFileError(name, hint) from error


def _has_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as t

    storage = _storage(kind)
    if storage is not kind and t.is_dictionary(storage):
        return False  # pyarrow ends the process when it has read one out of Parquet
    kind = storage
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return _has_text(kind.value_type)
    return not (t.is_nested(kind) or t.is_interval(kind))


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as t

    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_binary(kind))


def _storage(kind: "pa.DataType") -> "pa.DataType":
    """What lies below extension types."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _unchecked_text(column: "pa.Array") -> "pa.Array":
    """Texts as the bytes that they are: one that is not UTF-8 is the fault of its row alone."""
    import pyarrow as pa

    views = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    return column.view(views[column.type]) if column.type in views else column


def _plain(column: "pa.Array", is_feature: bool) -> "pa.Array":
    """A column in a type that the CSV writer knows, or in one whose slices it will be made of."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if t.is_floating(kind):
        if is_feature or t.is_float16(kind):
            column = column.cast(pa.float64())
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    if t.is_timestamp(kind) and kind.tz is not None:
        return column.cast(pa.timestamp(kind.unit, "UTC"))
    if t.is_duration(kind):
        return column.cast(pa.int64())
    return column


def _csv(columns: Sequence["pa.Array"]) -> Iterator[bytes]:
    """Rows as text, a slice at a time: what a dictionary holds once may be long as text."""
    rows, longest = len(columns[0]), sum(map(_longest, columns))
    step = max(1, SLICE_BYTES // max(1, longest))
    for first in range(0, rows, step):
        yield _written([_text(column.slice(first, step)) for column in columns])


def _longest(column: "pa.Array") -> int:
    """At most how many bytes a cell of the column has, or about how many."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if isinstance(column, pa.DictionaryArray):
        return _longest(column.dictionary)
    if isinstance(column, pa.RunEndEncodedArray):
        return _longest(column.values)
    if t.is_fixed_size_binary(column.type):
        return int(column.type.byte_width)
    if t.is_string_view(column.type) or t.is_binary_view(column.type):
        return pc.max(_view_lengths(column)).as_py() or 0
    if not (_is_text(column.type) or t.is_large_binary(column.type)):
        return NUMBER_BYTES
    return pc.max(pc.binary_length(column)).as_py() or 0


def _view_lengths(column: "pa.Array") -> "pa.Array":
    """What a view of 16 bytes begins with, for which pyarrow has no function."""
    import pyarrow as pa
    import pyarrow.compute as pc

    behind = column.offset + len(column)
    words = pa.Array.from_buffers(pa.int64(), 2 * behind, [None, column.buffers()[1]])
    firsts = pc.list_element(pa.FixedSizeListArray.from_arrays(words, 2), 0)
    lengths = pc.bit_wise_and(firsts, 0xFFFFFFFF).slice(column.offset)
    return pc.if_else(column.is_valid(), lengths, 0)


def _text(column: "pa.Array") -> "pa.Array":
    """A slice as the CSV writer takes it."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if isinstance(column, pa.RunEndEncodedArray):
        column = pc.run_end_decode(column)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    column = _plain(column, is_feature=False)
    if t.is_string_view(column.type):
        return column.cast(pa.string())
    if t.is_binary_view(column.type) or t.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if t.is_large_binary(column.type):
        column = column.cast(pa.binary())
    # Without looking whether it is UTF-8: that is for the worker to tell, row by row.
    return column.view(pa.string()) if t.is_binary(column.type) else column


def _written(columns: Sequence["pa.Array"]) -> bytes:
    """Text is quoted only where it must be, unless a cell needs it: then all is. It is cut much
    faster without."""
    import pyarrow as pa
    import pyarrow.types as t

    if len(columns) == 1 and (columns[0].null_count or t.is_string(columns[0].type)):
        # A line with nothing on it would be no row.
        return _csv_text([columns[0].cast(pa.string()).fill_null("")], "needed")
    try:
        return _csv_text(columns, "none")
    except pa.ArrowInvalid:
        return _csv_text(columns, "needed")


def _csv_text(columns: Sequence["pa.Array"], quoting: str) -> bytes:
    import pyarrow as pa
    import pyarrow.csv

    names = [str(number) for number in range(len(columns))]
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(columns, names=names), sink, options)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
