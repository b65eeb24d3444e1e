"""Result lines read back as what they were made of, to the last bit."""

import csv
import io
import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chunks import RowError
from shared.signature import Dtype, OutputColumn
from tests.factories import make_plan
from worker.rendering import error_lines, result_lines


def make_error(row: int, **changes: Any) -> RowError:
    defaults = {"line": row + 1, "column": "x", "code": "not_a_number", "message": "No number."}
    return RowError(row=row, **defaults | changes)


def render(
    *predictions: Any,
    rows: int,
    dtype: Dtype = Dtype.FLOAT,
    positions: list[int] | None = None,
    carried: dict[str, list[str]] | None = None,
    errors: tuple[RowError, ...] = (),
    first_row: int = 1,
    picked_rows: tuple[int, ...] = (),
) -> list[list[str]]:
    """The fields of the result lines of a chunk."""
    text = result_lines(
        make_plan(rows=rows, first_row=first_row, picked_rows=picked_rows),
        carried=pd.DataFrame(carried or {}, dtype="str"),
        outputs=[OutputColumn(name=f"y{i}", dtype=dtype) for i in range(len(predictions))],
        predictions=list(predictions),
        positions=np.array(range(rows) if positions is None else positions, dtype=np.int64),
        errors=errors,
    )
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


@settings(max_examples=100)
@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_floats_read_back_bit_equal(values: list[float]) -> None:
    lines = render(np.array(values), rows=len(values))

    found = [float(text) for _, text, _ in lines]
    assert [bits(value) for value in found] == [bits(value) for value in values]


def bits(value: float) -> bytes:
    """The double itself, since 0.0 equals -0.0; all NaNs are one."""
    return b"nan" if value != value else struct.pack("d", value)  # noqa: PLR0124


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=8))
def test_texts_read_back_as_they_were(texts: list[str]) -> None:
    lines = render(np.array(texts, dtype=object), rows=len(texts), dtype=Dtype.STRING)

    assert [text for _, text, _ in lines] == texts


@settings(max_examples=60)
@given(st.lists(st.text(st.sampled_from('a",;\n\r\t é'), max_size=4), min_size=1, max_size=8))
def test_carried_cells_read_back_as_they_were_sent(cells: list[str]) -> None:
    lines = render(np.zeros(len(cells)), rows=len(cells), carried={"key": cells})

    assert [key for _, key, _, _ in lines] == cells


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        (np.array([1, -2]), Dtype.INT, ["1", "-2"]),
        (np.array([1, -2], dtype=np.int8), Dtype.INT, ["1", "-2"]),
        (np.array([True, False]), Dtype.BOOL, ["true", "false"]),
        (np.array(["a", "b,c"]), Dtype.STRING, ["a", "b,c"]),
        (np.array([0.1, 1e-300]), Dtype.FLOAT, ["0.1", "1e-300"]),
        (np.array([0.5, 2.0], dtype=np.float32), Dtype.FLOAT, ["0.5", "2"]),
    ],
)
def test_values_of_every_type_are_written_plainly(values: Any, dtype: Dtype, texts: Any) -> None:
    assert [text for _, text, _ in render(values, rows=2, dtype=dtype)] == texts


def test_rows_without_a_prediction_keep_their_place_and_say_why() -> None:
    errors = (make_error(11), make_error(13, code="nul_byte"), make_error(13, code="second"))

    lines = render(np.array([5.0]), rows=3, positions=[1], errors=errors, first_row=11)

    assert lines == [["11", "", "not_a_number"], ["12", "5", ""], ["13", "", "nul_byte"]]


def test_picked_rows_keep_their_numbers_and_their_errors() -> None:
    errors = (make_error(4), make_error(90, code="nul_byte"))

    lines = render(np.array([5.0]), rows=3, positions=[1], errors=errors, picked_rows=(4, 7, 90))

    assert lines == [["4", "", "not_a_number"], ["7", "5", ""], ["90", "", "nul_byte"]]


def test_a_chunk_without_a_single_prediction_has_a_line_per_row() -> None:
    text = result_lines(
        make_plan(rows=2),
        carried=pd.DataFrame(),
        outputs=[OutputColumn(name=name, dtype=Dtype.INT) for name in "ab"],
        predictions=[],
        positions=np.array([], dtype=np.int64),
        errors=[make_error(1), make_error(2)],
    )

    assert text == b"1,,,not_a_number\n2,,,not_a_number\n"


def test_row_errors_are_written_as_csv_with_all_their_fields() -> None:
    text = error_lines([make_error(3, column="a,b", message='It holds "x\ny".')])

    fields = next(csv.reader(io.StringIO(text.decode(), newline="")))
    assert fields == ["3", "4", "a,b", "not_a_number", 'It holds "x\ny".']
    assert error_lines([]) == b""
