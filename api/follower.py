"""A client that takes results as they are committed, and may go while there are none."""

import errno
import os
import selectors
import socket
from collections.abc import Iterator


def while_there(client: socket.socket | None, texts: Iterator[bytes]) -> Iterator[bytes]:
    """`texts` for as long as the client is there; whenever one is empty, it is looked after.

    Without the server's own connection nobody can tell. Raises ConnectionResetError when the client
    has gone, by which the server closes its side and doesn't say that this was all.
    """
    for text in texts:
        if not text and client and _has_gone(client):
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        yield text


def _has_gone(client: socket.socket) -> bool:
    """Whether a client has closed its side; one that will only read on is not told from it."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        # Reading alone would wait for as long as the client may be silent.
        return bool(selector.select(timeout=0)) and not client.recv(1, socket.MSG_PEEK)
