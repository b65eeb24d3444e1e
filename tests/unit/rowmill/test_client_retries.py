"""Submissions that meet trouble: what is sent again, under which key, and for how long."""

import io
import os
import socket

import pandas as pd
import pytest

from rowmill.client import Client
from rowmill.errors import ProblemError, TransportError, UnreachableError
from rowmill.retries import FIRST_PAUSE_SECONDS

OVERLOADED = {"code": "too_much_queued", "detail": "Too much."}


@pytest.fixture
def good(server, job_document):
    """Lets the server take the next submission."""

    def say() -> None:
        server.say("POST", "/jobs", status=202, json_body=job_document("queued"))

    return say


def keys_of(server) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in server.requests]


def cut(server) -> None:
    """Lets the server take the next submission and break off its answer."""
    server.say("POST", "/jobs", status=202, body=b"{", claimed_bytes=100)


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "frame"])
def test_a_lost_answer_is_asked_for_again_with_the_same_body_and_key(
    client, server, good, tmp_path, kind
):
    (tmp_path / "in.csv").write_bytes(b"a\n1\n")
    sources = {
        "path": tmp_path / "in.csv",
        "bytes": b"a\n1\n",
        "file": io.BytesIO(b"a\n1\n"),
        "frame": pd.DataFrame({"a": [1]}),
    }
    cut(server)
    good()

    handle = client.submit(sources[kind])

    assert handle.id == "job_1"
    first, second = server.requests
    assert first.body == second.body != b""
    assert len(set(keys_of(server))) == 1


def test_every_submission_has_a_key_of_its_own_unless_one_is_given(client, server, good):
    good()

    for key in (None, None, "mine"):
        client.submit(b"a\n1\n", idempotency_key=key)

    first, second, third = keys_of(server)
    assert len({first, second, third}) == 3
    assert third == "mine"


def test_a_pipe_that_was_read_is_not_sent_again(client, server, good):
    reader, writer = os.pipe()
    os.write(writer, b"a\n1\n")
    os.close(writer)
    cut(server)
    good()

    with os.fdopen(reader, "rb") as pipe, pytest.raises(TransportError, match="broke off"):
        client.submit(pipe)

    assert len(server.requests) == 1


def test_a_server_that_has_too_much_is_left_alone_as_long_as_it_asks(
    client, server, good, fake_clock
):
    server.say("POST", "/jobs", status=429, json_body=OVERLOADED, headers={"Retry-After": "7"})
    server.say("POST", "/jobs", status=503, json_body=OVERLOADED)
    good()

    client.submit(b"a\n1\n")

    assert fake_clock.pauses == [7, FIRST_PAUSE_SECONDS * 2]


def test_more_patience_than_there_is_is_not_shown_at_all(client, server, fake_clock):
    server.say("POST", "/jobs", status=429, json_body=OVERLOADED, headers={"Retry-After": "600"})

    with pytest.raises(ProblemError, match="Too much"):
        client.submit(b"a\n1\n")

    assert fake_clock.pauses == []


def test_patience_ends(client, server, fake_clock):
    cut(server)

    with pytest.raises(TransportError, match="broke off"):
        client.submit(b"a\n1\n")

    assert fake_clock.pauses == [0.5, 1, 2, 4, 8, 8, 8, 8, 8, 8]


def test_a_first_try_that_is_still_being_taken_in_is_waited_for(client, server, good, fake_clock):
    in_use = {"code": "idempotency_key_in_use", "detail": "It is still being taken in."}
    server.say("POST", "/jobs", status=409, json_body=in_use, headers={"Retry-After": "1"})
    good()

    assert client.submit(b"a\n1\n").id == "job_1"
    assert fake_clock.pauses == [1]


def test_a_refusal_is_final(client, server, fake_clock):
    server.say("POST", "/jobs", status=422, json_body={"code": "empty_input", "detail": "Empty."})

    with pytest.raises(ProblemError):
        client.submit(b"a\n")

    assert fake_clock.pauses == []


def test_a_server_that_was_never_there_is_not_waited_for(fake_clock):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing else can take the port
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        with Client(url, clock=fake_clock.clock) as client, pytest.raises(UnreachableError):
            client.submit(b"a\n1\n")

    assert fake_clock.pauses == []


def test_a_retry_of_failed_rows_has_a_key_and_is_sent_again(client, server, job_document):
    server.say("POST", "/jobs/job_1/retry", status=503, json_body=OVERLOADED)
    server.say("POST", "/jobs/job_1/retry", status=202, json_body=job_document(id="job_2"))

    assert client.retry("job_1", model="petrol:2").id == "job_2"

    assert len(set(keys_of(server))) == 1
    assert server.requests[1].body == b'{"only": "failed", "model": "petrol:2"}'


def test_results_of_a_server_that_restarts_are_asked_for_again(client, server):
    server.say("GET", "/jobs/job_1/results", status=503, json_body=OVERLOADED)
    server.say("GET", "/jobs/job_1/results", body=b"row\n")

    assert b"".join(client.results("job_1")) == b"row\n"
