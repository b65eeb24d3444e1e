"""Where rows lie in the input, and what parts of a chunk make of it together."""

from hypothesis import given
from hypothesis import strategies as st

from shared.chunks import (
    FIRST_CHUNK_ROWS,
    MIN_CHUNK_ROWS,
    TARGET_SECONDS,
    ChunkResult,
    RejectedRows,
    joined,
    target_rows,
)
from tests.factories import make_plan


def test_rows_and_lines_of_a_slice_count_from_where_it_begins() -> None:
    plan = make_plan(rows=10, first_row=101, first_line=205)

    assert [plan.row(0), plan.row(9)] == [101, 110]
    assert [plan.line(0, 0), plan.line(9, 12)] == [205, 217]


def test_picked_rows_keep_their_numbers_and_lines() -> None:
    plan = make_plan(rows=3, picked_rows=(4, 9, 90), picked_lines=(5, 20, 99))

    assert [plan.row(position) for position in range(3)] == [4, 9, 90]
    assert [plan.line(position, position) for position in range(3)] == [5, 20, 99]


@given(
    rows=st.integers(1, 50),
    data=st.data(),
    is_picked=st.booleans(),
)
def test_a_row_has_the_same_number_and_line_in_a_part(
    rows: int, data: st.DataObject, *, is_picked: bool
) -> None:
    lines_before = data.draw(st.lists(st.integers(1, 3), min_size=rows, max_size=rows))
    starts = [sum(lines_before[:position]) for position in range(rows)]
    picked = tuple(range(7, 7 + 3 * rows, 3)) if is_picked else ()
    plan = make_plan(rows=rows, first_row=11, picked_rows=picked, picked_lines=picked)
    first = data.draw(st.integers(0, rows - 1))
    behind = data.draw(st.integers(first + 1, rows))

    part = plan.part(first, behind, lines_before=starts[first])

    assert part.rows == behind - first
    for position in range(first, behind):
        assert part.row(position - first) == plan.row(position)
        before = starts[position] - starts[first]
        assert part.line(position - first, before) == plan.line(position, starts[position])


def test_results_of_parts_make_that_of_the_chunk() -> None:
    parts = [
        ChunkResult(
            results=b"%d,\n" % row,
            errors=b"%d,bad\n" % row,
            succeeded=row,
            failed=1,
            rejected=RejectedRows(rows=(row,), lines=(row + 1,), records=b"x%d\n" % row),
        )
        for row in (1, 2)
    ]

    assert joined(parts) == ChunkResult(
        results=b"1,\n2,\n",
        errors=b"1,bad\n2,bad\n",
        succeeded=3,
        failed=2,
        rejected=RejectedRows(rows=(1, 2), lines=(2, 3), records=b"x1\nx2\n"),
    )


def test_a_chunk_aims_at_the_same_time_for_every_model() -> None:
    assert target_rows(None) == FIRST_CHUNK_ROWS
    assert target_rows(10_000.0) == 10_000 * TARGET_SECONDS
    assert target_rows(0.1) == MIN_CHUNK_ROWS
