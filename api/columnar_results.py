"""Results as columns in their types: a stream of Arrow record batches, or a Parquet file.

Of what the API sends this alone needs pyarrow, which takes 40 MB: a process that is never asked for
it doesn't import this module. numpy is not needed.

An empty cell is null in every column, texts included: in CSV an empty text looks the same.
"""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from shared.signature import Dtype, OutputColumn

ROW_GROUP_ROWS = 64 * 1024
ROW_GROUP_BYTES = 16 * 1024**2
"""A row group has the rows of whole chunks, until there are so many or they take so much: readers
skip and read in row groups, which would be tiny with chunks of a slow model."""

EPOCH = "1970-01-01"

_ARROW_TYPES = {
    Dtype.FLOAT: pa.float64(),
    Dtype.INT: pa.int64(),
    Dtype.BOOL: pa.bool_(),
    Dtype.STRING: pa.string(),
}


def arrow_stream(
    columns: Sequence[OutputColumn], texts: Iterator[bytes], *, carried_types: str = ""
) -> Iterator[bytes]:
    """A record batch for each text, behind their schema. An empty text stays one."""
    lines, sink = ResultLines(columns, carried_types), _Sink()
    with pa.ipc.new_stream(sink, lines.schema) as writer:
        yield sink.taken()
        for text in texts:
            if text:
                writer.write_batch(lines.batch(text))
            yield sink.taken()
    yield sink.taken()


def parquet_file(
    columns: Sequence[OutputColumn], texts: Iterator[bytes], *, carried_types: str = ""
) -> Iterator[bytes]:
    """A file whose row groups are sent as they are full; an empty piece where none is."""
    lines, sink = ResultLines(columns, carried_types), _Sink()
    gathered: list[Any] = []
    with pa.parquet.ParquetWriter(sink, lines.schema, compression="zstd") as writer:
        yield sink.taken()
        for text in texts:
            if text:
                gathered.append(lines.batch(text))
            if _are_enough(gathered):
                _write_row_group(writer, gathered)
            yield sink.taken()
        if gathered:
            _write_row_group(writer, gathered)
    yield sink.taken()


# Any: pyarrow has no types.
def _are_enough(batches: Sequence[Any]) -> bool:
    rows: int = sum(batch.num_rows for batch in batches)
    size_bytes: int = sum(batch.nbytes for batch in batches)
    return rows >= ROW_GROUP_ROWS or size_bytes >= ROW_GROUP_BYTES


def _write_row_group(writer: Any, gathered: list[Any]) -> None:
    table = pa.Table.from_batches(gathered)
    gathered.clear()
    writer.write_table(table, row_group_size=table.num_rows)


def carried_dtypes(carried_types: str) -> tuple[Dtype, ...]:
    """What JSON makes of the carried columns: numbers, booleans, and texts of all else."""
    return tuple(_dtype(field.type) for field in _fields_of(carried_types))


def _dtype(wanted: Any) -> Dtype:
    if pa.types.is_integer(wanted):
        return Dtype.INT
    if pa.types.is_floating(wanted):
        return Dtype.FLOAT
    return Dtype.BOOL if pa.types.is_boolean(wanted) else Dtype.STRING


class ResultLines:
    """Result lines of one job, read as columns."""

    def __init__(self, columns: Sequence[OutputColumn], carried_types: str) -> None:
        types = [_ARROW_TYPES[column.dtype] for column in columns]
        fields = _fields_of(carried_types)
        carried = [_result_type(field.type) for field in fields]
        # They stand behind the row's number, perhaps under other names than in the input.
        types[1 : 1 + len(carried)] = carried
        names = [column.name for column in columns]
        metadata = _pandas_metadata(names, {1 + n: field for n, field in enumerate(fields)})
        self.schema = pa.schema(list(zip(names, types, strict=True)), metadata)
        self._carried = range(1, 1 + len(carried))
        self._numbers = [str(number) for number in range(len(names))]
        self._parse_options = pa.csv.ParseOptions(newlines_in_values=True)
        # Not every cell of a carried column may be one of its type, so first they are texts.
        types[1 : 1 + len(carried)] = [pa.string() for _ in carried]
        self._convert_options = pa.csv.ConvertOptions(
            column_types=dict(zip(self._numbers, types, strict=True)),
            null_values=[""],  # and not "NA", "null" and the like
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            true_values=["true"],
            false_values=["false"],
        )

    def batch(self, text: bytes) -> Any:
        """The lines of a text, of which there is at least one, as a record batch."""
        options = pa.csv.ReadOptions(
            column_names=self._numbers, use_threads=False, block_size=len(text)
        )
        table = pa.csv.read_csv(
            pa.py_buffer(text), options, self._parse_options, self._convert_options
        )
        arrays = [column.combine_chunks() for column in table.columns]
        for number in self._carried:
            arrays[number] = _converted(arrays[number], self.schema.types[number])
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _fields_of(carried_types: str) -> list[Any]:
    if not carried_types:
        return []
    return list(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(carried_types))))


def _pandas_metadata(names: Sequence[str], carried: Mapping[int, Any]) -> dict[str, str]:
    """Metadata by which pandas gives columns the types of its own that they had.

    Source: https://pandas.pydata.org/docs/development/developer.html
    """
    types = {
        names[at]: field.metadata[b"pandas"].decode()
        for at, field in carried.items()
        if field.metadata and b"pandas" in field.metadata
    }
    if not types:
        return {}
    columns = [
        {"name": name, "field_name": name, "pandas_type": known.lower(), "numpy_type": known}
        | {"metadata": None}
        for name, known in types.items()
    ]
    return {"pandas": json.dumps({"index_columns": [], "column_indexes": [], "columns": columns})}


def _result_type(wanted: Any) -> Any:
    """The type itself, or text if no text can be read as one."""
    if pa.types.is_dictionary(wanted):
        # A batch has the categories that it shows: their order, and how many there are, is unknown.
        return pa.dictionary(pa.int32(), _result_type(wanted.value_type))
    if isinstance(wanted, pa.BaseExtensionType):
        return pa.string()
    try:
        _cast(pa.nulls(1, pa.string()), wanted)
    except pa.ArrowNotImplementedError:
        return pa.string()
    return wanted


def _converted(texts: Any, wanted: Any) -> Any:
    """Values of a type; null where a text is none, as may be in a row that could not be read."""
    if pa.types.is_dictionary(wanted):
        return _converted(texts, wanted.value_type).dictionary_encode()
    try:
        return _cast(texts, wanted)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return pa.nulls(1, wanted)
    # Few are bad as a rule, so they are found in few steps.
    half = len(texts) // 2
    return pa.concat_arrays([_converted(part, wanted) for part in (texts[:half], texts[half:])])


def _cast(texts: Any, wanted: Any) -> Any:
    if pa.types.is_time(wanted):
        moments = pa.compute.binary_join_element_wise(EPOCH, texts, " ")
        return moments.cast(pa.timestamp(wanted.unit)).cast(wanted)
    if pa.types.is_duration(wanted):
        return texts.cast(pa.int64()).cast(wanted)
    return texts.cast(wanted)


class _Sink(io.RawIOBase):
    """A file that is only written, and what was written since one last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    # Any: what pyarrow hands over to be written.
    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        piece = b"".join(self._pieces)
        self._pieces.clear()
        return piece
