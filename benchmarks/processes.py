"""Processes that run beside the benchmark and are stopped at its end."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil

from deploy.local.stack import ignoring_interrupts

STOP_SECONDS = 20
START_SECONDS = 90


class StartError(Exception):
    """A process ended, or was not ready in time."""


@dataclass(frozen=True)
class Background:
    """A process that was started here."""

    child: subprocess.Popen[bytes]
    log: Path

    def family(self) -> list[int]:
        """The ids of it and of all its descendants."""
        process = psutil.Process(self.child.pid)
        return [process.pid, *(child.pid for child in process.children(recursive=True))]

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Raises StartError with the end of its log."""
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            code = self.child.poll()
            if code is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise StartError(f"{self.child.args!r} ended or was not ready ({code}):\n{tail}")
            time.sleep(0.1)


@contextmanager
def background(
    *command: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[Background]:
    """Runs a command, in a folder if one is given; at the end it is asked to stop, or made to."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Background(child, log)
    finally:
        with ignoring_interrupts():
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextmanager
def warm_process() -> Iterator[ProcessPoolExecutor]:
    """A process of Python for calls; ended at the end, whatever it does then."""
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        for process in list(pool._processes.values()):
            process.terminate()
        pool.shutdown()


def answers(url: str) -> bool:
    """Whether a URL answers with success."""
    # A proxy from the environment would be asked for this machine's own port.
    open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    try:
        with open_url(url, timeout=5):
            return True
    except (OSError, urllib.error.HTTPError):
        return False
