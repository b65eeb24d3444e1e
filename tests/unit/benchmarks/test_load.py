from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from benchmarks.answers import request
from benchmarks.conversations import Conversation, Pause, good
from benchmarks.load import Load, LoadRun, run


class Echo(BaseHTTPRequestHandler):
    """Sends bodies back; /closing ends the connection behind the answer, without a word."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if b"bad" in body else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/closing"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def echo_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def twice(body: bytes, path: str = "/") -> Conversation:
    first = good((yield request("POST", path, body)), 200)
    yield Pause(0.001)
    return good((yield request("POST", path, first.body + b"!")), 200).body


def twice_closing(body: bytes) -> Conversation:
    return twice(body, "/closing")


BODIES = [f"body {number}".encode() for number in range(50)]


def run_against_echo(**load: object) -> LoadRun:
    with echo_server() as port:
        return run(Load(port=port, **load))  # type: ignore[arg-type]


@pytest.mark.parametrize("converse", [twice, twice_closing])
def test_each_body_gets_its_own_answer(converse: object) -> None:
    done = run_against_echo(converse=converse, bodies=BODIES, connections=4)

    assert done.errors == []
    assert done.answers == [body + b"!" for body in BODIES]
    assert all(0.001 <= seconds <= done.seconds for seconds in done.latencies_seconds)


def test_a_refusal_is_an_error_and_the_others_go_on() -> None:
    done = run_against_echo(converse=twice, bodies=[b"a", b"bad", b"c"], connections=2)

    assert len(done.errors) == 1
    assert done.answers == [b"a!", b"", b"c!"]


def test_jobs_at_a_pace_are_due_one_after_the_other() -> None:
    done = run_against_echo(converse=twice, bodies=BODIES[:6], jobs_per_second=100.0)

    assert done.seconds >= 0.05
    assert done.answers == [body + b"!" for body in BODIES[:6]]
