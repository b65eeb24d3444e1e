"""A proxy between a client and an API that cuts connections where a test says so."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a connection ends: after so many bytes of the client's, or of the answer's."""

    after_bytes: int | None = None
    answer_bytes: int | None = None
    then: Callable[[], None] = lambda: None
    """Called before the connection ends, such as to kill the API."""


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes on what comes. `cuts` are for the next connections, in order; then none is cut."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target_url = target_url
        self.cuts: list[Cut] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: CuttingProxy

    def handle(self) -> None:
        cut = self.server.cuts.pop(0) if self.server.cuts else Cut()
        self.server.connections += 1
        address = urlsplit(self.server.target_url)
        try:
            api = socket.create_connection((str(address.hostname), int(address.port or 0)))
        except OSError:
            return  # as if nobody had been there
        with api:
            answers = threading.Thread(target=self._answer, args=(api, cut))
            answers.start()
            with suppress(OSError):
                self._pass_on(api, cut)
            with suppress(OSError):
                api.shutdown(socket.SHUT_RDWR)
            answers.join()
        if cut.after_bytes is None:
            with suppress(OSError):
                self._pass_over()

    def _pass_on(self, api: socket.socket, cut: Cut) -> None:
        passed_bytes = 0
        while block := self.request.recv(65_536):
            rest = None if cut.after_bytes is None else cut.after_bytes - passed_bytes
            api.sendall(block[:rest])
            passed_bytes += len(block)
            if rest is not None and len(block) >= rest:
                cut.then()
                return

    def _pass_over(self) -> None:
        """Read what the API left unread, as proxies do: a client that still sends would wait a
        minute for somebody to read it, and not see the answer that it has."""
        while self.request.recv(65_536):
            pass

    def _answer(self, api: socket.socket, cut: Cut) -> None:
        passed_bytes = 0
        with suppress(OSError):
            while block := api.recv(65_536):
                rest = None if cut.answer_bytes is None else cut.answer_bytes - passed_bytes
                self.request.sendall(block[:rest])
                passed_bytes += len(block)
                if rest is not None and len(block) >= rest:
                    break
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_WR)


@contextmanager
def cutting_proxy(target_url: str) -> Iterator[CuttingProxy]:
    """A proxy on a free port of loopback."""
    with CuttingProxy(target_url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
