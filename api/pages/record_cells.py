"""Where the cell of a column lies in a record, as it was sent."""

import json
import re
from collections.abc import Sequence

from shared import csv_records
from shared.jobs import JobSpec

Span = tuple[int, int]

_BLANKS = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def cell_span(record: bytes, column: str, spec: JobSpec) -> Span | None:
    """The first byte of the cell and the one behind it; None where it can't be told."""
    if spec.input_format.is_json:
        return _json_span(record, column)
    return _csv_span(record, column, header=spec.header, delimiter=spec.delimiter.encode())


def _csv_span(
    record: bytes, column: str, *, header: Sequence[str], delimiter: bytes
) -> Span | None:
    # Of the same length as the record, so its delimiters are where those of the record are.
    cells = csv_records.mask(record, delimiter).split(delimiter)
    if column not in header or len(cells) != len(header):
        return None
    place = header.index(column)
    start = sum(len(cell) + len(delimiter) for cell in cells[:place])
    return start, start + len(cells[place])


def _json_span(record: bytes, column: str) -> Span | None:
    try:
        text = record.decode()
        found = _value_span(text, column)
    except (ValueError, RecursionError):
        return None
    return found and (len(text[: found[0]].encode()), len(text[: found[1]].encode()))


def _value_span(text: str, key: str) -> Span | None:
    """The value of an object's member, in characters. Raises ValueError for what is no object."""
    at = _behind(text, 0, "{")
    while text[at : at + 1] != "}":
        name, at = _DECODER.raw_decode(text, at)
        start = _behind(text, at, ":")
        _, at = _DECODER.raw_decode(text, start)
        if name == key:
            return start, at
        at = _skip(text, at)
        if text[at : at + 1] != "}":
            at = _behind(text, at, ",")
    return None


def _behind(text: str, at: int, sign: str) -> int:
    """Where it goes on behind a sign and the blanks around it."""
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"there is no {sign}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at
