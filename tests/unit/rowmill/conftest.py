"""A scripted server on loopback, and factories that default everything."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rowmill.client import Client
from rowmill.jobs import Job, job_from_json
from rowmill.polling import Clock

JobFactory = Callable[..., dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server says; before it reads the body if `is_early`."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_early: bool = False
    is_silent: bool = False
    """Whether the answer never comes."""
    claimed_bytes: int | None = None
    """A `Content-Length` that isn't true."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the server heard."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class FakeServer(ThreadingHTTPServer):
    """Gives the answers it was told to, in order; the last of a path is repeated."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        self.requests: list[Request] = []
        self.is_over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def say(self, method: str, path: str, *, json_body: object = None, **answer: Any) -> None:
        """Adds an answer for a path."""
        if json_body is not None:
            answer["body"] = json.dumps(json_body).encode()
        self.answers[method, path].append(Answer(**answer))

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""

    def next_answer(self, method: str, path: str) -> Answer:
        planned = self.answers[method, path]
        return planned.pop(0) if len(planned) > 1 else planned[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def handle_any(self) -> None:
        answer = self.server.next_answer(self.command, self.path.partition("?")[0])
        body = b"" if answer.is_early else self.read_body()
        self.server.requests.append(
            Request(method=self.command, target=self.path, headers=self.headers, body=body)
        )
        if answer.is_silent:
            self.server.is_over.wait(timeout=30)
        self.send(answer)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 (http.server's names)

    def send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        claimed = len(answer.body) if answer.claimed_bytes is None else answer.claimed_bytes
        for name, value in {"Content-Length": str(claimed), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = answer.is_early or answer.claimed_bytes is not None

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(iter(self.read_chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def read_chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        return self.rfile.read(size + 2)[:size]

    def log_message(self, format: str, *args: object) -> None:
        pass


class FakeClock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.seconds, sleep=self.sleep)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        # A short poll only hastens the end of the test.
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.is_over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(server: FakeServer, fake_clock: FakeClock) -> Iterator[Client]:
    with Client(server.url, timeout=10, clock=fake_clock.clock) as client:
        yield client


@pytest.fixture
def job_document() -> JobFactory:
    """Makes a job's JSON as the contract shows it."""

    def make(
        status: str = "running",
        *,
        id: str = "job_1",
        total: int = 10,
        succeeded: int = 4,
        failed: int = 0,
        **changes: object,
    ) -> dict[str, Any]:
        done = succeeded + failed
        return {
            "id": id,
            "status": status,
            "model": {"name": "petrol", "version": "1", "sha256": "00"},
            "input": {"format": "csv", "bytes": 100, "sha256": "00"},
            "counts": {
                "total": total,
                "succeeded": succeeded,
                "failed": failed,
                "pending": total - done,
            },
            "progress": {
                "ratio": done / total if total else 0,
                "rows_per_second": 8100,
                "eta_seconds": 0.7,
                "chunks_done": 1,
                "chunks_total": 2,
            },
            "created_at": "2025-01-01T00:00:00Z",
            "started_at": "2025-01-01T00:00:01Z",
            "finished_at": None,
            "expires_at": "2025-01-02T00:00:00Z",
            "error": None,
            "warnings": [],
            "urls": {"self": f"/jobs/{id}"},
            **changes,
        }

    return make


@pytest.fixture
def model_document() -> Callable[..., dict[str, Any]]:
    """Makes a model's JSON; `states` are those of its versions, from 1 on."""

    def make(
        *states: str, serves: str = "1", error: object = None, **changes: object
    ) -> dict[str, Any]:
        versions = [
            {"version": str(n), "state": state, "error": None, "jobs": 0, "rows": 0}
            | {"error_rate": None}
            for n, state in enumerate(states, start=1)
        ]
        versions[-1]["error"] = error
        return {
            "name": "churn",
            "version": serves,
            "versions": versions,
            "latest": str(len(states)),
            "aliases": {},
            "comparisons": [],
            "description": "",
            "metrics": {},
            "signature": {"features": [], "outputs": {"predict": []}},
            **changes,
        }

    return make


@pytest.fixture
def make_job(job_document: JobFactory) -> Callable[..., Job]:
    """Makes a job as the client parses it; takes what `job_document` takes."""

    def make(*args: Any, **changes: Any) -> Job:
        return job_from_json(job_document(*args, **changes))

    return make
