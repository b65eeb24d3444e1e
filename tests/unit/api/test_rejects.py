"""Failed rows become chunks, neither too long nor too large, and every row is in one of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rejects import chunks_of
from shared.chunks import RejectedRows

RECORDS = ["1,2", '"a\nb",2', '"c""\r\n,d",3', "too,many,fields", "short", '"",""', "\ufeff5,6"]


def rejected(first_row: int, records: list[str]) -> RejectedRows:
    """What a chunk rejects whose first row has this number."""
    rows = tuple(range(first_row, first_row + 2 * len(records), 2))
    return RejectedRows(
        rows=rows,
        lines=tuple(row + 1 for row in rows),
        records="".join(f"{record}\n" for record in records).encode(),
    )


def test_rows_of_many_chunks_are_gathered() -> None:
    parts = [rejected(row, ["1,2"]) for row in (5, 105, 205)]

    ((plan, data),) = chunks_of(parts, delimiter=",", max_rows=10, max_bytes=1000)

    assert (plan.number, plan.rows, plan.first_row, plan.first_line) == (0, 3, 5, 6)
    assert (plan.picked_rows, plan.picked_lines) == ((5, 105, 205), (6, 106, 206))
    assert data == b"1,2\n" * 3


def test_no_chunk_has_more_rows_than_a_model_is_quick_for() -> None:
    parts = [rejected(1, RECORDS)]

    chunks = list(chunks_of(parts, delimiter=",", max_rows=3, max_bytes=1000))

    assert [plan.rows for plan, _ in chunks] == [3, 3, 1]
    assert chunks[1][1] == b'too,many,fields\nshort\n"",""\n'


def test_wide_rows_are_not_gathered_beyond_the_bound_of_a_chunk() -> None:
    parts = [rejected(row, ["a" * 600]) for row in (1, 3, 5)]

    chunks = list(chunks_of(parts, delimiter=",", max_rows=100, max_bytes=1300))

    assert [plan.rows for plan, _ in chunks] == [2, 1]


def test_chunks_that_rejected_nothing_add_nothing() -> None:
    assert list(chunks_of([], delimiter=",", max_rows=1, max_bytes=1)) == []


@pytest.mark.parametrize("delimiter", [",", ";"])
@given(
    parts=st.lists(st.lists(st.sampled_from(RECORDS), min_size=1, max_size=8), max_size=5),
    max_rows=st.integers(1, 6),
    max_bytes=st.integers(1, 60),
)
def test_every_row_is_in_one_chunk_with_its_own_record(
    delimiter: str, parts: list[list[str]], max_rows: int, max_bytes: int
) -> None:
    sent = [
        rejected(100 * number + 1, [record.replace(",", delimiter) for record in part])
        for number, part in enumerate(parts)
    ]

    chunks = list(chunks_of(sent, delimiter=delimiter, max_rows=max_rows, max_bytes=max_bytes))

    plans = [plan for plan, _ in chunks]
    assert [plan.number for plan in plans] == list(range(len(plans)))
    assert all(0 < plan.rows <= max_rows for plan in plans)
    assert [row for plan in plans for row in plan.picked_rows] == [r for s in sent for r in s.rows]
    assert [row for plan in plans for row in plan.picked_lines] == [
        n for s in sent for n in s.lines
    ]
    assert b"".join(data for _, data in chunks) == b"".join(s.records for s in sent)
    for plan, data in chunks:
        assert len(data) <= max_bytes or plan.rows <= max(len(part) for part in parts)
