"""Shows what a worker's processes count: `python -m worker.metrics_server <id of its process>`.

A process of its own beside the worker's, as `companion.py` explains. It reads files and holds
nothing, so it answers as well while the worker is busy, and ends with it.
"""

import logging
import os
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from pydantic import SecretStr

from shared import logs, metrics
from shared.settings import Settings

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often is looked whether the worker still runs."""

SILENCE_SECONDS = 5.0
"""How long a client may be silent: it holds a thread."""


def make_server(host: str, port: int, token: SecretStr) -> ThreadingHTTPServer:
    """Listens from now on. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE_SECONDS

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(HTTPStatus.NOT_FOUND)
            elif not is_let_in(self.headers.get("Authorization", ""), token):
                self._answer(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", "Bearer"))
            else:
                text = metrics.exposition(metrics.AllProcesses())
                self._answer(HTTPStatus.OK, ("Content-Type", metrics.CONTENT_TYPE), body=text)

        def _answer(
            self, status: HTTPStatus, *headers: tuple[str, str], body: bytes | None = None
        ) -> None:
            body = status.phrase.encode() if body is None else body
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: a line for each look would bury the events."""

    return ThreadingHTTPServer((host, port), Handler)


def is_let_in(authorization: str, token: SecretStr) -> bool:
    """Anybody is where no token was chosen."""
    return not token.get_secret_value() or metrics.holds_token(authorization, token)


def main(worker_process: int) -> None:
    """Serve as long as this is the child of a worker's main process."""
    settings = Settings()
    logs.configure(settings.log_level)
    is_stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: is_stopped.set())
    try:
        server = make_server(settings.metrics_host, settings.metrics_port, settings.metrics_token)
    except OSError as error:
        address = f"{settings.metrics_host}:{settings.metrics_port}"
        sys.exit(f"Metrics can't be served on {address}: {error.strerror}.")
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    while not is_stopped.wait(LOOK_SECONDS) and os.getppid() == worker_process:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
