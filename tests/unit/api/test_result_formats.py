"""Lines of CSV come out in every format as what they say."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import NotAcceptable

from api.result_formats import ERROR_LAYOUT, Layout, ResultFormat, liked_best, rendered
from shared.signature import Dtype, OutputColumn

LAYOUT = Layout(
    columns=(
        OutputColumn(name="row", dtype=Dtype.INT),
        OutputColumn(name="key", dtype=Dtype.STRING),
        OutputColumn(name="score", dtype=Dtype.FLOAT),
        OutputColumn(name="good", dtype=Dtype.BOOL),
        OutputColumn(name="error", dtype=Dtype.STRING),
    )
)
RECORDS = [ResultFormat.NDJSON, ResultFormat.JSON]


def body(texts: Iterable[bytes], wanted: ResultFormat, layout: Layout = LAYOUT) -> bytes:
    return b"".join(rendered(layout, iter(texts), wanted))


def records(wanted: ResultFormat, *texts: bytes, layout: Layout = LAYOUT) -> list[dict[str, Any]]:
    text = body(texts, wanted, layout).decode()
    if wanted is ResultFormat.JSON:
        return list(json.loads(text))
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_results_have_a_header_and_the_lines_of_all_chunks() -> None:
    found = body([b"1,a,0.5,true,\n", b"2,b,1,false,\n"], ResultFormat.CSV)

    assert found == b"row,key,score,good,error\n1,a,0.5,true,\n2,b,1,false,\n"


@pytest.mark.parametrize("wanted", RECORDS)
def test_values_become_json_in_their_types(wanted: ResultFormat) -> None:
    assert records(wanted, b"1,7,0.1,true,\n", b"2,NA,,,bad\n") == [
        {"row": 1, "key": "7", "score": 0.1, "good": True, "error": None},
        {"row": 2, "key": "NA", "score": None, "good": None, "error": "bad"},
    ]


@pytest.mark.parametrize("wanted", RECORDS)
def test_what_json_can_not_say_is_null(wanted: ResultFormat) -> None:
    rows = records(wanted, b"1,,nan,,bad\n2,,inf,,\n3,,-inf,false,\n")

    assert [row["score"] for row in rows] == [None, None, None]
    assert [row["good"] for row in rows] == [None, None, False]
    assert all(json.dumps(row, allow_nan=False) for row in rows)


@settings(max_examples=100)
@given(
    st.sampled_from(RECORDS),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5),
)
def test_any_text_is_in_json_and_reads_back(wanted: ResultFormat, keys: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([1, key, 0.5, "true", ""] for key in keys)

    assert [row["key"] for row in records(wanted, text.getvalue().encode())] == keys


@pytest.mark.parametrize("texts", [[], [b""], [b"", b""]])
def test_a_list_without_rows_is_a_list(texts: list[bytes]) -> None:
    assert json.loads(body(texts, ResultFormat.JSON)) == []


def test_a_list_is_one_list_however_many_chunks_it_comes_from() -> None:
    found = records(ResultFormat.JSON, b"", b"1,a,1,true,\n2,b,1,true,\n", b"", b"3,c,1,true,\n")

    assert [row["row"] for row in found] == [1, 2, 3]


@pytest.mark.parametrize("wanted", ResultFormat)
def test_row_errors_come_in_every_format(wanted: ResultFormat) -> None:
    line = b'3,5,x,not_a_number,"No, ""a"""\n'

    found = body([line], wanted, ERROR_LAYOUT)

    assert found
    if wanted is ResultFormat.CSV:
        assert found == b"row,line,column,code,message\n" + line
    if wanted in RECORDS:
        (error,) = records(wanted, line, layout=ERROR_LAYOUT)
        assert list(error.values()) == [3, 5, "x", "not_a_number", 'No, "a"']


@pytest.mark.parametrize("wanted", ResultFormat)
def test_an_empty_text_gives_a_piece_so_that_a_client_can_be_looked_after(
    wanted: ResultFormat,
) -> None:
    asked = iter(range(100))
    pieces = rendered(LAYOUT, (b"" for _ in asked), wanted)

    found = [next(pieces) for _ in range(3)]

    assert found.count(b"") >= 2
    assert next(asked) <= 3


# --- choice


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "csv"),
        ("*/*", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "csv"),
        ("application/json", "json"),
        ("application/json;q=0.5, application/vnd.apache.parquet", "parquet"),
        ("application/vnd.apache.arrow.stream, */*;q=0.1", "arrow"),
        ("application/*", "ndjson"),
        ("application/*;q=0.9, application/json", "json"),
        ("text/csv;q=0, application/json;q=0.1", "json"),
    ],
)
def test_the_format_is_the_one_that_is_liked_best(accept: str | None, expected: str) -> None:
    assert liked_best(accept) == expected


@pytest.mark.parametrize("accept", ["text/html", "text/csv;q=0", "image/*"])
def test_a_refusal_lists_all_formats(accept: str) -> None:
    with pytest.raises(NotAcceptable) as refusal:
        liked_best(accept)

    assert all(wanted.media_type in str(refusal.value.description) for wanted in ResultFormat)
