"""A chunk's records as features: all good rows, whatever is wrong with their neighbours."""

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import csv_records
from shared.signature import Feature
from tests.factories import make_feature, make_plan, make_signature, make_spec
from worker.table import Table, TableReader

PERSON = (
    make_feature("age", "int64"),
    make_feature("height", "float64", nullable=True),
    make_feature("city", "string", categories=("Bonn", "Kiel"), accepts_unseen=False),
    make_feature("member", "bool"),
)
HEADER = ("note", "age", "height", "city", "member")
GOOD = "hello,30,1.75,Bonn,true"


def read(
    data: str | bytes,
    *,
    features: tuple[Feature, ...] = PERSON,
    header: tuple[str, ...] = HEADER,
    first_row: int = 1,
    first_line: int = 2,
    **spec: Any,
) -> Table:
    """The table of a chunk; its rows are counted as the API counts them."""
    data = data.encode() if isinstance(data, str) else data
    job = make_spec(header=header, **spec)
    delimiter = job.delimiter.encode()
    rows = csv_records.count_records(csv_records.mask(data, delimiter), delimiter)
    plan = make_plan(rows=rows, first_row=first_row, first_line=first_line)
    return TableReader(data, plan, spec=job, signature=make_signature(*features)).read()


def read_numbers(data: str | bytes, **changes: Any) -> Table:
    """The table of a chunk with the numeric columns a and b, in which cells may be missing."""
    features = (make_feature("a", nullable=True), make_feature("b", nullable=True))
    return read(data, features=features, header=("a", "b"), **changes)


def faults(table: Table) -> list[tuple[int, int, str, str]]:
    """Row, line, column and code of every row error, in order of the rows."""
    return sorted((e.row, e.line, e.column, e.code) for e in table.errors)


def test_features_come_in_the_order_and_types_of_the_signature() -> None:
    table = read(f"{GOOD}\nx,40,,Kiel,0\n")

    assert list(table.features) == ["age", "height", "city", "member"]
    assert [str(dtype) for dtype in table.features.dtypes] == ["int64", "float64", "str", "bool"]
    assert table.features["age"].tolist() == [30, 40]
    assert table.features["member"].tolist() == [True, False]
    assert table.positions.tolist() == [0, 1]
    assert table.errors == []


@pytest.mark.parametrize(
    ("line", "column", "code"),
    [
        (b"he\0llo,30,1.75,Bonn,true", "note", "nul_byte"),
        (b"hello,30,1.75,K\xf6ln,true", "city", "invalid_utf8"),
        (b"hello,30,1.75,Bonn", "", "wrong_field_count"),
        (b"hello,30,1.75,Bonn,true,", "", "wrong_field_count"),
        (b"hello", "", "wrong_field_count"),
        (b"hello,thirty,1.75,Bonn,true", "age", "not_a_number"),
        (b'hello,30,"1,75",Bonn,true', "height", "not_a_number"),
        (b"hello,true,1.75,Bonn,true", "age", "not_a_number"),
        (b"hello,,1.75,Bonn,true", "age", "missing_value"),
        (b"hello,30,1.75,,true", "city", "missing_value"),
        (b"hello,30,1.75,Bonn,", "member", "missing_value"),
        (b"hello,30,NA,Bonn,NA", "member", "missing_value"),
        (b"hello,30,inf,Bonn,true", "height", "not_finite"),
        (b"hello,30,1e999,Bonn,true", "height", "not_finite"),
        (b"hello,30,1.75,Ulm,true", "city", "unknown_category"),
        (b"hello,30,1.75,7,true", "city", "unknown_category"),
        (b"hello,30,1.75,Bonn,maybe", "member", "not_a_boolean"),
    ],
)
@pytest.mark.parametrize("neighbours", [(0, 0), (1, 0), (0, 1), (2, 2)])
def test_every_fault_is_reported_by_code_and_column_and_costs_no_neighbour(
    line: bytes, column: str, code: str, neighbours: tuple[int, int]
) -> None:
    before, after = ([GOOD.encode()] * number for number in neighbours)
    lines = [*before, line, *after]

    table = read(b"\n".join(lines), carried=("note",))

    row = len(before) + 1
    assert faults(table) == [(row, row + 1, column, code)]
    assert table.positions.tolist() == [i for i in range(len(lines)) if i != row - 1]
    assert len(table.features) == len(lines) - 1
    assert len(table.carried) == len(lines)


def test_a_message_shows_the_cell_and_what_belongs_there() -> None:
    table = read("hello,30,1.75,Ulm,true\n")

    assert table.errors[0].message == "Column 'city' holds 'Ulm'; it takes one of 'Bonn', 'Kiel'."


def test_a_long_cell_is_not_repeated_in_a_message() -> None:
    table = read(f"hello,{'x' * 10_000},1.75,Bonn,true\n")

    assert len(table.errors[0].message) < 200


def test_a_row_with_several_faults_has_one_error_about_the_first() -> None:
    table = read("hello,30,inf,Ulm,maybe\nhello,,inf,Ulm,maybe\n")

    assert faults(table) == [(1, 2, "height", "not_finite"), (2, 3, "age", "missing_value")]


def test_picked_rows_and_lines_are_those_of_the_first_job() -> None:
    plan = make_plan(rows=3, picked_rows=(5, 9, 40), picked_lines=(6, 14, 51))
    spec = make_spec(header=("x",))
    reader = TableReader(b'1\n"x\n"\ny\n', plan, spec=spec, signature=make_signature())

    table = reader.read()

    assert [(row, line) for row, line, *_ in faults(table)] == [(9, 14), (40, 51)]
    rejected = reader.rejected([1, 2])
    assert (rejected.rows, rejected.lines) == ((9, 40), (14, 51))
    assert rejected.records == b'"x\n"\ny\n'


def test_rows_and_lines_count_from_where_the_chunk_begins() -> None:
    data = '"two\nlines",30,1.75,Bonn,true\n\n  \nx,bad,1.75,Bonn,true\r\ny,40,2\n'

    table = read(data, first_row=101, first_line=201)

    assert faults(table) == [(102, 205, "age", "not_a_number"), (103, 206, "", "wrong_field_count")]
    assert table.positions.tolist() == [0]


def test_a_short_row_does_not_hide_behind_a_long_one() -> None:
    table = read_numbers("1,2\n3\n4,5,6\n7,8\n")

    assert faults(table) == [(2, 3, "", "wrong_field_count"), (3, 4, "", "wrong_field_count")]
    assert table.features["b"].tolist() == [2, 8]


def test_two_records_on_one_line_end_do_not_pass_for_sound_ones() -> None:
    table = read_numbers("1\r2,3\n\n4,5\n")

    assert faults(table) == [(1, 2, "", "wrong_field_count")]
    assert table.features["a"].tolist() == [2, 4]


def test_a_first_cell_left_empty_behind_a_lone_cr_moves_no_other_cell() -> None:
    table = read_numbers("1,2\n\r,3\n")

    assert table.features["b"].tolist() == [2, 3]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\n\n", "\r\n \r\n", "\r\r"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_line_ends_of_all_kinds_give_the_same_rows(line_end: str, *, is_closed: bool) -> None:
    data = line_end.join(["1,2", ",3", '"4",""']) + line_end * is_closed

    table = read_numbers(data)

    expected = pd.DataFrame({"a": [1, np.nan, 4], "b": [2, 3, np.nan]})
    pd.testing.assert_frame_equal(table.features, expected)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_inside_quotes_cuts_nothing(delimiter: str) -> None:
    data = f'"a{delimiter}b"{delimiter}1\n'

    features = (make_feature("n"),)
    table = read(
        data, features=features, header=("s", "n"), delimiter=delimiter, carried=("s", "n")
    )

    assert table.carried.to_dict("list") == {"s": [f"a{delimiter}b"], "n": ["1"]}


@pytest.mark.parametrize("broken", ["", "x\n", "1,2,3\n", "\0,1\n"])
def test_carried_text_is_what_was_sent_even_beside_broken_rows(broken: str) -> None:
    sent = ["0.10", "NA", "", " 7", "1e5", '"', "a,b", "two\r\nlines", "\u2028", "\x1c"]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((cell, "1") for cell in sent)

    features = (make_feature("b"),)
    table = read(text.getvalue() + broken, features=features, header=("a", "b"), carried=("a",))

    assert table.carried["a"].tolist()[: len(sent)] == sent
    assert table.features["b"].tolist() == [1] * len(sent)


def test_of_a_damaged_row_is_carried_what_can_be_told() -> None:
    data = '"a\u2028\nb",1,more\n'.encode() + b'\xff\0,1\n"""c"""\n'

    table = read(data, features=(make_feature("b"),), header=("a", "b"), carried=("a", "b"))

    assert table.carried["a"].tolist() == ["a\u2028\nb", "\ufffd\ufffd", '"c"']
    assert table.carried["b"].tolist() == ["1", "1", ""]


@pytest.mark.parametrize("data", ["1\n2\n", "bad,x,Bonn,Bonn,maybe\n" * 2])
def test_a_chunk_without_a_good_row_has_features_of_the_right_types(data: str) -> None:
    table = read(data, carried=HEADER)

    assert [str(dtype) for dtype in table.features.dtypes] == ["int64", "float64", "str", "bool"]
    assert len(table.features) == 0
    assert {e.row for e in table.errors} == {1, 2}


@pytest.mark.parametrize("bad", ["", "x,1\n", "1\n", "true,1\n"])
@pytest.mark.parametrize("cell", ["1e19", "-1e300", "1.5", "9223372036854775807", ""])
def test_a_whole_number_that_is_none_stays_what_it_is(cell: str, bad: str) -> None:
    features = (make_feature("a", "int64", nullable=True), make_feature("b"))

    table = read(f"{cell},1\n{bad}", features=features, header=("a", "b"))

    expected = float(cell or "nan")
    assert table.features["a"].tolist() == pytest.approx([expected], nan_ok=True)


def test_a_table_may_be_without_numbers() -> None:
    features = (make_feature("city", "string"), make_feature("member", "bool"))

    table = read("Bonn,true\n0,1\n", features=features, header=("city", "member"))

    assert table.features.to_numpy().tolist() == [["Bonn", True], ["0", True]]


def test_booleans_are_no_numbers_however_far_away_the_next_number_is() -> None:
    header = tuple(f"c{i}" for i in range(100))
    empty = "," * 99 + "\n"

    table = read(f"true{empty}" * 8192 + f"5{empty}", features=(make_feature("c0"),), header=header)

    assert table.features["c0"].tolist() == [5]
    assert len(table.errors) == 8192


@pytest.mark.parametrize("text", ["true", "True", "FALSE"])
@pytest.mark.parametrize("rows", [1, 1_000])
def test_booleans_are_no_numbers_even_among_themselves(text: str, rows: int) -> None:
    table = read_numbers(f"{text},1\n" * rows)

    assert {(column, code) for _, _, column, code in faults(table)} == {("a", "not_a_number")}
    assert len(table.errors) == rows


def test_a_single_column_may_be_empty_in_quotes() -> None:
    table = read('1\n""\n\n2\n', features=(make_feature("a", nullable=True),), header=("a",))

    assert table.features["a"].tolist() == pytest.approx([1, np.nan, 2], nan_ok=True)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(repr)


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), data=st.data())
def test_numbers_are_the_same_bits_with_and_without_a_bad_neighbour(
    rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    lines = [f"{a},{b}\n" for a, b in rows]
    bad = data.draw(st.sampled_from(["x,1\n", "1\n", "1,2,3\n", "\0,1\n", ",inf\n", "true,1\n"]))
    at = data.draw(st.integers(0, len(lines)))

    alone = read_numbers("".join(lines))
    beside = read_numbers("".join([*lines[:at], bad, *lines[at:]]))

    expected = [[float(a), float(b)] for a, b in rows]
    assert alone.features.to_numpy().tolist() == expected
    assert beside.features.to_numpy().tolist() == expected
    assert [row for row, *_ in faults(beside)] == [at + 1]


CELLS = st.sampled_from(
    [
        "1",
        "-2.5",
        "",
        "NA",
        "x",
        "inf",
        "true",
        "Bonn",
        "Ulm",
        "\0",
        '"',
        '"1"',
        '"a\nb"',
        "a\u2028b",
    ]
)
LINES = st.lists(CELLS, min_size=1, max_size=6).map(",".join)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])


@settings(max_examples=70)
@given(lines=st.lists(st.tuples(LINES | st.just(GOOD), ENDS), min_size=1, max_size=8))
def test_every_row_is_in_the_features_or_has_an_error_but_never_both(
    lines: list[tuple[str, str]],
) -> None:
    data = "".join(line + end for line, end in lines)
    if csv_records.ends_inside_quotes(data.encode(), b","):
        data += '"'

    table = read(data, carried=("note",))

    rows = set(range(1, len(table.carried) + 1))
    scored = {int(position) + 1 for position in table.positions}
    refused = {error.row for error in table.errors}
    assert len(table.errors) == len(refused)
    assert scored | refused == rows
    assert not scored & refused
    assert len(table.features) == len(scored)
