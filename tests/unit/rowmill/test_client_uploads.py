"""Uploads: what goes over the wire, and answers that come before the end."""

import gzip
import io
import os
from pathlib import Path

import pytest

from rowmill.client import Client
from rowmill.errors import ProblemError, SourceError, TransportError

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


class Endless(io.RawIOBase):
    """A pipe that never ends."""

    def read(self, size: int = -1) -> bytes:
        return bytes(size)


class Broken(io.RawIOBase):
    """A pipe that fails after some bytes."""

    is_read = False

    def read(self, _size: int = -1) -> bytes:
        if self.is_read:
            raise OSError(5, "Input/output error")
        self.is_read = True
        return b"a\n"


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
    "source",
    [
        b"a\n1\n",
        io.BytesIO(b"a\n1\n"),
        gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(b"a\n1\n"))),
    ],
    ids=["bytes", "file", "file whose length is not its size"],
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
    client.submit(b"a\n1\n", model="m:2", join="input", key=None, strict=True, delimiter="\t")

    query = "model=m%3A2&join=input&strict=true&delimiter=%09"
    assert accepting.requests[0].target == f"/jobs?{query}"


def test_the_sent_bytes_are_told_as_they_go(client, accepting):
    told: list[int] = []

    client.submit(bytes(600 * 1024), on_sent=told.append)

    assert told == [256 * 1024, 512 * 1024, 600 * 1024]


@pytest.mark.parametrize("is_sized", [False, True], ids=["chunked", "with length"])
def test_a_refusal_in_the_middle_of_the_upload_is_heard(client, server, large_file, is_sized):
    server.say("POST", "/jobs", status=413, json_body=TOO_LARGE, is_early=True)

    with pytest.raises(ProblemError) as caught:
        client.submit(large_file if is_sized else Endless())

    assert (caught.value.status, caught.value.code) == (413, "body_too_large")


def test_after_a_refusal_the_client_is_as_good_as_new(client, server, large_file, job_document):
    server.say("POST", "/jobs", status=413, json_body=TOO_LARGE, is_early=True)
    server.say("POST", "/jobs", status=202, json_body=job_document("queued"))

    with pytest.raises(ProblemError):
        client.submit(large_file)

    assert client.submit(b"a\n1\n").id == "job_1"


def test_a_server_that_hangs_up_without_a_word_is_a_lost_connection(client, server, large_file):
    server.say("POST", "/jobs", is_early=True, status=200, claimed_bytes=100)

    with pytest.raises(TransportError, match="broke off"):
        client.submit(large_file)


@pytest.mark.parametrize("is_early", [False, True], ids=["after the body", "in its middle"])
def test_a_server_that_falls_silent_is_given_up(server, large_file, is_early):
    server.say("POST", "/jobs", is_early=is_early, is_silent=True)

    with (
        Client(server.url, timeout=0.3, patience=0) as client,
        pytest.raises(TransportError, match="silent"),
    ):
        client.submit(large_file if is_early else b"a\n1\n")


def test_a_source_that_breaks_is_no_trouble_of_the_connection(client, accepting):
    with pytest.raises(SourceError, match="Input/output error"):
        client.submit(Broken())


def test_a_file_that_shrinks_while_it_is_sent_is_named(client, accepting, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(600 * 1024))

    with pytest.raises(SourceError, match="shorter"):
        client.submit(path, on_sent=lambda sent_bytes: os.truncate(path, sent_bytes))


def test_a_file_that_grows_while_it_is_sent_is_sent_as_it_was(client, accepting, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(bytes(300 * 1024))
    told: list[int] = []

    def grow(sent_bytes: int) -> None:
        told.append(sent_bytes)
        path.write_bytes(bytes(900 * 1024))

    client.submit(path, on_sent=grow)

    assert told == [256 * 1024, 300 * 1024]


def test_a_missing_file_and_a_text_file_are_refused_before_anything_is_sent(client, server):
    with pytest.raises(SourceError, match=r"nowhere\.csv: No such file"):
        client.submit("nowhere.csv")
    with pytest.raises(SourceError, match="binary mode"):
        client.submit(io.StringIO("a\n1\n"))  # type: ignore[arg-type]

    assert server.requests == []
