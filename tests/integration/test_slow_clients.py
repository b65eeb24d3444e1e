"""A client that falls silent is cut off and told so, and holds no thread for ever."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.live_stack import Api, api_process, environment, redis_server


@pytest.fixture(scope="module")
def impatient(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API that bears a second of silence."""
    with redis_server(run_directory / "q") as url:
        env = environment(url, models_dir, max_silence_seconds="1")
        with api_process(env, run_directory / "impatient.log") as api:
            yield api


def test_an_upload_that_falls_silent_is_refused_as_incomplete(impatient: Api) -> None:
    address = urlsplit(impatient.url)
    head = b"POST /jobs?model=line HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        client.sendall(head + b"Content-Length: 1000\r\n\r\nx\n6\n")

        # Head and body may arrive apart: read as HTTP says, not what one recv() happens to bring.
        answer = HTTPResponse(client)
        answer.begin()
        problem = json.load(answer)

    assert answer.status == 400
    assert problem["code"] == "upload_incomplete"


def test_others_are_served_while_uploads_are_silent(impatient: Api) -> None:
    address = urlsplit(impatient.url)
    head = b"POST /jobs?model=line HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    clients = [socket.create_connection((address.hostname, address.port)) for _ in range(40)]
    for client in clients:
        client.sendall(head + b"Content-Length: 1000\r\n\r\nx\n6\n")

    healthy = impatient.get("/healthz")

    for client in clients:
        client.close()
    assert healthy.status_code == 200
