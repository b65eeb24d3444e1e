"""No cell of a guarded CSV is a formula, and nothing else in it has changed."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.formula_guard import FORMULA_CHARS, guarded
from api.result_formats import ERROR_LAYOUT, ResultFormat, rendered

NUMBERS = ("-1.5", "+2", "-1e-07", "-.5", "3.", "-inf", "nan", "0")
CELLS = st.one_of(
    st.text("=+-@\t\r\n＝\"',;1a ", max_size=6), st.sampled_from(NUMBERS), st.floats().map(repr)
)
TABLES = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6)
)


def text_of(rows: list[list[str]], *, is_quoted: bool) -> str:
    """Lines as workers write them: each text in quotes, or those that need them."""

    def written(cell: str) -> str:
        needs = is_quoted or any(char in cell for char in ',"\r\n')
        return '"' + cell.replace('"', '""') + '"' if needs else cell

    return "".join(",".join(map(written, row)) + "\n" for row in rows)


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def guard(text: str) -> str:
    return b"".join(guarded(iter([text.encode()]))).decode()


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "-", "-cmd", "+49 170", "-1_000", "＝1+1", "--1",
     "-1.5.2", "-inf2"],
)  # fmt: skip
def test_a_cell_that_may_be_run_gets_an_apostrophe(cell: str) -> None:
    assert guard(f"1,{cell},\n2,b,\n{cell},3,x\n") == f"1,'{cell},\n2,b,\n'{cell},3,x\n"


@pytest.mark.parametrize("cell", ["=1,2", "\t=1", "\r=1", "\n=1", '=HYPERLINK("a")'])
def test_it_stands_inside_of_quotes(cell: str) -> None:
    rows = parsed(guard(text_of([["1", cell], ["2", "b"]], is_quoted=False)))

    assert rows == [["1", f"'{cell}"], ["2", "b"]]


@pytest.mark.parametrize("cell", ['-1"&A1', '+2"', '-inf",x'])
def test_a_number_before_a_quote_is_a_number_no_more(cell: str) -> None:
    rows = [["1", cell, "3"], ["2", "b", "4"]]

    assert parsed(guard(text_of(rows, is_quoted=False)))[0] == ["1", f"'{cell}", "3"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_stay(number: str) -> None:
    text = f'1,{number},\n2,"{number}",\n'

    assert guard(text) == text


@given(rows=TABLES, is_quoted=st.booleans())
def test_cells_that_are_formulas_change_and_no_other_byte_does(
    rows: list[list[str]], *, is_quoted: bool
) -> None:
    text = text_of(rows, is_quoted=is_quoted)

    found = guard(text)

    expected = [[f"'{cell}" if is_formula(cell) else cell for cell in row] for row in rows]
    assert parsed(found) == expected
    assert found == text_of(expected, is_quoted=is_quoted)


def is_formula(cell: str) -> bool:
    """Python's own idea of a number, less what no spreadsheet takes for one."""
    if not cell or cell[0] not in FORMULA_CHARS:
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return cell != cell.strip() or "_" in cell


def test_the_header_is_guarded_and_other_formats_are_left_alone() -> None:
    lines = [b"1,2,=x,bad,=y\n"]

    as_csv = b"".join(rendered(ERROR_LAYOUT, iter(lines), ResultFormat.CSV, guards_formulas=True))
    as_json = b"".join(
        rendered(ERROR_LAYOUT, iter(lines), ResultFormat.NDJSON, guards_formulas=True)
    )

    assert as_csv == b"row,line,column,code,message\n1,2,'=x,bad,'=y\n"
    assert b'"=x"' in as_json
