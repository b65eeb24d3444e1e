"""Data frames on their way to the server and back, as Arrow streams.

The one module that needs pandas and pyarrow; the others import it when a data frame is given or
asked for.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from rowmill.errors import MissingPackageError, SourceError
from rowmill.uploads import OnSent

try:
    import pandas as pd
    import pyarrow as pa
    from pandas.api.types import is_object_dtype
except ModuleNotFoundError as error:
    raise MissingPackageError(str(error.name)) from error

DataFrame: TypeAlias = pd.DataFrame

BATCH_BYTES = 4 * 1024 * 1024
"""Of a record batch, more or less: what sending a frame takes beside the frame itself."""

NULLABLE: dict[Any, Any] = {  # `Any`: pyarrow has no types
    **{getattr(pa, f"int{bits}")(): getattr(pd, f"Int{bits}Dtype")() for bits in (8, 16, 32, 64)},
    **{getattr(pa, f"uint{bits}")(): getattr(pd, f"UInt{bits}Dtype")() for bits in (8, 16, 32, 64)},
    pa.bool_(): pd.BooleanDtype(),
}
"""What keeps integers and booleans beside missing values what they are; numpy's can't."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the predictions of a data frame take over from it, as it was when it was sent."""

    index: "pd.Index[Any]"
    dtypes: "pd.Series[Any]"


def check_key(frame: DataFrame, key: str | None) -> None:
    """Raises `SourceError` for a key that is the frame's index, which the server never sees."""
    if key is not None and key in frame.index.names and key not in frame.columns:
        reason = "the index is not sent; use reset_index()"
        raise SourceError(f"the key column '{key}'", reason)


class FrameUpload:
    """A data frame as a body, without its index; it may be sent any number of times.

    The frame must not be changed meanwhile. Raises `SourceError` for what Arrow has no type for.
    """

    len = 0
    may_be_sent = True

    def __init__(self, frame: DataFrame, on_sent: OnSent | None = None) -> None:
        self.origin = Origin(index=frame.index, dtypes=frame.dtypes)
        self._on_sent = on_sent
        try:
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = " ".join(map(str, error.args))
            raise SourceError("the data frame", reason.rstrip(".")) from error
        self._table = table.replace_schema_metadata(None)

    def __iter__(self) -> Iterator[bytes]:
        sent_bytes = 0
        for block in self._blocks():
            yield block
            sent_bytes += len(block)
            if self._on_sent is not None:
                self._on_sent(sent_bytes)

    def _blocks(self) -> Iterator[bytes]:
        table, sink = self._table, io.BytesIO()
        rows = max(1, BATCH_BYTES * table.num_rows // max(1, table.nbytes))
        with pa.ipc.new_stream(sink, table.schema) as writer:
            for batch in table.to_batches(max_chunksize=rows):
                writer.write_batch(batch)
                yield _taken_from(sink)
        yield _taken_from(sink)


def predictions_from(blocks: Iterable[bytes], origin: Origin | None) -> DataFrame:
    """The frame in an Arrow stream of results.

    With the index of the frame that was sent and the dtypes of its columns that come back; without
    an origin, the number of the row is the index.
    """
    with pa.ipc.open_stream(io.BufferedReader(_Blocks(blocks))) as reader:
        table = reader.read_all()
    frame: DataFrame = table.to_pandas(ignore_metadata=True)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and column.type in NULLABLE:
            frame[name] = column.to_pandas(types_mapper=NULLABLE.get)
    rows = frame.pop("row")
    if origin is None:
        return frame.set_index(pd.Index(rows, name="row"))
    frame.index = origin.index.take(rows.to_numpy() - 1)
    sent = {str(name): dtype for name, dtype in origin.dtypes.items()}
    for name in sent.keys() & set(frame.columns):
        frame[name] = _as_sent(frame[name], sent[name])
    return frame


# `Any`: pandas' dtypes and numpy's have no common type.
def _as_sent(column: "pd.Series[Any]", dtype: Any) -> "pd.Series[Any]":
    """The column in the dtype that it had, unless what came back doesn't go into it."""
    if is_object_dtype(dtype) or column.dtype == dtype:
        return column
    try:
        return column.astype(dtype)
    except (TypeError, ValueError):
        return column


class _Blocks(io.RawIOBase):
    """Blocks as a file."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    # `Any`: a writable buffer, which has no name before Python 3.12.
    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._blocks))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def _taken_from(sink: io.BytesIO) -> bytes:
    """What has been written; it is gone from the sink then."""
    block = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return block
