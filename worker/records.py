"""The records of one chunk: which of them can be read at all, and why the others can't."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from shared import csv_records
from shared.csv_records import Record
from shared.jobs import JobSpec


@dataclass(frozen=True, kw_only=True)
class Damage:
    """Why a record can't be read; `column` is empty when it is about the record as a whole."""

    column: str
    code: str
    message: str


class ChunkRecords:
    """The bytes of a chunk, seen as records of a CSV with the job's header.

    `table` and `joined` are the CSV that is read; `data`, `cut` and `sent` are what was sent. Here
    they are the same.
    """

    def __init__(self, data: bytes, spec: JobSpec, *, rows: int) -> None:
        self.data = data
        self._rows = rows
        self._header = spec.header
        self._delimiter = spec.delimiter.encode()
        self._masked = csv_records.mask(data, self._delimiter)

    def are_sound(self) -> bool:
        """Whether every record is UTF-8 without NUL and has as many fields as the header.

        Told by what is left of the chunk when all but delimiters and line ends is deleted. The line
        ends must be alike: behind a blank line that ends with a lone CR pandas drops a delimiter.
        """
        if b"\0" in self.data or not _is_utf8(self.data):
            return False
        line_end = b"\r\n" if b"\r" in self._masked else b"\n"
        expected = (self._delimiter * (len(self._header) - 1) + line_end) * self._rows
        structure = self._masked.translate(None, _all_but(b"\r\n" + self._delimiter))
        return structure in (expected, expected.removesuffix(line_end))

    def table(self) -> bytes:
        """All records of a sound chunk, as a CSV."""
        return self.data

    @cached_property
    def _records(self) -> list[Record]:
        return list(csv_records.split(self.data, self._masked, self._delimiter))

    def line(self, position: int) -> int:
        """Physical lines of the chunk before a record."""
        return self._records[position].line

    def cut(self, first: int, behind: int) -> tuple[bytes, int]:
        """The bytes of the records from `first` up to `behind`, and the lines before them."""
        start = self._records[first]
        end = self._records[behind].start if behind < len(self._records) else len(self.data)
        return self.data[start.start : end], start.line

    def joined(self, positions: Iterable[int]) -> bytes:
        """Only these records, as a CSV."""
        return self.sent(positions)

    def sent(self, positions: Iterable[int]) -> bytes:
        """These records as they were sent."""
        records = (self._records[position] for position in positions)
        return b"".join(self.data[r.start : r.end] + b"\n" for r in records)

    def damages(self) -> Iterator[Damage | None]:
        """For each record, why it can't be read; None for a sound one."""
        for record in self._records:
            raw = self.data[record.start : record.end]
            yield self._damage(raw, self._masked[record.start : record.end])

    def _damage(self, raw: bytes, masked: bytes) -> Damage | None:
        fields = self._split(raw, masked)
        for number, field in enumerate(fields):
            column = self._header[number] if number < len(self._header) else ""
            if b"\0" in field:
                message = "The cell holds a NUL byte; remove it."
                return Damage(column=column, code="nul_byte", message=message)
            if not _is_utf8(field):
                message = "The cell is not UTF-8; save the file as UTF-8."
                return Damage(column=column, code="invalid_utf8", message=message)
        if len(fields) != len(self._header):
            message = f"The row has {len(fields)} fields; the header has {len(self._header)}."
            return Damage(column="", code="wrong_field_count", message=message)
        return None

    def _split(self, raw: bytes, masked: bytes) -> list[bytes]:
        """The fields of a record with their quotes."""
        if raw == masked:
            return raw.split(self._delimiter)
        ends = [i for i, byte in enumerate(masked) if byte == self._delimiter[0]] + [len(masked)]
        starts = [0] + [end + 1 for end in ends[:-1]]
        return [raw[start:end] for start, end in zip(starts, ends, strict=True)]

    def text_of(self, position: int) -> list[str]:
        """The fields of a record as well as they can be told, as many as the header has."""
        record = self._records[position]
        text = self.data[record.start : record.end].decode(errors="replace").replace("\0", "\ufffd")
        delimiter = self._delimiter.decode()
        fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return (fields + [""] * len(self._header))[: len(self._header)]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(maxsize=16)
def _all_but(kept: bytes) -> bytes:
    return bytes(byte for byte in range(256) if byte not in kept)
