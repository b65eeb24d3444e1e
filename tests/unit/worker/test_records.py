"""Which records can be read at all is told for a whole chunk at once, or for each one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# --- parts of a chunk


@given(
    records=st.lists(
        st.sampled_from([b"1,2\n", b'"a\nb",""\r\n', b"x\n\n", b"\xff,3\r", b",,,\n"]), min_size=1
    ),
    data=st.data(),
)
def test_a_cut_holds_these_records_and_begins_on_their_line(
    records: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(records)
    found = make_records(whole, rows=len(records))
    first = data.draw(st.integers(0, len(records) - 1))
    behind = data.draw(st.integers(first + 1, len(records)))

    part, lines_before = found.cut(first, behind)

    assert part == b"".join(records[first:behind])
    assert lines_before == found.line(first)


def test_blank_lines_before_the_first_record_are_cut_off_and_counted() -> None:
    records = make_records(b"\n\n1,2\n3,4\n", rows=2)

    assert records.cut(0, 1) == (b"1,2\n", 2)
    assert records.cut(1, 2) == (b"3,4\n", 3)


def test_picked_records_are_joined_whole() -> None:
    records = make_records(b'1,2\r\n"a\nb",3\n\nx\n4,5', rows=4)

    assert records.joined([1, 3]) == b'"a\nb",3\n4,5\n'
    assert records.joined([]) == b""
