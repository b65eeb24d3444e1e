"""HTTP/1.1 as far as a lean client needs it: requests as bytes, answers from a stream of bytes."""

from collections.abc import Callable
from dataclasses import dataclass

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"


class BrokenAnswerError(Exception):
    """The server sent what is no HTTP answer, or ended in the middle of one."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer. `headers` have names in lower case; `body` is empty if a sink took it."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def is_last(self) -> bool:
        """Whether the server closes the connection behind it."""
        return self.headers.get("connection", "").lower() == "close"


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of a request; `headers` are whole lines, each with its line end."""
    length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{length}{headers}\r\n".encode() + body


class AnswerReader:
    """Puts answers together from whatever pieces arrive; one answer after the other."""

    def __init__(self, sink: Callable[[bytes], object] | None = None) -> None:
        """`sink` takes the body piece by piece, which else is collected."""
        self._buffer = bytearray()
        self._sink = sink
        self._reset()

    def _reset(self) -> None:
        self._head: Answer | None = None
        self._is_chunked = False
        self._missing_bytes = 0
        self._pieces: list[bytes] = []

    @property
    def has_begun(self) -> bool:
        """Whether a part of an answer has arrived that is not complete yet."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes) -> Answer | None:
        """The answer that these bytes complete, if they do."""
        self._buffer += data
        if self._head is None and not self._read_head():
            return None
        is_complete = self._read_chunks() if self._is_chunked else self._read_missing()
        if not is_complete or self._head is None:
            return None
        head, body = self._head, b"".join(self._pieces)
        self._reset()
        return Answer(status=head.status, headers=head.headers, body=body)

    def _read_head(self) -> bool:
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + len(_HEAD_END)]
        protocol, _, rest = first.partition(" ")
        if not protocol.startswith("HTTP/1."):
            raise BrokenAnswerError(first)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._head = Answer(status=int(rest[:3]), headers=headers)
        self._is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        if not self._is_chunked:
            has_no_body = self._head.status in (204, 304)
            self._missing_bytes = 0 if has_no_body else int(headers["content-length"])
        return True

    def _read_missing(self) -> bool:
        """Pass on what there is of a part of known length; returns whether that was all of it."""
        piece = bytes(self._buffer[: self._missing_bytes])
        del self._buffer[: len(piece)]
        self._missing_bytes -= len(piece)
        if piece:
            (self._sink or self._pieces.append)(piece)
        return not self._missing_bytes

    def _read_chunks(self) -> bool:
        """Pass on all chunks that are there; returns whether the last one was among them."""
        while self._read_missing():
            # The line end behind a chunk's data is still there; before the first there is none.
            start = len(_LINE_END) if self._buffer.startswith(_LINE_END) else 0
            end = self._buffer.find(_LINE_END, start)
            if end < 0:
                return False
            size = int(self._buffer[start:end].split(b";")[0], 16)
            if size == 0:
                return self._skip_trailer(end)
            del self._buffer[: end + len(_LINE_END)]
            self._missing_bytes = size
        return False

    def _skip_trailer(self, end: int) -> bool:
        """Drop the last chunk's line, which ends at `end`, and the empty line behind it."""
        behind = end + 2 * len(_LINE_END)
        if len(self._buffer) < behind:
            return False
        del self._buffer[:behind]
        return True
