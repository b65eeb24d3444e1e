"""A name server for one name, as Docker has one: an address for each container of a service."""

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADER_BYTES = 12
ANSWER_FLAGS = 0x8180
"""A sound answer, by a server that asks others for whoever wants it (RFC 1035, §4.1.1)."""


class ServiceNames(socketserver.ThreadingUDPServer):
    """Answers every question for an address with `addresses`, which may change."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.addresses: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(socketserver.BaseRequestHandler):
    server: ServiceNames

    def handle(self) -> None:
        query, answering = self.request
        end_of_name = query.index(b"\0", HEADER_BYTES) + 1
        question = query[HEADER_BYTES : end_of_name + 4]
        addresses = list(self.server.addresses)
        head = query[:2] + struct.pack(">5H", ANSWER_FLAGS, 1, len(addresses), 0, 0)
        # The name is the question's; type A, class IN, kept for 600 s as Docker's server says.
        records = (
            struct.pack(">HHHIH", 0xC000 | HEADER_BYTES, 1, 1, 600, 4) + socket.inet_aton(address)
            for address in addresses
        )
        answering.sendto(head + question + b"".join(records), self.client_address)


@contextmanager
def service_names() -> Iterator[ServiceNames]:
    with ServiceNames() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
