"""Thrift's compact protocol, as far as Parquet's metadata need it: values are read or passed over.

<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>
"""

from collections.abc import Iterator

STRUCT, LIST, SET, MAP, BINARY, DOUBLE = 12, 9, 10, 11, 8, 7
TRUE, FALSE, BYTE = 1, 2, 3
_NUMBERS = (4, 5, 6)

MOST_NESTED = 16
"""Parquet's metadata are half as deep."""


class ThriftReader:
    """Reads one value after the other. Raises IndexError behind the end, and ValueError for what
    can't be."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct. Who iterates reads or skips each value before
        the next."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self.number()
            yield number, head & 15

    def items(self) -> Iterator[int]:
        """The type of each item of a list, to be read or skipped as fields are."""
        head = self._byte()
        size = head >> 4
        if size == 15:
            size = self._varint()
        # Each takes a byte at least.
        if size > len(self._data) - self.at:
            raise ValueError("a list has more items than there are bytes")
        for _ in range(size):
            yield head & 15

    def number(self) -> int:
        """An integer of any width."""
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def skip(self, kind: int, depth: int = 0) -> None:
        """Pass over a value that stands in a struct."""
        if depth > MOST_NESTED:
            raise ValueError("nested too deeply")
        if kind in _NUMBERS:
            self._varint()
        elif kind == BINARY:
            self._pass(self._varint())
        elif kind == STRUCT:
            for _, of_field in self.fields():
                self.skip(of_field, depth + 1)
        elif kind in (LIST, SET):
            for of_item in self.items():
                self._skip_item(of_item, depth + 1)
        elif kind == MAP:
            self._skip_map(depth + 1)
        elif kind in (BYTE, DOUBLE):
            self._pass(1 if kind == BYTE else 8)
        elif kind not in (TRUE, FALSE):  # which are their own values
            raise ValueError("there is no such type")

    def _skip_item(self, kind: int, depth: int) -> None:
        if kind in (TRUE, FALSE):
            self._pass(1)
        else:
            self.skip(kind, depth)

    def _skip_map(self, depth: int) -> None:
        size = self._varint()
        if not size:
            return
        kinds = self._byte()
        for _ in range(min(size, len(self._data))):
            self._skip_item(kinds >> 4, depth)
            self._skip_item(kinds & 15, depth)

    def _byte(self) -> int:
        found = self._data[self.at]
        self.at += 1
        return found

    def _pass(self, size: int) -> None:
        if size > len(self._data) - self.at:
            raise IndexError
        self.at += size

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")
