"""However a body arrives and wherever it is cut, every row is in one chunk, in order."""

import csv
import hashlib
import io
from itertools import accumulate, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.intake import csv_intake
from api.intake.bodies import Body
from api.intake.csv_intake import CsvIntake, Limits
from shared import csv_records
from shared.chunks import ChunkPlan
from shared.errors import (
    EmptyInputError,
    EncodingError,
    InputError,
    RecordTooLargeError,
    TooManyColumnsError,
    TooManyRowsError,
    UnclosedQuoteError,
)
from shared.jobs import InputFormat
from tests.csv_strategies import CsvFile, csv_files, read_by_pandas

Chunks = list[tuple[ChunkPlan, bytes]]


def make_intake(
    body: bytes,
    *,
    block_bytes: int = 1000,
    delimiter: str = ",",
    max_chunk_bytes: int = 10**6,
    max_record_bytes: int = 10**6,
    max_rows: int = 10**6,
) -> CsvIntake:
    blocks = (body[at : at + block_bytes] for at in range(0, len(body), block_bytes))
    limits = Limits(chunk_bytes=max_chunk_bytes, record_bytes=max_record_bytes, rows=max_rows)
    return CsvIntake(Body(blocks, InputFormat.CSV), delimiter=delimiter, limits=limits)


def header_of(body: bytes, **options: int | str) -> tuple[str, ...]:
    return make_intake(body, **options).header(max_columns=100)


def cut(body: bytes, *, rows: int = 10**6, **options: int | str) -> Chunks:
    """All chunks of a body whose header is one line."""
    taken = make_intake(body, **options)
    taken.header(max_columns=100)
    return list(taken.chunks(lambda: rows))


def records(chunks: Chunks, delimiter: bytes = b",") -> list[tuple[int, bytes]]:
    """Line in the body and bytes of every record in the chunks."""
    return [
        (plan.first_line + record.line, data[record.start : record.end])
        for plan, data in chunks
        for record in csv_records.split(data, csv_records.mask(data, delimiter), delimiter)
    ]


@pytest.fixture(params=[1, csv_intake.FIRST_LOOK_BYTES])
def first_look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Search for a record's end from its first byte on, and as it is done on real bodies."""
    monkeypatch.setattr(csv_intake, "FIRST_LOOK_BYTES", request.param)


def examples(number: int) -> settings:
    # The fixture above is the same for all examples of a test. Making large files may take a while.
    shared_fixture = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=number, suppress_health_check=shared_fixture)


@examples(40)
@given(file=csv_files(), block_bytes=st.integers(1, 12))
def test_every_chunk_size_gives_every_row_once_and_in_order(
    first_look: None, file: CsvFile, block_bytes: int
) -> None:
    body = b"header\n" + file.data
    options = {"delimiter": file.delimiter, "block_bytes": block_bytes}
    whole = cut(body, **options)

    for size in range(1, len(file.data) + 2):
        chunks = cut(body, max_chunk_bytes=size, **options)

        assert records(chunks, file.separator) == records(whole, file.separator)
        assert_contiguous([plan for plan, _ in chunks])


def assert_contiguous(plans: list[ChunkPlan]) -> None:
    """Numbers and rows follow each other without a gap, and lines never go back."""
    assert [plan.number for plan in plans] == list(range(len(plans)))
    ends = accumulate((plan.rows for plan in plans), initial=1)
    assert [plan.first_row for plan in plans] == list(ends)[:-1]
    assert all(before.first_line < after.first_line for before, after in pairwise(plans))


@examples(25)
@given(file=csv_files(), rows=st.integers(1, 5), block_bytes=st.integers(1, 12))
def test_chunks_hold_the_rows_and_cells_that_pandas_reads(
    first_look: None, file: CsvFile, rows: int, block_bytes: int
) -> None:
    body = b"\xef\xbb\xbfheader\r\n" + file.data

    chunks = cut(body, rows=rows, delimiter=file.delimiter, block_bytes=block_bytes)

    assert sum(plan.rows for plan, _ in chunks) == len(records(chunks, file.separator))
    one_per_line = b"".join(record + b"\n" for _, record in records(chunks, file.separator))
    expected = read_by_pandas(file.data, file.delimiter)
    assert read_by_pandas(one_per_line, file.delimiter) == expected


@examples(25)
@given(file=csv_files(), size=st.integers(1, 40))
def test_the_line_of_a_chunk_is_where_it_stands_in_the_body(
    first_look: None, file: CsvFile, size: int
) -> None:
    chunks = cut(b"header\n" + file.data, max_chunk_bytes=size, delimiter=file.delimiter)

    whole = csv_records.split(file.data, file.masked, file.separator)
    expected = [2 + record.line for record in whole]
    assert [line for line, _ in records(chunks, file.separator)] == expected


@examples(25)
@given(file=csv_files(), size=st.integers(1, 40))
def test_a_chunk_is_the_bytes_that_were_sent(first_look: None, file: CsvFile, size: int) -> None:
    body = b"header\n" + file.data

    chunks = cut(body, max_chunk_bytes=size, delimiter=file.delimiter)

    at = 0
    for _, data in chunks:
        assert data in body[at:]
        at = body.index(data, at) + len(data)


@settings(max_examples=60)
@given(
    blank=st.sampled_from(["", "\n", "\r\n", " \n", "\n \r\n\n"]),
    names=st.lists(st.text('ab", \r\n', min_size=1), min_size=1, max_size=3),
    file=csv_files(),
    block_bytes=st.integers(1, 12),
)
def test_a_header_ends_in_the_same_place_however_it_is_looked_for(
    blank: str, names: list[str], file: CsvFile, block_bytes: int
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=file.delimiter).writerow(["first", *names])
    body = f"{blank}{text.getvalue()}".encode() + file.data
    found = []

    for look in (1, csv_intake.FIRST_LOOK_BYTES):
        for size in (block_bytes, len(body)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(csv_intake, "FIRST_LOOK_BYTES", look)
                taken = make_intake(body, block_bytes=size, delimiter=file.delimiter)
                header = taken.header(max_columns=100)
                chunks = list(taken.chunks(lambda: 10**6))
            found.append((header, records(chunks, file.separator)))

    assert found == [found[0]] * 4
    assert found[0][0] == ("first", *names)


ODD_TEXTS = ["plain", "with, comma", 'with "quotes"', "two\nlines", "a\r\nb", '",\n",', "", "漢字"]


@pytest.fixture(scope="module")
def large() -> tuple[bytes, pd.DataFrame]:
    """200,000 rows with commas, quotes and newlines in quotes, and what pandas reads of them."""
    odd = np.random.default_rng(5).choice(ODD_TEXTS, size=(200_000, 2)).tolist()
    rows = [(number, first, 0.5, second) for number, (first, second) in enumerate(odd, start=1)]
    text = io.StringIO()
    csv.writer(text).writerows([("row", "first", "number", "second"), *rows])
    body = text.getvalue().encode()
    return body, pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False)


@settings(max_examples=4)
@given(rows=st.integers(25, 2_000))
def test_200_000_rows_of_quoted_text_are_cut_small_between_rows_only(
    large: tuple[bytes, pd.DataFrame], rows: int
) -> None:
    body, expected = large

    chunks = cut(body, rows=rows, block_bytes=2**18)

    assert_contiguous([plan for plan, _ in chunks])
    assert sum(plan.rows for plan, _ in chunks) == len(expected)
    assert all(data.startswith(b"%d," % plan.first_row) for plan, data in chunks)
    assert b"row,first,number,second\r\n" + b"".join(data for _, data in chunks) == body


def test_200_000_rows_of_quoted_text_are_read_in_chunks_as_pandas_reads_them_at_once(
    large: tuple[bytes, pd.DataFrame],
) -> None:
    body, expected = large

    chunks = cut(body, rows=2_000, block_bytes=2**18)

    options = {"names": expected.columns, "dtype": str, "keep_default_na": False}
    tables = [pd.read_csv(io.BytesIO(data), **options) for _, data in chunks]
    assert [len(table) for table in tables] == [plan.rows for plan, _ in chunks]
    pd.testing.assert_frame_equal(pd.concat(tables, ignore_index=True), expected)


def test_chunks_are_about_as_large_as_wanted() -> None:
    body = b"x\n" + b"1234\n" * 10_000

    sizes = [plan.rows for plan, _ in cut(body, rows=1_000)]

    assert all(900 <= size <= 1_100 for size in sizes[:-1])


def test_the_wanted_number_of_rows_may_change_while_a_body_arrives() -> None:
    taken = make_intake(b"x\n" + b"1\n" * 300)
    taken.header(max_columns=100)
    wanted = iter([10, 100, 500, 500])

    assert [plan.rows for plan, _ in taken.chunks(lambda: next(wanted))] == [10, 100, 190]


def test_no_chunk_of_several_rows_is_larger_than_allowed() -> None:
    chunks = cut(b"x\n" + b"1234\n" * 1_000, rows=10_000, max_chunk_bytes=512)

    assert max(len(data) for _, data in chunks) <= 512


def test_the_checksum_is_of_all_that_was_read() -> None:
    body = b"\xef\xbb\xbfx\n\n1\n\n"
    received = Body(iter([body[:5], body[5:]]), InputFormat.CSV)
    limits = Limits(chunk_bytes=100, record_bytes=100)
    taken = CsvIntake(received, delimiter=",", limits=limits)

    taken.header(max_columns=1)
    list(taken.chunks(lambda: 1))

    assert received.sha256 == hashlib.sha256(body).hexdigest()
    assert received.input_bytes == len(body)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 1000])
@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"a,b\n1,2\n", ("a", "b")),
        (b"a,b", ("a", "b")),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", ("a", "b")),
        (b"\n \r\na,b\r1,2", ("a", "b")),
        (b'"a ""b""","c\nd",\n', ('a "b"', "c\nd", "")),
        (b'\xef\xbb\xbf"a,b"\n', ("a,b",)),
        ("größe,漢\n".encode(), ("größe", "漢")),
    ],
)
def test_column_names_are_read_from_the_first_record(
    body: bytes, names: tuple[str, ...], block_bytes: int
) -> None:
    assert header_of(body, block_bytes=block_bytes) == names


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", EmptyInputError),
        (b"\xef\xbb\xbf", EmptyInputError),
        (b"\n\r\n  \n", EmptyInputError),
        ("a,b\n".encode("utf-16"), EncodingError),
        ("größe\n".encode("latin-1"), EncodingError),
        (b"a,\0b\n", EncodingError),
        (b"a,b,c,d\n", TooManyColumnsError),
        (b'a,"b\n1,2\n', UnclosedQuoteError),
        (b"a" * 5_000, RecordTooLargeError),
    ],
)
def test_a_header_that_is_none_is_refused(body: bytes, error: type[InputError]) -> None:
    taken = make_intake(body, max_record_bytes=4_096)

    with pytest.raises(error):
        taken.header(max_columns=3)


def test_a_header_without_rows_gives_no_chunk() -> None:
    assert cut(b"x\n\n  \n") == []


def test_blank_lines_between_the_rows_are_in_no_count() -> None:
    chunks = cut(b"x\n\n1\n\n\n2\n  \n", rows=1)

    assert records(chunks) == [(3, b"1"), (6, b"2")]
    assert sum(plan.rows for plan, _ in chunks) == 2


def test_a_quote_never_closed_is_reported_by_the_line_it_opens_in() -> None:
    with pytest.raises(UnclosedQuoteError, match="line 4 "):
        cut(b'a,b\n1,"2\n"\n3,"4\n5,6\n')


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_rows_before_a_quote_never_closed_are_lost_to_no_chunk_size(rows: int) -> None:
    taken = make_intake(b'x\n1\n2\n"3\n4\n')
    taken.header(max_columns=1)

    with pytest.raises(UnclosedQuoteError, match="line 4 "):
        list(taken.chunks(lambda: rows))


@pytest.mark.parametrize("rows", [1, 7, 10_000])
@pytest.mark.parametrize("before", [0, 1, 50])
def test_a_record_is_too_long_whatever_stands_before_it(before: int, rows: int) -> None:
    body = b"x\n" + b"1\n" * before + b"2" * 70_000 + b"\n3\n"

    with pytest.raises(RecordTooLargeError, match=f"line {before + 2} "):
        cut(body, rows=rows, max_record_bytes=69_000, max_chunk_bytes=2**16)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_more_rows_than_allowed_are_refused(rows: int) -> None:
    body = b"x\n" + b"1\n" * 10

    assert sum(plan.rows for plan, _ in cut(body, rows=rows, max_rows=10)) == 10
    with pytest.raises(TooManyRowsError):
        cut(body, rows=rows, max_rows=9)


def test_a_record_as_long_as_allowed_is_taken() -> None:
    body = b"x\n" + b"2" * 69_999 + b"\n3\n"

    chunks = cut(body, rows=1, max_record_bytes=70_000, max_chunk_bytes=2**16)

    assert sum(plan.rows for plan, _ in chunks) == 2
