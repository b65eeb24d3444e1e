"""A client that falls silent is cut off and told so, and holds no thread for ever."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_stack import Api, api_process, environment, redis_server
from tests.raw_http import answer_on, connected, head

THREADS = 4


@pytest.fixture(scope="module")
def impatient(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API of a few threads in all that bears a second of silence."""
    with redis_server(run_directory / "q") as url:
        env = environment(url, models_dir, max_silence_seconds="1", api_processes="1")
        env["GUNICORN_CMD_ARGS"] = f"--threads {THREADS}"
        with api_process(env, run_directory / "impatient.log") as api:
            yield api


def begin_upload(api: Api) -> socket.socket:
    """A connection on which the first bytes of a body have been sent, and no more come."""
    connection = connected(api)
    connection.sendall(head("Content-Length: 1000") + b"x\n6\n")
    return connection


def test_an_upload_that_falls_silent_is_refused_as_incomplete(impatient: Api) -> None:
    with begin_upload(impatient) as client:
        status, problem = answer_on(client)

    assert (status, problem["code"]) == (400, "upload_incomplete")


def test_others_are_served_while_uploads_are_silent(impatient: Api) -> None:
    clients = [begin_upload(impatient) for _ in range(3 * THREADS)]

    healthy = impatient.get("/healthz")

    for client in clients:
        client.close()
    assert healthy.status_code == 200
