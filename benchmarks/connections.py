"""The small jobs' client's keep-alive connections."""

import selectors
import socket

from benchmarks.answers import AnswerReader, BrokenAnswerError
from benchmarks.conversations import Conversation, Pause

RECEIVE_BYTES = 65536
TIMEOUT_SECONDS = 120


class Connection:
    """A connection that holds one conversation at a time, and comes back when it was closed."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port = port
        self._selector = selector
        self._socket: socket.socket | None = None
        self._reader = AnswerReader()
        self._request = b""
        self.number = -1
        self.began = 0.0
        self.conversation: Conversation

    def go_on(self) -> bytes | Pause:
        """What the conversation says first, or after a pause. Raises as `receive` does."""
        return next(self.conversation)

    def send(self, data: bytes) -> None:
        self._request = data
        try:
            self._connected().sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            self._connected().sendall(data)

    def receive(self) -> bytes | Pause | None:
        """What the conversation says to the bytes that arrived; None while they are no whole
        answer. Raises StopIteration at its end, and whatever it raises."""
        try:
            data = self._connected().recv(RECEIVE_BYTES)
        except ConnectionResetError:
            data = b""
        if not data:
            if self._reader.has_begun:
                raise BrokenAnswerError("The connection was closed in the middle of an answer.")
            # The server closes connections that were idle for long, be a request under way or not.
            self.close()
            if self._request:
                self.send(self._request)
            return None
        answer = self._reader.feed(data)
        if answer is None:
            return None
        self._request = b""
        if answer.is_last:
            self.close()
        return self.conversation.send(answer)

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None
            self._reader = AnswerReader()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._socket, selectors.EVENT_READ, self)
        return self._socket
