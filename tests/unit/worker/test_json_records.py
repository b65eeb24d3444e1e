"""Lines of JSON are the table that the same values make as CSV."""

import io
import json

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import csv_records
from shared.jobs import InputFormat
from tests.factories import make_feature, make_plan, make_signature, make_spec
from worker.json_records import JsonRecords
from worker.table import Table, TableReader


def make_records(data: bytes, *header: str) -> JsonRecords:
    spec = make_spec(header=header or ("a", "b"), delimiter="", input_format=InputFormat.NDJSON)
    return JsonRecords(data, spec, rows=csv_records.count_records(data, b""))


def read(data: bytes, *names: str) -> Table:
    """The table of lines whose columns are texts that may be missing."""
    spec = make_spec(header=names, delimiter="", input_format=InputFormat.NDJSON, carried=names[:1])
    features = [make_feature(name, "string", nullable=True) for name in names]
    plan = make_plan(rows=csv_records.count_records(data, b""), first_line=1)
    return TableReader(data, plan, spec=spec, signature=make_signature(*features)).read()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(rows=st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1), ascii_only=st.booleans())
def test_every_text_comes_back(rows: list[tuple[str, str | None]], ascii_only: bool) -> None:
    lines = [json.dumps({"b": b, "a": a}, ensure_ascii=ascii_only) for a, b in rows]

    table = read("\n".join(lines).encode(), "a", "b")

    assert table.errors == []
    assert table.carried["a"].tolist() == [a for a, _ in rows]
    assert table.features["b"].fillna("").tolist() == [b or "" for _, b in rows]


@given(texts=st.lists(st.none() | TEXTS, min_size=1))
@example(texts=["a", " ", None, "\t", "", "b"])
def test_a_single_column_keeps_its_blank_rows(texts: list[str | None]) -> None:
    table = read(b"".join(json.dumps({"a": text}).encode() + b"\n" for text in texts), "a")

    assert table.carried["a"].tolist() == [text or "" for text in texts]


@given(lines=st.lists(st.binary().filter(lambda line: not {10, 13} & set(line)), min_size=1))
def test_whatever_is_sent_each_line_is_read_or_damaged(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    rows = csv_records.count_records(data, b"")
    records = make_records(data)

    damages = list(records.damages())

    assert len(damages) == rows
    assert records.are_sound() == (not any(damages))
    assert [len(records.text_of(position)) for position in range(rows)] == [2] * rows


def test_numbers_keep_every_digit() -> None:
    records = make_records(b'{"a": 0.1000000000000000000001, "b": -123456789012345678901234}\n')

    assert records.table() == b"0.1000000000000000000001,-123456789012345678901234\r\n"


def test_what_was_sent_and_what_is_read_are_two_things() -> None:
    data = b'{"a": 1}\n\n{"b": "x,y", "a": [1]}\r\n{"b": "x,y"}'
    records = make_records(data)

    assert records.joined([0, 2]) == b'1,\r\n,"x,y"\r\n'
    assert records.sent([1, 2]) == b'{"b": "x,y", "a": [1]}\n{"b": "x,y"}\n'
    assert records.cut(1, 2) == (b'{"b": "x,y", "a": [1]}\r\n', 2)
    assert records.text_of(1) == ["", "x,y"]
    assert pd.read_csv(io.BytesIO(records.joined([2])), header=None).shape == (1, 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a": 1', "invalid_json"),
        (b'{"a": "\t"}', "invalid_json"),
        (b"3", "invalid_json"),
        (b'{"a": 1, "c": 1, "c": 2}', "repeated_key"),
        (b'{"a": {}}', "nested_value"),
        (b'{"a": {"c": 1, "c": 2}}', "nested_value"),
        (b'{"a": "\\u0000"}', "nul_byte"),
        (b'{"a": "\\udfff"}', "invalid_utf8"),
        (b'{"a": "\xff"}', "invalid_utf8"),
        (b'{"a": ' + b"[" * 50_000, "invalid_json"),
    ],
)
def test_a_damaged_line_says_why(line: bytes, code: str) -> None:
    records = make_records(line)

    assert [damage and damage.code for damage in records.damages()] == [code]
    assert not records.are_sound()
