"""The records of a chunk of JSON lines, as CSV records with the job's header."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from shared import json_records
from shared.errors import quoted
from shared.jobs import JobSpec
from worker.records import ChunkRecords, Damage

_TEXT = frozenset({str, type(None)})
"""Types of values that the CSV writer writes as they are meant; most rows have no others."""

_BOOLEANS = {True: "true", False: "false"}


class _Narrow(csv.excel):
    """For a single column, of which a line could be blank, and would be none."""

    quoting = csv.QUOTE_ALL


class JsonRecords(ChunkRecords):
    """The bytes of a chunk, seen as lines of JSON. They are parsed when they are asked for."""

    def __init__(self, data: bytes, spec: JobSpec, *, rows: int) -> None:
        super().__init__(data, spec, rows=rows)
        self._is_narrow = len(spec.header) == 1

    def are_sound(self) -> bool:
        return not any(isinstance(row, Damage) for row in self._rows_read)

    def table(self) -> bytes:
        return self._csv(row for row in self._rows_read if not isinstance(row, Damage))

    def joined(self, positions: Iterable[int]) -> bytes:
        rows = (self._rows_read[position] for position in positions)
        return self._csv(row for row in rows if not isinstance(row, Damage))

    def damages(self) -> Iterator[Damage | None]:
        for row in self._rows_read:
            yield row if isinstance(row, Damage) else None

    def text_of(self, position: int) -> list[str]:
        record = self._records[position]
        try:
            found = json_records.decode(self.data[record.start : record.end])
        except ValueError:
            found = None
        values = found if isinstance(found, dict) else {}
        return [_readable(values.get(name)) for name in self._header]

    @cached_property
    def _rows_read(self) -> list[list[str | None] | Damage]:
        if b"\r" in self.data:
            lines = [self.data[record.start : record.end] for record in self._records]
        else:
            # In a fifth of the time, which is otherwise as long as half of the parsing.
            lines = [line for line in self.data.split(b"\n") if line.strip(b" \t")]
        return [self._row(line) for line in lines]

    def _row(self, line: bytes) -> list[str | None] | Damage:
        try:
            found = json_records.decode(line)
        except UnicodeDecodeError:
            message = "The line is not UTF-8; save the file as UTF-8."
            return Damage(column="", code="invalid_utf8", message=message)
        except ValueError as error:
            message = f"The line is not JSON ({_reason(error)}); write one JSON object a line."
            return Damage(column="", code="invalid_json", message=message)
        if type(found) is not dict:
            return _no_record(found)
        row = [found.get(name) for name in self._header]
        is_text = _TEXT.issuperset(map(type, row))
        if not is_text:
            row = [_BOOLEANS[cell] if isinstance(cell, bool) else cell for cell in row]
        # Only an escape can stand for what is no character of a text.
        may_be_damaged = not is_text or b"\\u" in line
        return (self._cell_damage(row) if may_be_damaged else None) or row

    def _cell_damage(self, row: Sequence[Any]) -> Damage | None:
        """Why one of these cells can't stand in a table."""
        for name, cell in zip(self._header, row, strict=True):
            if isinstance(cell, json_records.NESTED):
                message = f"Column {quoted(name)} holds a list or an object; it takes one value."
                return Damage(column=name, code="nested_value", message=message)
            if cell is None:
                continue
            if "\0" in cell:
                message = "The cell holds a NUL character; remove it."
                return Damage(column=name, code="nul_byte", message=message)
            if not json_records.is_unicode(cell):
                message = "The cell holds half of a surrogate pair, which is no character."
                return Damage(column=name, code="invalid_utf8", message=message)
        return None

    def _csv(self, rows: Iterable[Sequence[str | None]]) -> bytes:
        text = io.StringIO(newline="")
        # With line ends of both characters, cells with either of them are quoted.
        dialect = _Narrow if self._is_narrow else csv.excel
        csv.writer(text, dialect).writerows(rows)
        return text.getvalue().encode()


def _no_record(found: object) -> Damage:
    if isinstance(found, json_records.RepeatedKey):
        message = "The object has a key twice, so its value is not certain; write each key once."
        return Damage(column="", code="repeated_key", message=message)
    message = "The line is JSON but no object; write an object with a value for each column."
    return Damage(column="", code="invalid_json", message=message)


def _readable(value: object) -> str:
    """A value as well as it can be told in a cell."""
    if value is None or isinstance(value, json_records.NESTED):
        return ""
    text = _BOOLEANS[value] if isinstance(value, bool) else str(value)
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _reason(error: ValueError) -> str:
    return getattr(error, "msg", str(error)).lower()
