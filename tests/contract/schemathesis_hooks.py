"""For schemathesis: tables that a contract can't describe, good ones and bad ones."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import schemathesis
from hypothesis import strategies as st

_NUMBERS = st.floats(-1e6, 1e6)
_CELLS = st.one_of(
    _NUMBERS.map(repr),
    st.sampled_from(["", "six", "1e400", "true", '"', "\0", "5,5"]),
)
_VALUES = st.one_of(_NUMBERS, st.none(), st.booleans(), st.text(max_size=3))
_COLUMNS = st.sampled_from(["x", "x", "x", "y"])


def _csv(cells: list[str]) -> bytes:
    return ("x\n" + "".join(f"{cell}\n" for cell in cells)).encode()


def _ndjson(values: list[object]) -> bytes:
    return "".join(json.dumps({"x": value}) + "\n" for value in values).encode()


def _table(name: str, numbers: list[float | None]) -> pa.Table:
    return pa.table({name: pa.array(numbers, pa.float64())})


def _parquet(table: pa.Table) -> bytes:
    file = pa.BufferOutputStream()
    pq.write_table(table, file)
    return bytes(file.getvalue().to_pybytes())


def _arrow(table: pa.Table) -> bytes:
    file = pa.BufferOutputStream()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return bytes(file.getvalue().to_pybytes())


_TABLES = st.builds(_table, _COLUMNS, st.lists(st.none() | _NUMBERS, max_size=5))


def _damaged(files: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Some of them cut off somewhere."""
    return st.builds(lambda file, end: file[:end], files, st.none() | st.integers(0, 1000))


schemathesis.openapi.media_type(
    "text/csv", st.lists(_CELLS, max_size=5).map(_csv), aliases=["application/csv"]
)
schemathesis.openapi.media_type(
    "application/x-ndjson", _damaged(st.lists(_VALUES, max_size=5).map(_ndjson))
)
schemathesis.openapi.media_type("application/vnd.apache.parquet", _damaged(_TABLES.map(_parquet)))
schemathesis.openapi.media_type(
    "application/vnd.apache.arrow.stream", _damaged(_TABLES.map(_arrow))
)
