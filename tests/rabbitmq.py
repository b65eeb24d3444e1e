"""A RabbitMQ node of its own: Debian's, under a directory, on loopback ports that nobody knows."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live_stack import fixed_ports
from tests.waiting import wait_until

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
EPMD = "epmd"

BOOT_SECONDS = 60


def is_installed() -> bool:
    return SERVER.exists() and shutil.which(EPMD) is not None


class RabbitMq:
    """The node. Plugins, and so its management interface, are left out."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port, distribution_port, self._epmd_port = fixed_ports(3)
        home = directory / "home"
        home.mkdir(parents=True)
        cookie = home / ".erlang.cookie"
        cookie.write_text("rowmilltests")
        cookie.chmod(0o400)  # Erlang takes no other
        plugins = directory / "plugins"
        plugins.write_text("[].")
        self._env = {
            **os.environ,
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"rowmill{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_SERVER_START_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
            "RABBITMQ_CONFIG_FILE": str(directory / "none"),
            # The script becomes the server, and does not stay before it.
            "detached": "1",
        }
        self._node: subprocess.Popen[bytes] | None = None
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @contextmanager
    def names(self) -> Iterator[None]:
        """Erlang's register of nodes, which the node would start and leave behind."""
        words = [EPMD, "-address", "127.0.0.1", "-port", str(self._epmd_port)]
        with (self._directory / "epmd.log").open("ab") as log:
            register = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: _answers(self._epmd_port))
            yield
        finally:
            register.kill()
            register.wait()

    def start(self) -> None:
        """Start the node; return when it takes connections."""
        self.begin()
        self.boot()

    def begin(self) -> None:
        """Start the node."""
        with (self._directory / "node.log").open("ab") as log:
            self._node = subprocess.Popen(
                [str(SERVER)],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def boot(self) -> None:
        """Return when the node takes connections."""
        assert self._node is not None
        node = self._node
        wait_until(lambda: node.poll() is not None or _answers(self.port), timeout=BOOT_SECONDS)
        assert node.poll() is None, (self._directory / "node.log").read_text()

    def kill(self) -> None:
        """SIGKILL of the node and of the small processes beside it."""
        if self._node is not None:
            os.killpg(self._node.pid, signal.SIGKILL)
            self._node.wait()
            self._node = None

    def freeze(self) -> None:
        """Let it answer nothing, with all connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._node is not None
        os.kill(self._node.pid, number)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def rabbitmq(directory: Path) -> Iterator[RabbitMq]:
    """A node that boots, gone at the end with all that it started."""
    node = RabbitMq(directory)
    with node.names():
        try:
            node.begin()
            yield node
        finally:
            node.kill()
