"""The formats of results and row errors: which one a caller wants, and lines of CSV turned into it.

All of them stream: a text of lines goes in, a piece of the answer comes out. An empty text stays
one, so that a follower's connection can be looked after.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable
from werkzeug.http import parse_accept_header

from api.formula_guard import guarded
from shared.jobs import Job
from shared.signature import Dtype, OutputColumn


class ResultFormat(StrEnum):
    """What results come in, by the names that the query has for it."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self]

    @property
    def suffix(self) -> str:
        """Of a file. What is a stream in Arrow's terms has another one than what is a file."""
        return "arrows" if self is ResultFormat.ARROW else self.value


_MEDIA_TYPES = {
    ResultFormat.CSV: "text/csv",
    ResultFormat.NDJSON: "application/x-ndjson",
    ResultFormat.JSON: "application/json",
    ResultFormat.PARQUET: "application/vnd.apache.parquet",
    ResultFormat.ARROW: "application/vnd.apache.arrow.stream",
}
_BY_MEDIA_TYPE = {media_type: name for name, media_type in _MEDIA_TYPES.items()}


@lru_cache(maxsize=256)
def liked_best(accept: str | None) -> ResultFormat:
    """The format that an `Accept` likes best; CSV if there is no wish. Raises NotAcceptable.

    Kept for the last headers: there are as few as there are HTTP libraries.
    """
    # What a wish says of a format besides its name (RFC 9110 §12.5.1), as "charset=utf-8", is met.
    wishes = MIMEAccept(
        (wish.partition(";")[0].strip(), quality)
        for wish, quality in parse_accept_header(accept, MIMEAccept)
    )
    media_type = wishes.best_match(list(_BY_MEDIA_TYPE)) if wishes else ResultFormat.CSV.media_type
    if media_type is None:
        raise NotAcceptable(f"There is {', '.join(_BY_MEDIA_TYPE)}.")
    return _BY_MEDIA_TYPE[media_type]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the lines of a CSV hold."""

    columns: tuple[OutputColumn, ...]
    carried_types: str = ""
    """Types of those behind the first, as `JobSpec.carried_types` has them."""

    @classmethod
    def of_results(cls, job: Job) -> "Layout":
        return cls(columns=job.spec.result_columns, carried_types=job.spec.carried_types)


ERROR_LAYOUT = Layout(
    columns=(
        OutputColumn(name="row", dtype=Dtype.INT),
        OutputColumn(name="line", dtype=Dtype.INT),
        OutputColumn(name="column", dtype=Dtype.STRING),
        OutputColumn(name="code", dtype=Dtype.STRING),
        OutputColumn(name="message", dtype=Dtype.STRING),
    )
)
"""Columns of `GET /jobs/{id}/errors`."""


def rendered(
    layout: Layout,
    texts: Iterator[bytes],
    result_format: ResultFormat,
    *,
    guards_formulas: bool = False,
) -> Iterator[bytes]:
    """Lines of CSV without a header in this format, piece by piece.

    `guards_formulas`: whether no cell of a CSV may be one to a spreadsheet.
    """
    pieces = _RENDERERS[result_format](layout, texts)
    return guarded(pieces) if guards_formulas and result_format is ResultFormat.CSV else pieces


def _csv(layout: Layout, texts: Iterator[bytes]) -> Iterator[bytes]:
    """The lines as the workers rendered them, under their header."""
    yield csv_line([column.name for column in layout.columns]).encode()
    yield from texts


def csv_line(values: Sequence[object]) -> str:
    """One line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _ndjson(layout: Layout, texts: Iterator[bytes]) -> Iterator[bytes]:
    """One JSON object a line."""
    records = _Records(layout)
    for text in texts:
        yield "".join(f"{record}\n" for record in records.of(text)).encode()


def _json(layout: Layout, texts: Iterator[bytes]) -> Iterator[bytes]:
    """A list with one object a line."""
    records, separator = _Records(layout), "\n"
    yield b"["
    for text in texts:
        found = ",\n".join(records.of(text))
        yield f"{separator}{found}".encode() if found else b""
        separator = ",\n" if found else separator
    yield b"\n]\n"


class _Records:
    """Lines as JSON objects, values in their types, empty ones and NaN as null."""

    def __init__(self, layout: Layout) -> None:
        self._names = [column.name for column in layout.columns]
        self._parsers = [_FROM_TEXT[column.dtype] for column in layout.columns]
        if layout.carried_types:
            from api.columnar_results import carried_dtypes  # as in `_parquet`

            carried = [_FROM_CARRIED[dtype] for dtype in carried_dtypes(layout.carried_types)]
            self._parsers[1 : 1 + len(carried)] = carried

    def of(self, text: bytes) -> Iterator[str]:
        for fields in csv.reader(io.StringIO(text.decode(), newline="")):
            values = (
                parse(field) if field else None
                for parse, field in zip(self._parsers, fields, strict=True)
            )
            record = dict(zip(self._names, map(_finite, values), strict=True))
            yield json.dumps(record, ensure_ascii=False)


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _if_any(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def parse_or_none(text: str) -> Any:
        """None for what is no number, as may be in a row that could not be read."""
        try:
            return parse(text)
        except ValueError:
            return None

    return parse_or_none


_FROM_TEXT: dict[Dtype, Callable[[str], Any]] = {
    Dtype.FLOAT: float,
    Dtype.INT: int,
    Dtype.BOOL: {"true": True, "false": False}.get,
    Dtype.STRING: str,
}
_FROM_CARRIED = _FROM_TEXT | {Dtype.FLOAT: _if_any(float), Dtype.INT: _if_any(int)}


def _parquet(layout: Layout, texts: Iterator[bytes]) -> Iterator[bytes]:
    # Only now: who never asks for columns need not have pyarrow in memory.
    from api.columnar_results import parquet_file

    return parquet_file(layout.columns, texts, carried_types=layout.carried_types)


def _arrow(layout: Layout, texts: Iterator[bytes]) -> Iterator[bytes]:
    from api.columnar_results import arrow_stream

    return arrow_stream(layout.columns, texts, carried_types=layout.carried_types)


_RENDERERS = {
    ResultFormat.CSV: _csv,
    ResultFormat.NDJSON: _ndjson,
    ResultFormat.JSON: _json,
    ResultFormat.PARQUET: _parquet,
    ResultFormat.ARROW: _arrow,
}
