"""An S3 server (moto) in a process of its own, which can be told to fail:
`python -m tests.s3_server <port>`.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.live_stack import answers, free_port, process
from tests.waiting import wait_until

BUCKET = "rows"
CONTROL = "/_rowmill"
"""Path that is not S3's: GET counts requests by method, PUT with a status has all others answered
by it, with 0 by S3 again."""


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """How a test speaks to the server."""

    endpoint: str

    @property
    def url(self) -> str:
        """Where Rowmill may put objects."""
        return f"s3://{BUCKET}/some/prefix"

    @property
    def variables(self) -> dict[str, str]:
        """By which obstore finds the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
            "AWS_REGION": "us-east-1",
        }

    @contextmanager
    def failing(self, status: int) -> Iterator[None]:
        """Have every request answered by this status."""
        self._answer_by(status)
        try:
            yield
        finally:
            self._answer_by(0)

    def _answer_by(self, status: int) -> None:
        url = self.endpoint + CONTROL
        requests.put(url, data=str(status), timeout=10).raise_for_status()

    def refused(self) -> int:
        """How many requests were answered by such a status."""
        return int(requests.get(self.endpoint + CONTROL, timeout=10).text)

    def names(self) -> list[str]:
        """Names of all objects of the bucket, behind the prefix."""
        from obstore import list as listed
        from obstore.store import S3Store

        store = S3Store.from_url(self.url, client_options={"allow_http": True})
        return sorted(meta["path"] for some in listed(store) for meta in some)


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """A server with an empty bucket, which this process's own variables lead to, too."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = S3Server(endpoint=f"http://127.0.0.1:{port}")
    env = os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": "1000"}
    with process("tests.s3_server", str(port), env=env, log=directory / "s3.log"):
        wait_until(lambda: answers(server.endpoint + CONTROL), timeout=60)
        requests.put(f"{server.endpoint}/{BUCKET}", timeout=10).raise_for_status()
        before = dict(os.environ)
        os.environ.update(server.variables)
        try:
            yield server
        finally:
            os.environ.clear()
            os.environ.update(before)


# Any: what WSGI hands on.
def _with_faults(application: Callable[..., Any]) -> Callable[..., Any]:
    status, refused = 0, 0

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        nonlocal status, refused
        if environ["PATH_INFO"] == CONTROL:
            if environ["REQUEST_METHOD"] == "PUT":
                status = int(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(refused).encode()]
        if status:
            refused += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} Fault", [("Content-Length", "0")])
            return []
        return application(environ, start_response)

    return answer


def main(port: int) -> None:
    """Serve until the process is ended."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = _with_faults(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", port, application, threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
