"""A callback is called at an address that was looked at, and in bounded time."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

import pytest

from shared.errors import CallbackRefusedError, InvalidParameterError
from tests.live_stack import free_port
from tests.receivers import (
    Behaviour,
    Receiver,
    answering,
    dribbling,
    garbling,
    read_request,
    receiver,
    silent,
)
from worker.receiver import Answer, Caller, connect_to

PUBLIC = "93.184.215.14"

FRIEND = Caller(allow_private=True)
"""Calls what listens on loopback, as these receivers do."""


def post(url: str, *, caller: Caller = FRIEND, seconds: float = 20.0) -> Answer:
    return caller.post(url, b'{"a":1}', {"X-Own": "value"}, seconds=seconds)


class Names:
    """A resolver that answers one thing after the other, and a network with one receiver in it."""

    def __init__(self, *answers: Sequence[str], port: int = 9) -> None:
        self.answers = list(answers)
        self.port = port
        self.connected: list[str] = []

    def resolve(self, *_: object) -> Sequence[str]:
        return self.answers.pop(0)

    def connect(self, address: str, _: int, seconds: float) -> socket.socket:
        self.connected.append(address)
        return connect_to("127.0.0.1", self.port, seconds)

    def caller(self, tls: ssl.SSLContext | None = None) -> Caller:
        tls = tls or ssl.create_default_context()
        return Caller(allow_private=False, resolve=self.resolve, connect=self.connect, tls=tls)


# --- what is sent


def test_a_request_has_what_a_receiver_needs_and_no_more() -> None:
    with receiver(answering(204)) as listening:
        assert post(listening.url) == Answer(status=204)

    [request] = listening.requests
    assert request.start == "POST /hook?token=1 HTTP/1.1"
    assert request.body == b'{"a":1}'
    assert request.headers == {
        "host": f"127.0.0.1:{listening.port}",
        "content-length": "7",
        "connection": "close",
        "x-own": "value",
    }


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    with receiver(answering(200)) as listening:
        assert post(listening.url).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    with (
        receiver(answering(200)) as elsewhere,
        receiver(answering(status, f"Location: {elsewhere.url}")) as listening,
    ):
        assert post(listening.url).status == status

    assert elsewhere.connections == 0


def test_when_to_come_back_is_heard() -> None:
    with receiver(answering(503, "Retry-After: 120")) as listening:
        assert post(listening.url) == Answer(status=503, retry_after="120")


def test_interim_answers_are_passed_over() -> None:
    interim = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = "HTTP/1.1 204 No Content\r\n\r\n"
    with receiver(lambda peer, _: peer.sendall((interim + final).encode())) as listening:
        assert post(listening.url) == Answer(status=204)


# --- bounded time


@pytest.mark.parametrize("behaviour", [silent, dribbling])
def test_who_does_not_answer_is_left_after_the_time_limit(behaviour: Behaviour) -> None:
    with receiver(behaviour) as listening:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            post(listening.url, seconds=0.5)

    # Far less than what the receiver would go on for, however busy the machine is.
    assert time.monotonic() - began < 15


def test_who_takes_no_connection_is_left_after_the_time_limit() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        with pytest.raises(TimeoutError):
            post(f"http://127.0.0.1:{port}/", seconds=0.3)
        for filler in fillers:
            filler.close()


def test_who_never_finishes_a_tls_handshake_is_left_after_the_time_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(TimeoutError):
        post(f"https://127.0.0.1:{mute.getsockname()[1]}/", seconds=0.3)


def test_who_is_not_there_or_speaks_another_protocol_is_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        post(f"http://127.0.0.1:{free_port()}/")
    with receiver(garbling) as listening, pytest.raises(HTTPException):
        post(listening.url)


# --- which address is called


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], [PUBLIC, "10.0.0.1"]],
)
def test_a_name_that_stands_for_a_private_address_is_not_called(addresses: list[str]) -> None:
    names = Names(addresses)

    with pytest.raises(CallbackRefusedError, match="private"):
        post("https://example.com/", caller=names.caller())

    assert names.connected == []


@pytest.mark.parametrize("url", ["https://127.1/", "http://example.com/"])
def test_what_would_be_refused_of_a_new_job_is_not_called_either(url: str) -> None:
    names = Names([PUBLIC])

    with pytest.raises(CallbackRefusedError):
        post(url, caller=names.caller())

    assert names.connected == []


def test_a_url_that_is_none_is_not_called() -> None:
    with pytest.raises(InvalidParameterError):
        post("gopher://127.0.0.1/")


def test_a_name_is_looked_up_once_and_that_address_is_called() -> None:
    names = Names([PUBLIC], ["127.0.0.1"], port=free_port())

    with pytest.raises(ConnectionRefusedError):
        post("https://rebinding.example/", caller=names.caller())

    assert names.connected == [PUBLIC]
    assert names.answers == [["127.0.0.1"]]


def test_the_next_address_is_called_if_one_does_not_answer() -> None:
    with receiver(answering(200)) as listening:
        # Nobody listens on the first, which is loopback, too.
        caller = Caller(allow_private=True, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"])
        assert post(f"http://two.example:{listening.port}/", caller=caller).status == 200


def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        post("https://example.com/", caller=Names([]).caller())


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of `hook.example`, signed by itself."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=hook.example", "-addext", "subjectAltName=DNS:hook.example",
               "-keyout", str(path), "-out", "-"]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True).stdout
    path.write_bytes(path.read_bytes() + text)
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    """A receiver that answers one connection over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Receiver(port=server.getsockname()[1])

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as encrypted:
                        found.requests.append(read_request(encrypted))
                        encrypted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    pass  # the caller did not trust the certificate

        thread = threading.Thread(target=serve)
        thread.start()
        yield found
        thread.join(timeout=10)


def test_the_certificate_is_that_of_the_name_although_an_address_is_called(
    secure: Receiver, certificate: Path
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    names = Names([PUBLIC], port=secure.port)

    answer = post("https://hook.example./x", caller=names.caller(trusting))

    assert answer.status == 200
    assert names.connected == [PUBLIC]
    assert secure.requests[0].headers["host"] == "hook.example."


@pytest.mark.parametrize("name", ["other.example", "hook.example"])
def test_a_certificate_of_another_name_or_of_nobody_is_not_trusted(
    name: str, secure: Receiver, certificate: Path
) -> None:
    trusted = str(certificate) if name == "other.example" else None
    names = Names([PUBLIC], port=secure.port)

    with pytest.raises(ssl.SSLCertVerificationError):
        post(f"https://{name}/", caller=names.caller(ssl.create_default_context(cafile=trusted)))

    assert secure.requests == []
