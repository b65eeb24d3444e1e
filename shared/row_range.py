"""Which rows of results or row errors are wanted, counted over lines that are CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared import csv_records

DELIMITER = b","
"""What the workers write between fields, whatever the input had."""


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """So many lines from the one behind the first `offset` ones; without a limit all of them."""

    offset: int = 0
    limit: int | None = None


ALL_ROWS = RowRange()


def without_first(texts: Sequence[bytes], rows: int) -> tuple[tuple[bytes, ...], int]:
    """Texts without their first rows, and how many of these they did not have."""
    kept: list[bytes] = []
    for text in texts:
        if rows:
            masked = csv_records.mask(text, DELIMITER)
            skipped = min(rows, masked.count(b"\n"))
            text = text[_start_of(skipped, masked) :]  # noqa: PLW2901 – nobody wants the first
            rows -= skipped
        if text:
            kept.append(text)
    return tuple(kept), rows


def limited(texts: Iterator[bytes], rows: int | None) -> Iterator[bytes]:
    """The first rows of texts; nothing is asked of `texts` when there are enough."""
    if rows is None:
        yield from texts
        return
    while rows and (text := next(texts, None)) is not None:
        masked = csv_records.mask(text, DELIMITER)
        wanted = min(rows, masked.count(b"\n"))
        rows -= wanted
        yield text[: _start_of(wanted, masked)]


def _start_of(row: int, masked: bytes) -> int:
    """Where the line behind so many others begins."""
    start = 0
    for _ in range(row):
        start = masked.find(b"\n", start) + 1
    return start
