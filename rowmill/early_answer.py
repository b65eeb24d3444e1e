"""Uploads that hear an answer before they are done, and bear a server that pauses them.

A server may refuse a body at its header (413, 422) while gigabytes are still to come. Then it
closes the connection, or stops reading, or reads the rest for nothing. urllib3 survives the first
(it ignores EPIPE and ECONNRESET and reads the answer); these classes look for an answer whenever
they are about to send, which covers the others: nothing blocks, nothing is wasted. Over TLS a
readable socket may hold a session ticket instead of an answer, so there nothing is looked for: a
server or proxy that hangs up at once (nginx lingers) is then a lost connection.

urllib3 sends under the connect timeout. That is short, and intake slows uploads down on purpose
while its queue is full, so here sending has the longer timeout of reading.
"""

import functools
import selectors
import socket
from collections.abc import Iterable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class EarlyAnswerConnection(HTTPConnection):
    """Stops sending as soon as the server has answered, or has closed."""

    # `Any`, in this file: urllib3's own arguments, passed on untouched.
    def __init__(self, *args: Any, send_timeout_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.send_timeout_seconds = send_timeout_seconds

    def connect(self) -> None:
        super().connect()
        self.timeout = self.send_timeout_seconds
        self.sock.settimeout(self.timeout)

    # http.client takes more types than urllib3's annotation tells.
    def send(self, data: bytes | Iterable[bytes]) -> None:  # type: ignore[override]
        if isinstance(self.sock, socket.socket) and isinstance(data, bytes):
            _send_until_answered(self.sock, data)
        else:
            super().send(data)  # the first piece: it opens the connection


class PatientTlsConnection(HTTPSConnection):
    """Differs from urllib3's in the timeout of sending alone."""

    def __init__(self, *args: Any, send_timeout_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.send_timeout_seconds = send_timeout_seconds

    def connect(self) -> None:
        super().connect()
        self.timeout = self.send_timeout_seconds
        self.sock.settimeout(self.timeout)


class UploadAdapter(HTTPAdapter):
    """For one upload on one session: after an early answer the connection is of no more use."""

    def __init__(self, *, send_timeout_seconds: float) -> None:
        self.send_timeout_seconds = send_timeout_seconds
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        """The pool requests would use, with the connections above."""
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        assert isinstance(pool, HTTPConnectionPool)  # the stubs of requests know only its base
        kind = PatientTlsConnection if pool.scheme == "https" else EarlyAnswerConnection
        pool.ConnectionCls = functools.partial(  # type: ignore[assignment]  # it is only called
            kind, send_timeout_seconds=self.send_timeout_seconds
        )
        return pool


def _send_until_answered(connection: socket.socket, data: bytes) -> None:
    """Sends all of `data`, or raises BrokenPipeError at the first sign of an answer."""
    rest = memoryview(data)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while rest:
            rest = rest[_send_some(connection, rest, selector=selector) :]


def _send_some(
    connection: socket.socket, rest: memoryview, *, selector: selectors.BaseSelector
) -> int:
    ready = selector.select(connection.gettimeout())
    if not ready:
        raise TimeoutError("the server doesn't read on")
    if ready[0][1] & selectors.EVENT_READ:
        raise BrokenPipeError("the server has answered")
    return connection.send(rest)
