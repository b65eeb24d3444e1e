"""A Parquet file whose pages claim to become, or to hold, more than they can is found out before
anything is decoded; whatever is sound goes through."""

import io
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.intake.columnar_tables import ParquetTable
from api.intake.parquet_pages import check_pages
from api.intake.thrift import ThriftReader
from shared.errors import BodyTooLargeError, DamagedFileError, RowmillError
from tests.fuzz.mutator import Mutator

LIMIT = 500_000
ROWS = 5_000
TYPE_OF_PAGE = b"\x15\x00\x15"
"""A field of a page's head that says it holds data, and how the next one begins: its size."""

NUMBERS = pa.table({"x": np.random.default_rng(1).normal(size=ROWS)})
MIXED = pa.Table.from_pandas(
    pd.DataFrame(
        {
            "x": [1.5, None, 3.0] * 400,
            "t": ["a", None, "b" * 50] * 400,
            "b": [True, False, None] * 400,
            "n": pd.array([1, None, 3] * 400, dtype="Int64"),
            "w": pd.date_range("2026-11-26", periods=1200, tz="UTC"),
        }
    )
)


def written(table: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def varint(number: int) -> bytes:
    """A number as the protocol has it, zigzag."""
    left, found = number << 1, bytearray()
    while left > 127:
        found.append(left & 127 | 128)
        left >>= 7
    return bytes([*found, left])


def plain() -> bytes:
    """A file of one page, which begins behind the four bytes of its name."""
    return written(
        NUMBERS, use_dictionary=False, compression="snappy", write_statistics=False,
        data_page_size=1024**2,
    )  # fmt: skip


def with_sizes(file: bytes, *, inflated: int | None = None, stored: int | None = None) -> bytes:
    """The same with other sizes in the head of its page, which take as many bytes to write."""
    assert file[4:7] == TYPE_OF_PAGE
    reader = ThriftReader(file[7:])
    first = reader.number()
    head = 7 + reader.at
    second = ThriftReader(file[head + 1 :])
    sizes = (first, second.number())
    end = head + 1 + second.at
    new = [
        old if size is None else size for old, size in zip(sizes, (inflated, stored), strict=True)
    ]
    changed = varint(new[0]) + b"\x15" + varint(new[1])
    assert len(changed) == end - 7
    return file[:7] + changed + file[end:]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("has_dictionary", [True, False])
def test_sound_files_go_through(compression: str, version: str, *, has_dictionary: bool) -> None:
    file = written(
        MIXED, compression=compression, data_page_version=version, use_dictionary=has_dictionary,
        row_group_size=500, data_page_size=512, write_page_index=True,
    )  # fmt: skip
    check_pages(io.BytesIO(file), limit_bytes=LIMIT)
    table = ParquetTable(io.BytesIO(file), limit_bytes=LIMIT)
    lines = b"".join(table.csv_blocks(table.names(), ["x"]))
    assert len(lines.splitlines()) == 1200


def test_an_empty_table_goes_through() -> None:
    for options in ({}, {"use_dictionary": False}, {"data_page_version": "2.0"}):
        empty = io.BytesIO(written(NUMBERS.slice(0, 0), **options))
        check_pages(empty, limit_bytes=LIMIT)


def test_the_head_is_read_where_texts_make_it_long() -> None:
    long = pa.table({"t": ["a" * 20_000, "b" * 20_000]})
    check_pages(io.BytesIO(written(long)), limit_bytes=LIMIT)


def test_a_page_that_claims_to_become_large_is_refused() -> None:
    file = plain()
    assert with_sizes(file) == file
    with pytest.raises(BodyTooLargeError):
        check_pages(io.BytesIO(with_sizes(file, inflated=1_000_000)), limit_bytes=LIMIT)


def test_a_page_that_claims_to_be_stored_in_more_than_there_is_is_refused() -> None:
    lying = with_sizes(plain(), stored=1_000_000)
    with pytest.raises(ValueError, match="outside of its chunk"):
        check_pages(io.BytesIO(lying), limit_bytes=LIMIT)


def test_pages_are_counted_together_by_group() -> None:
    file = written(NUMBERS, use_dictionary=False, data_page_size=1024)
    with pytest.raises(BodyTooLargeError):
        check_pages(io.BytesIO(file), limit_bytes=30_000)
    several = written(NUMBERS, use_dictionary=False, row_group_size=1000)
    check_pages(io.BytesIO(several), limit_bytes=30_000)


def test_whoever_sends_such_a_file_is_told_and_nothing_is_decoded() -> None:
    table = ParquetTable(io.BytesIO(with_sizes(plain(), stored=1_000_000)), limit_bytes=LIMIT)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(DamagedFileError):
        list(table.csv_blocks(["x"], ["x"]))
    assert pa.default_memory_pool().max_memory() - before < LIMIT


def test_whatever_bytes_there_are_they_are_refused_or_read() -> None:
    mutator = Mutator(Random(11))
    files = [plain(), written(MIXED, row_group_size=300), written(MIXED, compression="zstd")]
    for number in range(3000):
        file = mutator.mutated(files[number % len(files)])
        try:
            check_pages(io.BytesIO(file), limit_bytes=LIMIT)
        except (RowmillError, ValueError, IndexError, KeyError):
            continue


def test_values_of_every_type_are_passed_over() -> None:
    # A struct of: true, byte, i16, i32, i64, double, text, list, set, map, struct.
    value = (
        b"\x11\x13\x05\x14\x02\x15\x04\x16\x06\x17" + bytes(8) + b"\x18\x02ab\x19\x28\x01x\x01y"
        b"\x1a\x12\x01\x1b\x01\x58\x02\x01z\x1c\x15\x02\x00\x00"
    )
    reader = ThriftReader(value + b"rest")
    reader.skip(12)
    assert value[reader.at :] == b""


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [
        (b"\xff" * 11, 6, ValueError),
        (b"\x1c" * 40, 12, ValueError),
        (b"\x0e", 14, ValueError),
        (b"\x05ab", 8, IndexError),
        (b"\xf5\xff\xff\x03", 9, ValueError),
        (b"\x15", 12, IndexError),
    ],
)
def test_values_that_can_not_be_are_refused(
    value: bytes, kind: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ThriftReader(value).skip(kind)
