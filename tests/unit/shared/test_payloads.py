"""Bytes in an object store: a folder, and an S3 server over HTTP."""

import errno
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import payloads
from shared.errors import PayloadStoreUnavailableError
from shared.payloads import AHEAD_BYTES, PayloadStore, Reference, checked_url
from tests.cutting_proxy import Cut, CuttingProxy
from tests.s3_server import S3Server


@pytest.fixture(params=["s3", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/objects"
    return str(request.getfixturevalue("s3").url)


@pytest.fixture
def store(url: str) -> Iterator[PayloadStore]:
    store = PayloadStore(url)
    yield store
    store.clear("job/")


def whole(name: str, data: bytes) -> Reference:
    return Reference(name=name, size=len(data))


# --- what is written is read


def test_what_is_put_is_read_whole_and_in_part(store: PayloadStore) -> None:
    store.put("job/input/0", b"0123456789")

    assert store.read(whole("job/input/0", b"0123456789")) == b"0123456789"
    assert store.read(Reference(name="job/input/0", first=3, size=4)) == b"3456"
    assert store.read(Reference(name="job/none", first=3, size=0)) == b""


def test_what_is_missing_or_cut_off_is_nothing(store: PayloadStore) -> None:
    store.put("job/input/0", b"0123")

    assert store.read(Reference(name="job/input/1", size=1)) is None
    assert store.read(Reference(name="job/input/0", size=5)) is None


def test_many_are_read_in_order(store: PayloadStore) -> None:
    texts = [b"%d" % number * (number + 1) for number in range(30)]
    for number, text in enumerate(texts):
        store.put(f"job/{number}", text)

    found = store.read_all(whole(f"job/{number}", text) for number, text in enumerate(texts))

    assert list(found) == texts


def test_clearing_takes_what_begins_so_and_nothing_else(store: PayloadStore) -> None:
    for name in ("job/input/0", "job/input/1", "job/results/0", "job2/input/0"):
        store.put(name, b"x")

    assert store.clear("job/input/") == 2
    assert store.clear("job/input/") == 0

    assert store.read(Reference(name="job/results/0", size=1)) == b"x"
    assert store.read(Reference(name="job2/input/0", size=1)) == b"x"
    assert store.clear("job2/") == 1


def test_a_folder_is_cleared_of_what_was_begun_to_be_written(tmp_path: Path) -> None:
    store = PayloadStore(f"file://{tmp_path}/objects")
    store.put("job/input/0", b"x")
    (tmp_path / "objects/job/input/1#1").write_bytes(b"half of")

    store.clear("job/")

    assert list((tmp_path / "objects").iterdir()) == []


def test_deleting_is_idempotent(store: PayloadStore) -> None:
    store.put("job/input/0", b"x")

    store.delete("job/input/0")
    store.delete("job/input/0")

    assert store.read(Reference(name="job/input/0", size=1)) is None


class Counting(PayloadStore):
    """Counts what is being read or waits to be used."""

    def __init__(self) -> None:
        super().__init__("file:///nowhere")
        self.read_bytes = 0

    def read(self, reference: Reference) -> bytes:
        self.read_bytes += reference.size
        return b"x" * reference.size


@pytest.mark.parametrize(
    ("size", "most"), [(AHEAD_BYTES // 4, 5 * AHEAD_BYTES // 4), (3 * AHEAD_BYTES, 6 * AHEAD_BYTES)]
)
def test_no_more_is_read_ahead_than_a_reader_may_hold(size: int, most: int) -> None:
    store = Counting()
    reading = store.read_all(Reference(name=str(number), size=size) for number in range(20))

    next(reading)
    reading.close()  # type: ignore[attr-defined]  # a generator

    assert store.read_bytes <= most


# --- what goes wrong


def test_a_bucket_that_is_not_there_is_no_missing_object(s3: S3Server) -> None:
    store = PayloadStore("s3://nobody/has/this")

    with pytest.raises(PayloadStoreUnavailableError):
        store.put("job/0", b"x")
    with pytest.raises(PayloadStoreUnavailableError):
        store.read(Reference(name="job/0", size=1))
    with pytest.raises(PayloadStoreUnavailableError):
        store.clear("job/")


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_store_that_refuses_is_unavailable_and_its_words_are_not_told(
    s3: S3Server, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    store = PayloadStore(s3.url)

    with caplog.at_level(logging.WARNING), s3.failing(status):
        for step in (
            lambda: store.put("job/0", b"x"),
            lambda: store.read(Reference(name="job/0", size=1)),
            lambda: store.delete("job/0"),
            lambda: store.clear("job/"),
        ):
            with pytest.raises(PayloadStoreUnavailableError) as caught:
                step()
            assert caught.value.__suppress_context__

    reasons = [record.__dict__["reason"] for record in caplog.records]
    assert len(reasons) == 4
    assert all(str(status) in reason for reason in reasons)
    assert not [reason for reason in reasons if s3.endpoint in reason or "not-to-be" in reason]


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_folder_that_can_not_be_written_is_unavailable_and_the_system_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    (tmp_path / "file").touch()
    store = PayloadStore(f"file://{tmp_path}/file{below}")

    with caplog.at_level(logging.WARNING), pytest.raises(PayloadStoreUnavailableError):
        store.put("job/0", b"x")

    reason = caplog.records[-1].__dict__["reason"]
    assert reason.endswith((os.strerror(errno.EEXIST), os.strerror(errno.ENOTDIR)))


def test_a_connection_that_is_cut_is_mended(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(300_000)
    with CuttingProxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        store = PayloadStore(s3.url)
        proxy.cuts += [Cut(after_bytes=100_000), Cut()]
        store.put("job/0", data)
        other = PayloadStore(s3.url)
        proxy.cuts += [Cut(answer_bytes=100_000), Cut()]

        assert other.read(whole("job/0", data)) == data

        assert proxy.connections >= 4
        store.clear("job/")
        proxy.shutdown()


def test_a_store_that_is_silent_is_given_up_in_bounded_time(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store = PayloadStore(s3.url, timeout_seconds=0.5)

        with pytest.raises(PayloadStoreUnavailableError):
            store.put("job/0", b"x")


def test_a_client_is_made_anew_after_a_fork(url: str) -> None:
    """Nobody has used the store in this test's parent; it is the client that is another one."""
    before = payloads.opened(url)

    assert payloads.opened(url) is before
    assert payloads._opened(url, os.getpid() + 1) is not before


# --- URLs


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://bucket/prefix", "gs://bucket/p", "az://account/container/p", "file:///d"],
)
def test_a_url_under_which_objects_can_lie_is_taken(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "bucket/prefix",
        "s3://",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/prefix?secret=1",
        "s3://bucket/pre fix",
        "s3://bucket/p#x",
        "https://example.com/p",
        "memory:///",
        "file://relative/d",
    ],
)
def test_another_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="write s3://bucket/prefix") as caught:
        checked_url(url)

    assert "secret" not in str(caught.value)


def test_a_reference_is_written_and_read() -> None:
    reference = Reference(name="job_1/results/2.3.ff", first=4, size=5)

    assert Reference.parse(reference.dump().decode()) == reference
    with pytest.raises(ValueError, match="unpack"):
        Reference.parse("1,2.5,")
