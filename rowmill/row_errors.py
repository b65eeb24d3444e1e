"""Row errors: why rows of a job have no prediction."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RowError:
    """What is wrong with one row; `pandas.DataFrame(list_of_row_errors)` is a table of them."""

    row: int
    """Number of the row, from 1."""
    line: int | None
    """Line of the file on which it begins, from 1; the header is line 1."""
    column: str | None
    """The column at fault; `None` if it is the row as a whole."""
    code: str
    """Stable, like `not_a_number`; the HTTP reference lists them."""
    message: str


def row_errors_from(blocks: Iterable[bytes]) -> Iterator[RowError]:
    """The row errors in NDJSON that comes in blocks of any size."""
    for line in _lines(blocks):
        document = json.loads(line)
        yield RowError(
            row=document["row"],
            line=document["line"],
            column=document["column"],
            code=document["code"],
            message=document["message"],
        )


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
