"""Connections that stay open: busy, pipelined, slow, silent, and more than there are threads."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import pytest
import requests

from tests.live_stack import Api, api_process, environment, redis_server
from tests.raw_http import connected
from tests.waiting import wait_until

THREADS = 4


@pytest.fixture(scope="module")
def narrow(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API of a few threads in all."""
    with redis_server(run_directory / "n") as url:
        env = environment(url, models_dir, api_processes="1")
        env["GUNICORN_CMD_ARGS"] = f"--threads {THREADS}"
        with api_process(env, run_directory / "narrow.log") as api:
            yield api


@contextmanager
def connections(api: Api, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connected(api)) for _ in range(count)]


def request(path: str = "/healthz", *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: test", *headers, "", ""]).encode()


def read(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the only answer that is on its way."""
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read()


def is_healthy(answer: tuple[int, bytes]) -> bool:
    return answer[0] == 200 and b'"ok"' in answer[1]


def ended(connection: socket.socket) -> bool:
    return connection.recv(1) == b""


def test_requests_are_answered_back_to_back(narrow: Api) -> None:
    with connected(narrow) as connection:
        for _ in range(100):
            connection.sendall(request())
            assert is_healthy(read(connection))


def test_requests_of_connections_by_turns_are_answered(narrow: Api) -> None:
    """Between two requests each is silent for as long as the others take."""
    with connections(narrow, 5 * THREADS) as open_connections:
        for _ in range(10):
            for connection in open_connections:
                connection.sendall(request())
            for connection in open_connections:
                assert is_healthy(read(connection))


def test_a_body_that_nobody_read_is_not_taken_for_the_next_request(narrow: Api) -> None:
    body = b"GET /nope HTTP/1.1\r\nHost: test\r\n\r\n"
    head = [
        "POST /jobs?model=nope HTTP/1.1",
        "Host: test",
        "Content-Type: text/csv",
        f"Content-Length: {len(body)}",
    ]
    with connected(narrow) as connection:
        for _ in range(3):
            connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
            status, text = read(connection)
            assert (status, b"model_not_found" in text or b"header_mismatch" in text) == (404, True)
            connection.sendall(request())
            assert is_healthy(read(connection))


def test_pipelined_requests_are_answered_in_order(narrow: Api) -> None:
    paths = ["/healthz", "/models/line", "/nope", "/healthz", "/models/echo"] * 4
    with connected(narrow) as connection:
        connection.sendall(b"".join(request(path) for path in paths[:-1]))
        connection.sendall(request(paths[-1], "Connection: close"))
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    answers = received.split(b"HTTP/1.1 ")[1:]
    signs = {
        "/healthz": b'"ok"',
        "/models/line": b'"name":"line"',
        "/nope": b"not_found",
        "/models/echo": b'"name":"echo"',
    }
    assert [signs[path] in answer.replace(b": ", b":") for path, answer in zip(
        paths, answers, strict=True
    )] == [True] * len(paths)  # fmt: skip


def test_a_request_may_come_in_pieces(narrow: Api) -> None:
    with connected(narrow) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(3):
            for byte in request():
                connection.sendall(bytes([byte]))
            assert is_healthy(read(connection))


@pytest.mark.parametrize(
    ("version", "headers", "stays"),
    [
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.1", ["Connection: close"], False),
        ("1.1", [], True),
    ],
)
def test_a_connection_stays_open_if_its_client_wants_it(
    narrow: Api, version: str, headers: list[str], *, stays: bool
) -> None:
    with connected(narrow) as connection:
        connection.sendall(request("/healthz", *headers, version=version))
        assert is_healthy(read(connection))

        if stays:
            connection.sendall(request("/healthz", *headers, version=version))
            assert is_healthy(read(connection))
        else:
            assert ended(connection)


def test_clients_that_do_not_close_hold_nobody_up(narrow: Api) -> None:
    """Both sides have said that it is over, and the server has to wait for its client's close."""
    with ExitStack() as stack:
        lingering = []
        for _ in range(3 * THREADS):
            connection = stack.enter_context(connected(narrow))
            connection.sendall(request("/healthz", "Connection: close"))
            assert is_healthy(read(connection))
            lingering.append(connection)

        # Two seconds for each of them, one after another, if it were waited for.
        assert requests.get(f"{narrow.url}/healthz", timeout=10).ok
        assert all(ended(connection) for connection in lingering)


def test_clients_that_leave_without_a_word_do_no_harm(narrow: Api) -> None:
    for _ in range(3 * THREADS):
        with connected(narrow) as connection:
            connection.sendall(request())
            assert is_healthy(read(connection))
            connection.sendall(request()[:10])

    assert requests.get(f"{narrow.url}/healthz", timeout=20).ok


@pytest.mark.parametrize("asked_before", [True, False])
def test_connections_that_are_silent_use_up_no_threads(narrow: Api, *, asked_before: bool) -> None:
    with connections(narrow, 5 * THREADS) as silent:
        for connection in silent if asked_before else []:
            connection.sendall(request())
            assert is_healthy(read(connection))

        # One that never said a word holds a thread for five seconds.
        assert requests.get(f"{narrow.url}/healthz", timeout=90).ok


def test_nobody_is_kept_out_by_connections_that_are_never_silent(narrow: Api) -> None:
    is_over = threading.Event()
    answered = [0] * (2 * THREADS)

    def ask_on_and_on(number: int, connection: socket.socket) -> None:
        while not is_over.is_set():
            connection.sendall(request())
            assert is_healthy(read(connection))
            answered[number] += 1

    with connections(narrow, 2 * THREADS) as busy:
        threads = [threading.Thread(target=ask_on_and_on, args=each) for each in enumerate(busy)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: min(answered) > 0, timeout=15)
            for _ in range(20):
                assert requests.get(f"{narrow.url}/healthz", timeout=15).ok
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
