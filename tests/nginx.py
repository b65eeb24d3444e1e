"""nginx before API processes, with the configuration of `docker-compose.yml`."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live_stack import ROOT, answers, free_port
from tests.waiting import wait_until

CONFIGURATION = ROOT / "deploy/nginx/nginx.conf"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

needs_nginx = pytest.mark.skipif(
    NGINX is None and "CI" not in os.environ, reason="needs nginx: apt-get install nginx-light"
)


def configuration(directory: Path, *, port: int, api_port: int, names_port: int) -> str:
    """The configuration with the addresses and the folder of a test."""
    text = CONFIGURATION.read_text()
    for inside, here in (
        ("resolver 127.0.0.11 ", f"resolver 127.0.0.1:{names_port} "),
        ("listen 8080 ", f"listen 127.0.0.1:{port} "),
        (" api:8000;", f" api:{api_port};"),
        (" /tmp/", f" {directory}/"),
        # Each process asks for names itself, and a test sees what one of them knows.
        ("worker_processes auto;", "worker_processes 1;"),
    ):
        assert inside in text
        text = text.replace(inside, here)
    return text


def directive(name: str) -> str:
    """The value of a directive that stands in the configuration once."""
    (value,) = re.findall(rf"^\s*{name} ([^;]+);", CONFIGURATION.read_text(), re.MULTILINE)
    return str(value)


@contextmanager
def running_nginx(directory: Path, *, api_port: int, names_port: int) -> Iterator[str]:
    """The URL of an nginx that asks the APIs on this port whose addresses it is told."""
    assert NGINX
    directory.mkdir()
    port = free_port()
    file = directory / "nginx.conf"
    file.write_text(configuration(directory, port=port, api_port=api_port, names_port=names_port))
    url = f"http://127.0.0.1:{port}"
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen([NGINX, "-c", file, "-g", "daemon off;"], stderr=log)
    try:
        wait_until(lambda: answers(f"{url}/healthz"), timeout=20)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)
