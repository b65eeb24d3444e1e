"""Which records can be read at all is told for a whole chunk at once, or for each one."""

import pytest

from tests.factories import make_spec
from worker.records import ChunkRecords


def make_records(data: bytes, *, rows: int, delimiter: str = ",") -> ChunkRecords:
    return ChunkRecords(data, make_spec(header=("a", "b"), delimiter=delimiter), rows=rows)


def codes(records: ChunkRecords) -> list[str | None]:
    return [damage and damage.code for damage in records.damages()]


@pytest.mark.parametrize(
    "data", [b"1,2\n3,4\n", b"1,2\n3,4", b"1,2\r\n3,4\r\n", b'"1\r\n",2\n"a,b",""\n', b",\n,\n"]
)
def test_a_chunk_as_most_files_have_it_is_told_sound_at_a_glance(data: bytes) -> None:
    records = make_records(data, rows=2)

    assert records.are_sound()
    assert codes(records) == [None, None]


@pytest.mark.parametrize(
    "data", [b"1,2\r3,4\r", b"1,2\n\r,4\n", b"1,2\n\n3,4\n", b"1,2\r\n3,4\n", b"1,2\r\n3,4\r"]
)
def test_a_chunk_with_odd_line_ends_is_looked_at_record_by_record(data: bytes) -> None:
    records = make_records(data, rows=2)

    assert not records.are_sound()
    assert codes(records) == [None, None]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"1\n", "wrong_field_count"),
        (b"1,2,3\n", "wrong_field_count"),
        (b"1,\0\n", "nul_byte"),
        (b"\xe4,1\n", "invalid_utf8"),
        (b"\xe4,\0,1\n", "invalid_utf8"),
    ],
)
def test_a_damaged_record_is_told_by_the_first_thing_wrong_with_it(data: bytes, code: str) -> None:
    records = make_records(b"1,2\n" + data + b"3,4\n", rows=3)

    assert not records.are_sound()
    assert codes(records) == [None, code, None]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('"a;1";b', ["a;1", "b"]),
        ('"a ""b""";', ['a "b"', ""]),
        ("a", ["a", ""]),
        ("a;b;c", ["a", "b"]),
        ('"a\r\nb";"\u2028"', ["a\r\nb", "\u2028"]),
        ('"a"b";c"', ['ab"', 'c"']),
    ],
)
def test_the_text_of_a_record_has_as_many_fields_as_the_header(
    text: str, fields: list[str]
) -> None:
    assert make_records(text.encode(), rows=1, delimiter=";").text_of(0) == fields
