"""Uploads that break off are known as such, and never scored in part as if they were whole."""

import socket

import pytest

from tests.contract.answers import newer_job, newest_job, shown
from tests.contract.bodies import LONG
from tests.live_stack import Api
from tests.raw_http import answer_on, connected, head
from tests.waiting import wait_until

BROKEN_UPLOADS = [
    pytest.param(head("Content-Length: 60000000") + LONG, id="Content-Length"),
    pytest.param(
        head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(LONG), LONG), id="chunked"
    ),
    pytest.param(
        head("Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(LONG) + 99, LONG), id="in a chunk"
    ),
]


@pytest.mark.parametrize("request_bytes", BROKEN_UPLOADS)
def test_an_upload_that_breaks_off_is_answered_and_its_job_failed(
    api: Api, request_bytes: bytes
) -> None:
    with connected(api) as connection:
        connection.sendall(request_bytes)
        connection.shutdown(socket.SHUT_WR)
        status, problem = answer_on(connection)

    job = newest_job(api)
    assert job is not None
    assert (status, problem["code"]) == (400, "upload_incomplete")
    assert (job["status"], job["error"]["code"]) == ("failed", "upload_incomplete")


@pytest.mark.parametrize("request_bytes", BROKEN_UPLOADS)
def test_the_job_of_a_caller_who_went_away_is_failed(api: Api, request_bytes: bytes) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(request_bytes)

    job = wait_until(lambda: newer_job(api, before))

    ended = shown(api, job, Prefer="wait=50")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "upload_incomplete")


def test_an_upload_that_breaks_off_before_the_first_chunk_makes_no_job(api: Api) -> None:
    before = newest_job(api)

    with connected(api) as connection:
        connection.sendall(head("Content-Length: 1000") + b"x\n6\n")
        connection.shutdown(socket.SHUT_WR)
        status, _ = answer_on(connection)

    assert status == 400
    assert newer_job(api, before) is None
