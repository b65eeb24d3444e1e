"""Tables in the formats that a body may have, for tests that send them."""

import io
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}


def parquet(table: pa.Table | pd.DataFrame, **options: object) -> bytes:
    sink = io.BytesIO()
    table = pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else table
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(table: pa.Table | Sequence[pa.RecordBatch], *, compression: str | None = None) -> bytes:
    batches = table.to_batches() if isinstance(table, pa.Table) else table
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()
