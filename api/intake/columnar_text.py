"""Columns as CSV.

What a value becomes: integers, decimals and booleans as they are; a float the shortest text that
reads back as the same one, NaN nothing; times as ISO 8601 with a space, those with a time zone in
UTC with a Z behind; durations as a number in their unit; a dictionary's the text that it stands
for. Nulls are empty. Nested values have no text.
"""

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.types as t

SLICE_BYTES = 1024 * 1024
"""About how much text is made at a time."""

NUMBER_BYTES = 32
"""About how long a number or a time is at most."""


def has_text(kind: pa.DataType) -> bool:
    """Whether the values of a type can be cells."""
    storage = _storage(kind)
    if storage is not kind and t.is_dictionary(storage):
        return False  # pyarrow ends the process when it has read one out of Parquet
    kind = storage
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind):
        return has_text(kind.value_type)
    return not (t.is_nested(kind) or t.is_interval(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are the bytes of a text of any length."""
    return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_binary(kind))


def _storage(kind: pa.DataType) -> pa.DataType:
    """What lies below extension types."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def csv_blocks(
    batch: pa.RecordBatch, names: Sequence[str], features: Collection[str]
) -> Iterator[bytes]:
    """The rows of a batch with these columns, without a header, a slice at a time.

    Of the features a float is written as a double: it is what the model gets.
    """
    columns = [
        _plain(batch.column(batch.schema.get_field_index(name)), name in features) for name in names
    ]
    # What a dictionary holds once may be long as text.
    rows, longest = len(columns[0]), sum(map(_longest, columns))
    step = max(1, SLICE_BYTES // max(1, longest))
    for first in range(0, rows, step):
        yield _written([_text(column.slice(first, step)) for column in columns])


def _plain(column: pa.Array, is_feature: bool) -> pa.Array:
    """A column in a type that the CSV writer knows, or in one whose slices it will be made of."""
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


def _longest(column: pa.Array) -> int:
    """At most how many bytes a cell of the column has, or about how many."""
    if isinstance(column, pa.DictionaryArray):
        return _longest(column.dictionary)
    if isinstance(column, pa.RunEndEncodedArray):
        return _longest(column.values)
    if t.is_fixed_size_binary(column.type):
        return int(column.type.byte_width)
    if t.is_string_view(column.type) or t.is_binary_view(column.type):
        return pc.max(_view_lengths(column)).as_py() or 0
    if not (is_text(column.type) or t.is_large_binary(column.type)):
        return NUMBER_BYTES
    return pc.max(pc.binary_length(column)).as_py() or 0


def _view_lengths(column: pa.Array) -> pa.Array:
    """What a view of 16 bytes begins with, for which pyarrow has no function."""
    behind = column.offset + len(column)
    words = pa.Array.from_buffers(pa.int64(), 2 * behind, [None, column.buffers()[1]])
    firsts = pc.list_element(pa.FixedSizeListArray.from_arrays(words, 2), 0)
    lengths = pc.bit_wise_and(firsts, 0xFFFFFFFF).slice(column.offset)
    return pc.if_else(column.is_valid(), lengths, 0)


def _text(column: pa.Array) -> pa.Array:
    """A slice as the CSV writer takes it."""
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


def _written(columns: Sequence[pa.Array]) -> bytes:
    """Text is quoted only where it must be, unless a cell needs it: then all is. It is cut much
    faster without."""
    if len(columns) == 1 and (columns[0].null_count or t.is_string(columns[0].type)):
        # A line with nothing on it would be no row.
        return _csv_text([columns[0].cast(pa.string()).fill_null("")], "needed")
    try:
        return _csv_text(columns, "none")
    except pa.ArrowInvalid:
        return _csv_text(columns, "needed")


def _csv_text(columns: Sequence[pa.Array], quoting: str) -> bytes:
    names = [str(number) for number in range(len(columns))]
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style=quoting)
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(columns, names=names), sink, options)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
