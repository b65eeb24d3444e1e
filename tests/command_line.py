"""The command `rowmill` as a child process, with pipes or under a terminal."""

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

ROWMILL = Path(sys.executable).with_name("rowmill")

Run = Callable[..., subprocess.CompletedProcess[str]]

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""What a terminal takes for a colour or a movement."""


def environment(url: str) -> dict[str, str]:
    """Of a terminal that is wide enough to show the whole progress bar."""
    own = {"ROWMILL_URL": url, "NO_PROXY": "*", "TERM": "xterm", "COLUMNS": "150", "LINES": "40"}
    return os.environ | own


def runner(url: str, directory: Path) -> Run:
    """A function that runs the command to its end in a directory."""

    def run(
        *arguments: str, stdin: str | bytes = "", url: str = url, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [ROWMILL, *arguments],
            cwd=directory,
            env=environment(url) | variables,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        texts = (done.stdout.decode(errors="replace"), done.stderr.decode())
        return subprocess.CompletedProcess(done.args, done.returncode, *texts)

    return run


@dataclass(kw_only=True)
class Terminal:
    """A command under a terminal: what it shows, and keys for it."""

    child: subprocess.Popen[bytes]
    ours: int
    raw: str = ""

    @property
    def shown(self) -> str:
        """All that was written until now, less colours and movements."""
        return ESCAPES.sub("", self.raw)

    def read(self) -> bool:
        """Takes what is there to be read; whether there may come more."""
        block = b""
        with suppress(OSError):  # what Linux says when the last writer has gone
            readable, _, _ = select.select([self.ours], [], [], 0)
            if not readable:
                return True
            block = os.read(self.ours, 65_536)
        self.raw += block.decode(errors="replace")
        return bool(block)

    def shows(self, pattern: str, *, timeout: float = 30) -> None:
        """Waits until something is shown."""

        def look() -> bool:
            self.read()
            return re.search(pattern, self.shown) is not None

        wait_until(look, timeout=timeout)

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def end(self, *, timeout: float = 60) -> int:
        """The exit code, once everything has been shown."""
        wait_until(lambda: not self.read(), timeout=timeout)
        return self.child.wait(timeout=10)


def in_a_terminal(*arguments: str, url: str, directory: Path) -> Terminal:
    """Starts the command; close it with `end`."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [ROWMILL, *arguments],
        cwd=directory,
        env=environment(url),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    return Terminal(child=child, ours=ours)
