"""Receivers of callbacks: real HTTP servers that behave well or badly, on loopback."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from tests.waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it came in."""

    start: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    def verified(self, secret: str = SECRET) -> dict[str, Any]:
        """The message, if its signature is good; raises WebhookVerificationError."""
        return dict(Webhook(secret).verify(self.body, self.headers))


Behaviour = Callable[[socket.socket, int], None]
"""What is done with a connection whose request has been read; the number is that of the request."""


@dataclass
class Receiver:
    """What a running receiver has heard so far."""

    port: int
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    most_at_once: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=1"

    def heard(self, count: int = 1, *, timeout: float = 30) -> list[Received]:
        """The requests, once there are so many."""
        wait_until(lambda: len(self.requests) >= count, timeout=timeout)
        return list(self.requests)

    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in list(self.requests)]

    def serve(self, connection: socket.socket, behaviour: Behaviour) -> None:
        with self._lock:
            self.connections += 1
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        try:
            with connection:
                connection.settimeout(30)
                request = read_request(connection)
                with self._lock:
                    self.requests.append(request)
                    number = len(self.requests)
                behaviour(connection, number)
        except OSError:
            pass  # the caller has gone, which is what some behaviours are for
        finally:
            with self._lock:
                self._open -= 1


def read_request(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += received(connection)
    return Received(start=start, headers=headers, body=body)


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("closed")
    return data


# --- behaviours


def answering(status: int, *headers: str) -> Behaviour:
    """One status for all."""
    return in_turn((status, *headers))


def in_turn(*answers: tuple[int | str, ...]) -> Behaviour:
    """Statuses and their headers for the first requests, the last one for all that follow."""

    def answer(connection: socket.socket, number: int) -> None:
        status, *headers = answers[min(number, len(answers)) - 1]
        lines = "".join(f"{header}\r\n" for header in headers)
        head = f"HTTP/1.1 {status} So\r\nContent-Length: 2\r\n{lines}\r\nok"
        connection.sendall(head.encode())

    return answer


def silent(connection: socket.socket, _: int) -> None:
    """Says nothing until the caller gives up."""
    while connection.recv(65536):
        pass


def dribbling(connection: socket.socket, _: int) -> None:
    """Sends a byte of a header that never ends every now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    connection.settimeout(0.1)
    while True:
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            connection.sendall(b"x")


def garbling(connection: socket.socket, _: int) -> None:
    """Speaks another protocol."""
    connection.sendall(b"220 mail.example ESMTP\r\n")


@contextmanager
def receiver(behaviour: Behaviour, *, port: int = 0) -> Iterator[Receiver]:
    """A receiver that is running."""
    with socket.create_server(("127.0.0.1", port)) as server:
        found = Receiver(port=server.getsockname()[1])

        def accept() -> None:
            while not found.is_over.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(
                    target=found.serve, args=(connection, behaviour), daemon=True
                ).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield found
        found.is_over.set()
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)
