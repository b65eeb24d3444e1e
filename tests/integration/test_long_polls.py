"""Requests that wait for the end of a job hold no thread: there are many more than the API has."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from api.waiting import WAITING_THREADS
from shared.job_store import keys
from shared.job_store.connection import connect
from tests.job_steps import JobSteps, steps_on
from tests.live_stack import Api, api_process, environment, redis_server
from tests.raw_http import connected
from tests.waiting import wait_until

MANY = 8
SEATS = 10
SOON = 5.0
"""Seconds in which what has an answer has it, on a busy machine."""

BODY = "x\n6\n"


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str


@pytest.fixture(scope="module")
def narrow(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API of one thread; nobody works but the test."""
    with (
        redis_server(run_directory / "l") as url,
        narrow_api(url, run_directory, models_dir) as api,
    ):
        yield api


@contextmanager
def narrow_api(redis_url: str, directory: Path, models_dir: Path) -> Iterator[Api]:
    settings = {"api_processes": "1", "max_waiting_requests": str(SEATS)}
    env = environment(redis_url, models_dir, **settings)
    env["GUNICORN_CMD_ARGS"] = "--threads 1"
    with api_process(env, directory / "long_polls.log") as api:
        yield api


@pytest.fixture
def steps(narrow: Api) -> Iterator[JobSteps]:
    """Steps on that API's server."""
    with steps_on(narrow.redis_url) as steps:
        yield steps


def look(job_id: str, *headers: str, wait: int = 60) -> bytes:
    lines = [f"GET /jobs/{job_id} HTTP/1.1", "Host: test", f"Prefer: wait={wait}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def send(path: str, *headers: str, wait: int = 60) -> bytes:
    lines = [f"POST {path}?model=line HTTP/1.1", "Host: test", f"Prefer: wait={wait}", *headers,
             "Content-Type: text/csv", f"Content-Length: {len(BODY)}"]  # fmt: skip
    return "\r\n".join([*lines, "", BODY]).encode()


def answer(connection: socket.socket, *, within: float = SOON) -> Answer:
    connection.settimeout(within)
    found = HTTPResponse(connection)
    found.begin()
    return Answer(found.status, found.headers, found.read().decode())


def status_of(connection: socket.socket) -> str:
    """That of the job in the answer."""
    return str(json.loads(answer(connection).text)["status"])


def last_answer(connection: socket.socket) -> Answer:
    with connection:
        return answer(connection)


@contextmanager
def waiting(api: Api, *requests: bytes) -> Iterator[list[socket.socket]]:
    """Connections on each of which a request waits that no thread is held for any more."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(api)) for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request)
        assert_serves(api)
        yield connections


def assert_serves(api: Api) -> None:
    """The thread is free. It has done with all that was sent before."""
    assert api.get("/healthz").ok


def test_many_more_may_wait_than_there_are_threads(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with waiting(narrow, *[look(job_id)] * MANY) as connections:
        steps.run_all()

        answers = [answer(connection) for connection in connections]

        assert {found.status for found in answers} == {200}
        assert all('"status":"succeeded"' in found.text for found in answers)
        assert {found.headers["Preference-Applied"] for found in answers} == {"wait=60"}
        # Each connection goes on as it would have done.
        for connection in connections:
            connection.sendall(look(job_id))
        assert {answer(connection).text for connection in connections} == {answers[0].text}


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/predict", 200, "row,prediction,error\n"), ("/jobs", 202, '"status":"succeeded"')],
)
def test_who_submits_waits_as_well(
    narrow: Api, steps: JobSteps, path: str, status: int, text: str
) -> None:
    with waiting(narrow, *[send(path)] * MANY) as connections:
        wait_until(lambda: steps.backlog().get("rows") == MANY)
        steps.run_all()

        answers = [answer(connection) for connection in connections]

    assert {found.status for found in answers} == {status}
    assert all(text in found.text for found in answers)
    jobs = {found.headers["Location"] or found.headers["Content-Location"] for found in answers}
    assert len(jobs) == MANY


def test_a_wait_is_as_long_as_was_asked(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    began = time.monotonic()
    with waiting(narrow, look(job_id, wait=2), send("/predict", wait=2)) as connections:
        first, second = (answer(connection) for connection in connections)

    # Who does not ask waits for a minute.
    assert 2 <= time.monotonic() - began < 30
    assert (first.status, second.status) == (200, 202)
    assert all('"status":"queued"' in found.text for found in (first, second))
    assert {found.headers["Preference-Applied"] for found in (first, second)} == {"wait=2"}


def test_what_is_said_of_a_job_is_answered_as_if_it_were_asked_now(
    narrow: Api, steps: JobSteps
) -> None:
    deleted, ended = steps.submit(), steps.submit()
    with waiting(narrow, look(deleted), look(ended, 'If-None-Match: "x"')) as connections:
        steps.store.delete(deleted)
        steps.store.cancel(ended)

        first, second = (answer(connection) for connection in connections)

    assert (first.status, first.headers["Content-Type"]) == (410, "application/problem+json")
    assert (second.status, '"status":"cancelled"' in second.text) == (200, True)
    with connected(narrow) as connection:
        connection.sendall(look(ended, f"If-None-Match: {second.headers['ETag']}"))
        assert answer(connection).status == 304


def test_a_connection_that_is_cut_costs_no_word(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with waiting(narrow, *[look(job_id)] * MANY) as connections:
        steps.redis.client_kill_filter(_type="pubsub")
        steps.run_all()

        assert {status_of(connection) for connection in connections} == {"succeeded"}


def test_a_client_may_go_while_it_waits(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with waiting(narrow, *[look(job_id)] * MANY):
        pass

    with waiting(narrow, look(job_id)) as [connection]:
        steps.run_all()
        assert status_of(connection) == "succeeded"


def test_what_is_sent_meanwhile_is_answered_afterwards(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with waiting(narrow, look(job_id)) as [connection]:
        connection.sendall(look(job_id, "Connection: close"))
        steps.run_all()

        connection.settimeout(SOON)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.count(b'"status":"succeeded"') == 2


def test_who_waits_is_told_once_to_go_on_with_a_body(narrow: Api, steps: JobSteps) -> None:
    header, _, body = send("/jobs", "Expect: 100-continue").partition(b"\r\n\r\n")
    with connected(narrow) as connection:
        connection.sendall(header + b"\r\n\r\n")
        connection.settimeout(SOON)
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        wait_until(lambda: steps.backlog().get("rows") == 1)
        assert_serves(narrow)
        steps.run_all()

        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ACCEPTED\r\n")


def test_who_finds_no_seat_is_answered_at_once(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with (
        waiting(narrow, *[look(job_id)] * SEATS) as connections,
        waiting(narrow, look(job_id)) as [late],
    ):
        at_once = answer(late)
        assert (at_once.status, at_once.headers["Preference-Applied"]) == (200, None)
        steps.run_all()
        assert {status_of(connection) for connection in connections} == {"succeeded"}

    with waiting(narrow, look(steps.submit(), wait=1)) as [connection]:
        assert answer(connection).headers["Preference-Applied"] == "wait=1"


def test_who_waits_is_answered_when_the_api_stops(
    run_directory: Path, models_dir: Path, narrow: Api, steps: JobSteps
) -> None:
    job_id = steps.submit()
    with (
        narrow_api(narrow.redis_url, run_directory, models_dir) as stopping,
        waiting(stopping, *[look(job_id)] * MANY, send("/predict")) as connections,
    ):
        os.kill(stopping.pid, signal.SIGTERM)
        *looks, predict = (last_answer(connection) for connection in connections)

    assert {found.status for found in looks} == {200}
    assert all('"status":"queued"' in found.text for found in looks)
    # Nobody has waited for as long as was asked.
    assert {found.headers["Preference-Applied"] for found in looks} == {None}
    assert (predict.status, predict.headers["Connection"]) == (202, "close")


def test_others_are_served_while_those_who_wait_can_not_look(
    run_directory: Path, models_dir: Path
) -> None:
    """A server that is silent holds who asks it for five seconds."""
    directory = run_directory / "silent"
    env = environment("", models_dir, api_processes="1")
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(directory))
        env["ROWMILL_REDIS_URL"] = url
        api = stack.enter_context(api_process(env, run_directory / "silent.log"))
        redis = stack.enter_context(closing(connect(url)))
        requests = [send("/predict", wait=2)] * (3 * WAITING_THREADS)
        connections = stack.enter_context(waiting(api, *requests))
        wait_until(lambda: int(redis.hget(keys.BACKLOG, "rows") or 0) == len(requests))
        server = psutil.Process(redis.info()["process_id"])

        server.suspend()
        try:
            late = time.monotonic() + 4
            while time.monotonic() < late:
                with connected(api) as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
                    assert answer(connection, within=3).status == 200
        finally:
            server.resume()

        answers = [answer(connection, within=10) for connection in connections]

    assert {found.status for found in answers} <= {202, 503}
