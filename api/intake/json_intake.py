"""Lines of JSON, cut into chunks while they arrive; and JSON that is made into such lines."""

from collections.abc import Iterator, Sequence

from api.intake import json_tables
from api.intake.bodies import Body, limited
from api.intake.csv_intake import FIRST_LOOK_BYTES, CsvIntake, Limits
from shared import csv_records, json_records
from shared.errors import (
    EmptyInputError,
    EncodingError,
    JsonError,
    JsonTooLargeError,
    TooManyColumnsError,
)


class JsonLinesIntake(CsvIntake):
    """Reads the columns off the first records, then gives all of them in chunks."""

    expected = "one JSON object a line, or a JSON list as application/json"

    def __init__(self, body: Body, *, limits: Limits, announced_bytes: int = 0) -> None:
        super().__init__(body, delimiter="", limits=limits, announced_bytes=announced_bytes)

    def header(self, *, max_columns: int) -> tuple[str, ...]:
        """The keys of the records within the first 64 KiB, in the order in which they appear.

        Raises EmptyInputError, EncodingError, JsonError, TooManyColumnsError, RecordTooLargeError.
        """
        self._strip_byte_order_mark()
        look = self._first_records()
        records = csv_records.split(look, look, b"")
        found = [_record(look[record.start : record.end]) for record in records]
        objects = [record for record in found if record is not None]
        if not objects:
            raise JsonError(f"None of the first {len(found)} rows is an object.", self.expected)
        names = tuple(dict.fromkeys(name for record in objects for name in record))
        if not json_records.is_unicode("".join(names)):
            raise JsonError("A key holds half of a surrogate pair.", self.expected)
        if len(names) > max_columns:
            raise TooManyColumnsError(len(names), max_columns)
        return names

    def _first_records(self) -> bytes:
        """Records at the beginning, at least one; they stay in the buffer."""
        while look := self._take(FIRST_LOOK_BYTES):
            if csv_records.count_records(look, b""):
                self._buffer[:0] = look
                return look
            self._line += csv_records.count_lines(look)
        raise EmptyInputError(has_header=False)


class JsonIntake(JsonLinesIntake):
    """JSON that holds a table. It is read as a whole, and each of its rows becomes a line."""

    expected = json_tables.EXPECTED

    def __init__(
        self, body: Body, *, limits: Limits, features: Sequence[str], max_json_bytes: int
    ) -> None:
        """`features`: what the values of a row without names belong to."""
        super().__init__(body, limits=limits)
        self._blocks = limited(_lines(body, features, max_json_bytes), limits.body_bytes)


def _lines(body: Body, features: Sequence[str], max_bytes: int) -> Iterator[bytes]:
    # No method: an intake that its own blocks refer to would keep the text until it is found.
    received = bytearray()
    for block in body:
        received += block
        if len(received) > max_bytes:
            raise JsonTooLargeError(max_bytes)
    try:
        text = received.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EncodingError("The body") from error
    del received
    yield from json_tables.blocks(text, features)


def _record(line: bytes) -> dict[str, object] | None:
    try:
        found = json_records.decode(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
