"""The messages of an Arrow stream, looked at before anything is decoded.

<https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>: eight bytes with
the length of the metadata, the metadata as a flatbuffer, the body. Each buffer of a compressed body
begins with the length that it will have: a few bytes may claim to become many.
"""

import struct
from collections.abc import Iterator

from shared.errors import BodyTooLargeError, UploadIncompleteError

MAX_METADATA_BYTES = 64 * 1024 * 1024

_CONTINUATION = b"\xff\xff\xff\xff"
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


class MessageStream:
    """A file of the messages for pyarrow to read from, which are taken one by one.

    Reading raises ValueError for what is no message, BodyTooLargeError for one that would become
    larger than `limit_bytes`, and whatever the blocks raise.
    """

    def __init__(self, blocks: Iterator[bytes], *, limit_bytes: int) -> None:
        self._blocks = blocks
        self._limit_bytes = limit_bytes
        self._received = bytearray()
        self._message = b""
        self._at = 0
        self.closed = False

    def opening(self) -> bytes:
        """The first message, which is still to be read."""
        self._message = self._next_message()
        return self._message

    def read(self, size: int = -1) -> bytes:
        if self._at == len(self._message):
            self._message, self._at = self._next_message(), 0
        first, self._at = self._at, min(self._at + size, len(self._message))
        return self._message[first : self._at]

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def _next_message(self) -> bytes:
        """A whole message; empty at the end."""
        head = self._peek(8)
        if not head:
            return b""
        if head[:4] != _CONTINUATION or len(head) < 8:
            raise ValueError("no message begins here")
        (metadata_bytes,) = struct.unpack("<i", head[4:])
        if not metadata_bytes:
            return self._take(8)
        if not 0 < metadata_bytes <= MAX_METADATA_BYTES:
            raise ValueError("the length of a message is wrong")
        metadata = self._peek(8 + metadata_bytes)[8:]
        try:
            body_bytes = _Metadata(metadata).body_bytes
            if not 0 <= body_bytes <= self._limit_bytes:
                raise ValueError("the length of a body is wrong")
            message = self._take(8 + metadata_bytes + body_bytes)
            inflated = _Metadata(metadata).inflated_bytes(message[8 + metadata_bytes :])
        except struct.error as error:
            raise ValueError("the metadata of a message is wrong") from error
        if inflated > self._limit_bytes:
            raise BodyTooLargeError(self._limit_bytes)
        return message

    def _peek(self, size: int) -> bytes:
        while len(self._received) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._received += block
        return bytes(self._received[:size])

    def _take(self, size: int) -> bytes:
        taken = self._peek(size)
        if len(taken) < size:
            raise UploadIncompleteError
        del self._received[:size]
        return taken


class _Metadata:
    """A flatbuffer with a Message (Message.fbs of Arrow). Raises struct.error outside of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._root = self._int("<I", 0)

    @property
    def body_bytes(self) -> int:
        at = self._field(self._root, 3)
        return self._int("<q", at) if at else 0

    def inflated_bytes(self, body: bytes) -> int:
        """How long the buffers in a body say they are when they are not compressed any more."""
        kind, header = self._field(self._root, 1), self._field(self._root, 2)
        if not kind or not header:
            return 0
        batch = self._target(header)
        if self._int("<B", kind) == _DICTIONARY_BATCH:
            data = self._field(batch, 1)
            batch = self._target(data) if data else 0
        elif self._int("<B", kind) != _RECORD_BATCH:
            return 0
        buffers = self._field(batch, 2)
        if not batch or not buffers or not self._field(batch, 3):
            return 0
        first = self._target(buffers)
        places = (first + 4 + 16 * i for i in range(self._int("<I", first)))
        pairs = ((self._int("<q", at), self._int("<q", at + 8)) for at in places)
        lengths = (struct.unpack_from("<q", body, at)[0] for at, size in pairs if size)
        return sum(max(0, length) for length in lengths)

    def _int(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error("before the beginning")
        return int(struct.unpack_from(form, self._data, at)[0])

    def _target(self, at: int) -> int:
        return at + self._int("<I", at)

    def _field(self, table: int, number: int) -> int:
        """Where a field of a table lies; 0 if it is not there."""
        names = table - self._int("<i", table)
        if 4 + 2 * number >= self._int("<H", names):
            return 0
        offset = self._int("<H", names + 4 + 2 * number)
        return table + offset if offset else 0
