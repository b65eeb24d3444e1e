"""Uploads: what goes over the wire, and answers that come before the end."""

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rowmill.client import Client
from rowmill.errors import AnswerTimeoutError, ConnectionLostError, ProblemError, SourceError

TOO_LARGE = {
    "type": "about:blank",
    "title": "Content Too Large",
    "status": 413,
    "code": "body_too_large",
    "detail": "The body is larger than 1 MB.",
}
LARGE_BYTES = 64 * 1024 * 1024
"""More than the socket buffers of both sides together can take."""


@pytest.fixture
def accepting(server, job_document):
    server.say("POST", "/jobs", status=202, json_body=job_document("queued"))
    return server


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    return path


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(64 * 1024)


def test_a_path_is_sent_whole_with_its_length_and_type(client, accepting, tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"a,b\n1,2\n")

    client.submit(path, model="petrol")

    request = accepting.requests[0]
    assert request.body == b"a,b\n1,2\n"
    assert request.headers["Content-Length"] == "8"
    assert request.headers["Content-Type"] == "text/csv"
    assert request.target == "/jobs?model=petrol"


def test_a_gz_path_is_sent_compressed_as_it_is(client, accepting, tmp_path):
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(b"a\n1\n"))

    client.submit(str(path))

    request = accepting.requests[0]
    assert gzip.decompress(request.body) == b"a\n1\n"
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["Content-Type"] == "text/csv"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("in.ndjson", "application/x-ndjson"),
        ("in.json", "application/json"),
        ("in.parquet", "application/vnd.apache.parquet"),
        ("in.txt", "text/csv"),
    ],
)
def test_a_paths_name_tells_its_type(client, accepting, tmp_path, name, media_type):
    path = tmp_path / name
    path.write_bytes(b"content")

    client.submit(path)

    assert accepting.requests[0].headers["Content-Type"] == media_type


@pytest.mark.parametrize(
    "source",
    [
        b"a\n1\n",
        io.BytesIO(b"a\n1\n"),
        iter([b"a\n", b"", b"1\n"]),
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(b"a\n1\n"))),
    ],
    ids=["bytes", "file", "blocks", "file of unknown length"],
)
def test_every_kind_of_source_arrives_whole(client, accepting, source):
    client.submit(source)

    assert accepting.requests[0].body == b"a\n1\n"


def test_a_file_is_sent_from_where_it_stands(client, accepting):
    file = io.BytesIO(b"skipped,sent")
    file.seek(8)

    client.submit(file)

    assert accepting.requests[0].body == b"sent"


def test_a_pipe_is_sent_to_its_end(client, accepting):
    reader, writer = os.pipe()
    os.write(writer, b"a\n1\n")
    os.close(writer)

    with os.fdopen(reader, "rb") as pipe:
        client.submit(pipe)

    assert accepting.requests[0].body == b"a\n1\n"


def test_an_empty_file_reaches_the_server_which_refuses_it(client, accepting, tmp_path):
    (tmp_path / "empty.csv").touch()

    client.submit(tmp_path / "empty.csv")

    assert accepting.requests[0].body == b""


def test_options_go_into_the_query_and_absent_ones_do_not(client, accepting):
    client.submit(
        b"a\n1\n", model="m@champion", join="input", key=None, strict=True, delimiter="\t"
    )

    query = "model=m%40champion&join=input&strict=true&delimiter=%09"
    assert accepting.requests[0].target == f"/jobs?{query}"


def test_the_sent_bytes_are_told_as_they_go(client, accepting):
    told: list[int] = []

    client.submit(iter([b"12", b"345"]), on_sent=told.append)

    assert told == [2, 5]


def test_an_api_key_and_an_idempotency_key_go_into_headers(accepting):
    with Client(accepting.url, api_key="secret") as client:
        client.submit(b"a\n1\n", idempotency_key="once")

    headers = accepting.requests[0].headers
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Idempotency-Key"] == "once"


@pytest.mark.parametrize("stays_open", [False, True], ids=["closes", "stays open, reads nothing"])
@pytest.mark.parametrize("is_sized", [False, True], ids=["chunked", "with length"])
def test_a_refusal_in_the_middle_of_the_upload_is_heard(
    client, server, large_file, stays_open, is_sized
):
    server.say(
        "POST", "/jobs", status=413, json_body=TOO_LARGE, is_early=True, stays_open=stays_open
    )

    with pytest.raises(ProblemError) as caught:
        client.submit(large_file if is_sized else endless())

    assert (caught.value.status, caught.value.code) == (413, "body_too_large")


def test_after_a_refusal_the_client_is_as_good_as_new(client, server, large_file, job_document):
    server.say("POST", "/jobs", status=413, json_body=TOO_LARGE, is_early=True, stays_open=True)
    server.say("POST", "/jobs", status=202, json_body=job_document("queued"))

    with pytest.raises(ProblemError):
        client.submit(large_file)

    assert client.submit(b"a\n1\n").id == "job_1"


def test_a_server_that_hangs_up_without_a_word_is_a_lost_connection(client, server, large_file):
    server.say("POST", "/jobs", is_early=True, status=200, claimed_bytes=100)

    with pytest.raises(ConnectionLostError):
        client.submit(large_file)


@pytest.mark.parametrize("is_early", [False, True], ids=["after the body", "in its middle"])
def test_a_server_that_falls_silent_is_given_up(server, large_file, is_early):
    server.say("POST", "/jobs", is_early=is_early, is_silent=True)

    with Client(server.url, timeout=0.3) as client, pytest.raises(AnswerTimeoutError):
        client.submit(large_file if is_early else b"a\n1\n")


def test_a_source_that_breaks_is_no_trouble_of_the_connection(client, accepting):
    def breaking() -> Iterator[bytes]:
        yield b"a\n"
        raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match="Input/output error"):
        client.submit(breaking())


def test_a_file_that_shrinks_while_it_is_sent_is_named(client, accepting, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(600 * 1024))

    with pytest.raises(SourceError, match="shorter"):
        client.submit(path, on_sent=lambda sent_bytes: os.truncate(path, sent_bytes))


def test_a_file_that_grows_while_it_is_sent_is_sent_as_it_was(client, accepting, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(300 * 1024))

    client.submit(path, on_sent=lambda sent_bytes: path.write_bytes(bytes(900 * 1024)))

    assert len(accepting.requests[0].body) == 300 * 1024


def test_a_missing_file_and_a_text_file_are_refused_before_anything_is_sent(client, server):
    with pytest.raises(SourceError, match=r"nowhere\.csv: No such file"):
        client.submit("nowhere.csv")
    with pytest.raises(SourceError, match="binary mode"):
        client.submit(io.StringIO("a\n1\n"))  # type: ignore[arg-type]

    assert server.requests == []
