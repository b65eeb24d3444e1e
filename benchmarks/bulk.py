"""One large body up, one large body down, on a blocking connection: bytes in their cheapest way."""

import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.answers import Answer, AnswerReader, BrokenAnswerError, request

RECEIVE_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 600

TRIES = 3
"""A server may close a connection that was idle for long just when a request is under way."""


class NoAnswerError(BrokenAnswerError):
    """The server closed the connection instead of an answer."""


class BulkConnection:
    """A connection for large bodies."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.sent_at = 0.0
        """When the last request's body had left, as `time.perf_counter()` counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def post(self, path: str, source: Path, headers: str, *, into: Path | None = None) -> Answer:
        """Send a file; the answer's body goes into another one if it is named."""
        length = f"Content-Length: {source.stat().st_size}\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{length}{headers}\r\n".encode()
        connection = self._connected()
        # A server that refuses a body may close before it has read it all; its answer tells.
        with source.open("rb") as file, suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head)
            connection.sendfile(file)
        self.sent_at = time.perf_counter()
        return self._answer(into)

    def post_bytes(self, path: str, body: bytes, headers: str) -> Answer:
        """Send a body that is in memory."""
        self._connected().sendall(request("POST", path, body, headers))
        return self._answer(None)

    def ask(self, method: str, path: str, headers: str = "", *, into: Path | None = None) -> Answer:
        """A request without a body; a GET is sent again should the connection have been closed."""
        data = request(method, path, headers=headers)
        for _ in range(TRIES if method == "GET" else 1):
            with suppress(ConnectionResetError, BrokenPipeError, NoAnswerError):
                self._connected().sendall(data)
                self.sent_at = time.perf_counter()
                return self._answer(into)
            self.close()
        raise NoAnswerError(path)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS)
        return self._socket

    def _answer(self, into: Path | None) -> Answer:
        if into is None:
            return self._read(AnswerReader())
        with into.open("wb", buffering=0) as file:
            return self._read(AnswerReader(file.write))

    def _read(self, reader: AnswerReader) -> Answer:
        connection = self._connected()
        while data := connection.recv(RECEIVE_BYTES):
            if answer := reader.feed(data):
                if answer.is_last:
                    self.close()
                return answer
        if reader.has_begun:
            raise BrokenAnswerError("The connection was closed in the middle of an answer.")
        raise NoAnswerError("The connection was closed instead of an answer.")
