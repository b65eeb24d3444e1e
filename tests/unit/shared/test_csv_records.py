"""Records are found where pandas finds them, whatever the file looks like."""

import pytest
from hypothesis import given, settings

from shared import csv_records
from tests.csv_strategies import CsvFile, csv_files, read_by_pandas


def records_of(file: CsvFile) -> list[bytes]:
    """The bytes of each record."""
    found = csv_records.split(file.data, file.masked, file.separator)
    return [file.data[record.start : record.end] for record in found]


@settings(max_examples=70)
@given(csv_files())
def test_split_finds_the_rows_that_pandas_reads(file: CsvFile) -> None:
    one_per_line = b"".join(record + b"\n" for record in records_of(file))

    rows = read_by_pandas(one_per_line, file.delimiter)

    assert rows == read_by_pandas(file.data, file.delimiter)
    assert len(rows) == len(records_of(file))


@settings(max_examples=70)
@given(csv_files())
def test_counting_and_splitting_agree(file: CsvFile) -> None:
    counted = csv_records.count_records(file.masked, file.separator)

    assert counted == len(records_of(file))


@settings(max_examples=70)
@given(csv_files())
def test_a_mask_hides_line_ends_and_delimiters_only_and_moves_nothing(file: CsvFile) -> None:
    changed = [old for old, new in zip(file.data, file.masked, strict=True) if old != new]

    assert set(changed) <= set(b"\r\n" + file.separator)


@settings(max_examples=70)
@given(csv_files())
def test_lines_are_counted_as_a_text_editor_counts_them(file: CsvFile) -> None:
    before = [record.line for record in csv_records.split(file.data, file.masked, file.separator)]

    starts = [r.start for r in csv_records.split(file.data, file.masked, file.separator)]
    universal = [file.data[:s].replace(b"\r\n", b"\n").replace(b"\r", b"\n") for s in starts]
    assert before == [text.count(b"\n") for text in universal]


@settings(max_examples=70)
@given(csv_files())
def test_a_file_cut_behind_any_record_has_no_open_quote(file: CsvFile) -> None:
    for limit in range(1, len(file.data) + 1):
        head = file.data[: csv_records.last_record_end(file.masked, limit)]

        assert not csv_records.ends_inside_quotes(head, file.separator)
        assert not head or head[-1:] in b"\r\n"


@pytest.mark.parametrize("data", [b'"', b'a,"', b'a\n"b', b'a,"b""', b'"a\nb', b'"""'])
def test_a_quote_that_is_never_closed_is_seen(data: bytes) -> None:
    assert csv_records.ends_inside_quotes(data, b",")


@pytest.mark.parametrize("data", [b"", b'""', b'a"', b' "a', b'"a"b"', b'a"\nb', b'"a""",'])
def test_quotes_that_are_closed_or_plain_text_are_not_open(data: bytes) -> None:
    assert not csv_records.ends_inside_quotes(data, b",")


def test_a_cr_at_the_end_is_no_record_end_as_long_as_an_lf_may_follow() -> None:
    assert csv_records.last_record_end(b"a\rb\r", 4) == 2
    assert csv_records.first_record_end(b"ab\r") == 0


def test_a_crlf_is_never_torn_apart() -> None:
    assert csv_records.last_record_end(b"a\r\nb", 2) == 3
    assert csv_records.first_record_end(b"a\r\nb") == 3


def test_what_stands_for_a_blank_line_depends_on_the_delimiter() -> None:
    assert csv_records.count_records(b"a\n\t\nb\n", b",") == 2
    assert csv_records.count_records(b"a\n\t\nb\n", b"\t") == 3
