"""Parts of results are lines, however these lie in texts and whatever their quotes hold."""

import csv
import io
from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from shared.row_range import limited, without_first

CELLS = st.lists(st.text('ab,"\n\r', max_size=5), min_size=1, max_size=3)


def line(cells: list[str]) -> str:
    """A line as workers write it: what is no plain text is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    return text.getvalue()


LINES = st.lists(st.lists(CELLS.map(line), max_size=4), max_size=4)


@given(LINES, st.integers(0, 20), st.none() | st.integers(0, 20))
def test_a_range_has_the_lines_that_a_slice_of_all_has(
    chunks: list[list[str]], offset: int, limit: int | None
) -> None:
    lines = [line for chunk in chunks for line in chunk]

    texts, missing = without_first(["".join(chunk).encode() for chunk in chunks], offset)
    found = b"".join(limited(iter(texts), limit)).decode()

    assert found == "".join(islice(lines[offset:], limit))
    assert missing == max(0, offset - len(lines))


def test_nothing_is_asked_for_when_there_are_enough_rows() -> None:
    def texts() -> Iterator[bytes]:
        yield b"1,a\n"
        yield b"2,b\n3,c\n"
        raise AssertionError("somebody asked for more")

    assert list(limited(texts(), 2)) == [b"1,a\n", b"2,b\n"]
    assert list(limited(texts(), 0)) == []


def test_an_empty_text_is_handed_on_so_that_a_follower_is_looked_after() -> None:
    assert list(limited(iter([b"", b"1\n", b"", b"2\n"]), 2)) == [b"", b"1\n", b"", b"2\n"]
