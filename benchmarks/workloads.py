"""The tables that are scored: ten columns of random numbers, the same in every run.

A table of n rows is the beginning of every longer one.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from benchmarks import cache

COLUMNS = tuple(f"x{number}" for number in range(10))

SEED = 20_261_121
SPREAD = 15.0
DECIMALS = 6
"""With this spread and so many decimals a cell has about 9 characters, a million rows 99 MB."""

BLOCK_ROWS = 10_000
SMALL_JOB_ROWS = 5


def blocks(rows: int) -> Iterator[npt.NDArray[np.float64]]:
    """The table in blocks of at most BLOCK_ROWS × 10."""
    random = np.random.default_rng(SEED)
    for first in range(0, rows, BLOCK_ROWS):
        block = random.normal(0, SPREAD, (BLOCK_ROWS, len(COLUMNS))).round(DECIMALS)
        yield block[: rows - first]


def table(rows: int) -> pd.DataFrame:
    """The first `rows` rows."""
    return pd.DataFrame(np.concatenate(list(blocks(rows))), columns=list(COLUMNS))


def bulk_file(rows: int) -> Path:
    """A CSV file of so many rows, written when it is first asked for."""
    path = cache.folder() / f"bulk-{rows}.csv"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        schema = pa.schema([(column, pa.float64()) for column in COLUMNS])
        options = pyarrow.csv.WriteOptions(quoting_header="none")
        with pyarrow.csv.CSVWriter(unfinished, schema, write_options=options) as writer:
            for block in blocks(rows):
                writer.write(pa.Table.from_arrays(list(block.T.copy()), schema=schema))
        unfinished.rename(path)
    return path


def small_tables(jobs: int, rows: int = SMALL_JOB_ROWS) -> list[pd.DataFrame]:
    """The tables of so many small jobs, of so many rows each, no two alike."""
    whole = table(jobs * rows)
    return [whole.iloc[first : first + rows] for first in range(0, len(whole), rows)]


def csv_body(rows: pd.DataFrame) -> bytes:
    """The rows as the body of a request."""
    text = io.StringIO()
    rows.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()
