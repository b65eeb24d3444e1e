"""A client that has gone is noticed while there is nothing to send."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from api.follower import while_there


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end of a connection, with a bound on silence as the API sets it, and the
    client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.settimeout(60)
    with server, client:
        yield server, client


TEXTS = [b"", b"1,15,\n", b"", b"2,17,\n"]


def test_a_client_that_waits_gets_all(ends: tuple[socket.socket, socket.socket]) -> None:
    assert list(while_there(ends[0], iter(TEXTS))) == TEXTS


def test_a_client_that_has_sent_more_is_still_there(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    server, client = ends
    client.sendall(b"GET / HTTP/1.1\r\n")

    assert list(while_there(server, iter(TEXTS))) == TEXTS
    assert server.recv(100).startswith(b"GET")


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_has_gone_ends_it_as_a_broken_connection(
    ends: tuple[socket.socket, socket.socket], *, is_reset: bool
) -> None:
    server, client = ends
    texts = while_there(server, iter(TEXTS))
    first = next(texts), next(texts)

    if is_reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    assert first == (b"", b"1,15,\n")
    with pytest.raises(ConnectionResetError) as raised:
        next(texts)
    assert raised.value.errno == errno.ECONNRESET


def test_nobody_is_looked_after_where_the_connection_is_not_known() -> None:
    assert list(while_there(None, iter(TEXTS))) == TEXTS
