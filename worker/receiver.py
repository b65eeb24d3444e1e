"""One HTTP request to a callback: to an address that was looked at, and in bounded time.

By hand and not by a client library, because those resolve the name again when they connect: by
then it may mean a private address (DNS rebinding). There are no redirects, proxies or cookies, and
of the answer only status and headers are read. A receiver that sends a byte now and then gains
nothing: all that is done with it ends by the same moment.
"""

import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse

from shared.callbacks import CallbackUrl, is_public, parse_callback
from shared.errors import CallbackRefusedError


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a receiver says."""

    status: int
    retry_after: str | None = None


def addresses_of(host: str, port: int) -> Sequence[str]:
    """What a name means now, in the order to be tried. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect_to(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to an address, which is no name. Raises OSError."""
    return socket.create_connection((address, port), timeout=seconds)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls receivers. Safe to share by threads."""

    allow_private: bool
    """Whether private addresses may be called, and without TLS."""
    resolve: Callable[[str, int], Sequence[str]] = addresses_of
    connect: Callable[[str, int, float], socket.socket] = connect_to
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Answer:
        """The receiver's answer. Looking up the name may take longer, the rest takes at most so
        many seconds.

        Raises CallbackRefusedError, InvalidParameterError, OSError, http.client.HTTPException.
        """
        parts = parse_callback(url, allow_private=self.allow_private)
        addresses = self._addresses(parts)
        bounds = _Bounds(ends_at=time.monotonic() + seconds)
        with self._connected(parts, addresses, bounds) as connection:
            return _exchange(parts, _BoundedSocket(connection, bounds), body, headers)

    def _addresses(self, parts: CallbackUrl) -> Sequence[str]:
        addresses = self.resolve(parts.host, parts.port)
        # All of them: a name that means a private address as well was not made by a friend.
        if not self.allow_private and not all(map(is_public, addresses)):
            raise CallbackRefusedError("its name stands for a private or reserved address")
        return addresses

    def _connected(
        self, parts: CallbackUrl, addresses: Sequence[str], bounds: "_Bounds"
    ) -> socket.socket:
        plain = self._first_connection(parts, addresses, bounds)
        if not parts.is_secure:
            return plain
        try:
            plain.settimeout(bounds.left())
            return self.tls.wrap_socket(plain, server_hostname=parts.host.rstrip("."))
        except BaseException:
            plain.close()
            raise

    def _first_connection(
        self, parts: CallbackUrl, addresses: Sequence[str], bounds: "_Bounds"
    ) -> socket.socket:
        problem: OSError = OSError("there is no address")
        for at, address in enumerate(addresses):
            try:
                # One that swallows packets must leave time for the others.
                seconds = bounds.left() / (len(addresses) - at)
                return self.connect(address, parts.port, seconds)
            except OSError as error:
                problem = error
        raise problem


def _exchange(
    parts: CallbackUrl, bounded: "_BoundedSocket", body: bytes, headers: Mapping[str, str]
) -> Answer:
    connection = HTTPConnection(parts.host, parts.port)
    # It writes to and reads from what it finds here, and connects only where it finds nothing.
    connection.sock = bounded
    connection.putrequest("POST", parts.target, skip_host=True, skip_accept_encoding=True)
    own = {"Host": parts.authority, "Content-Length": str(len(body)), "Connection": "close"}
    for name, value in {**own, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    return _final_answer(bounded)


def _final_answer(bounded: "_BoundedSocket") -> Answer:
    """What comes behind any number of interim answers (RFC 9110 §15.2), of which `http.client`
    passes over 100 alone."""
    while True:
        response = HTTPResponse(bounded, method="POST")  # type: ignore[arg-type]  # all it needs
        response.begin()
        is_interim = (
            response.status // 100 == 1 and response.status != HTTPStatus.SWITCHING_PROTOCOLS
        )
        if not is_interim:
            return Answer(status=response.status, retry_after=response.getheader("Retry-After"))


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """When all has to be over, by the monotonic clock."""

    ends_at: float

    def left(self) -> float:
        """Seconds until then. Raises TimeoutError if there are none."""
        seconds = self.ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds


class _BoundedSocket:
    """What `http.client` needs of a socket, within bounds."""

    def __init__(self, connection: socket.socket, bounds: _Bounds) -> None:
        self._connection = connection
        self._bounds = bounds
        self._reader = _Reader(_Incoming(connection, bounds))

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._bounds.left())
        self._connection.sendall(data)

    def makefile(self, _: str) -> io.BufferedReader:
        return self._reader

    def close(self) -> None:
        """Left to who has connected."""


class _Reader(io.BufferedReader):
    def close(self) -> None:
        """Left open: the answer behind an interim one is read from it, too."""


class _Incoming(io.RawIOBase):
    def __init__(self, connection: socket.socket, bounds: _Bounds) -> None:
        self._connection = connection
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what is passed
        self._connection.settimeout(self._bounds.left())
        return self._connection.recv_into(buffer)
