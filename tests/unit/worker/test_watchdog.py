"""What takes too long ends its process, whatever it does, and says where it was."""

import subprocess
import sys
import time

import pytest

HOLDS_THE_INTERPRETER_LOCK = "ctypes.PyDLL(None).sleep(60)"
CATCHES_EVERYTHING = """
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
"""


def run(block: str, *, seconds: float) -> tuple[subprocess.CompletedProcess[str], float]:
    """A process that runs a block of code under a limit, and how long it took."""
    code = f"""
import ctypes, sys, threading
from worker.watchdog import time_limit
def in_the_block():
    {block}
with time_limit({seconds}):
    in_the_block()
threading.Event().wait({seconds})
print("done")
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    return done, time.monotonic() - began


@pytest.mark.parametrize("block", [HOLDS_THE_INTERPRETER_LOCK, CATCHES_EVERYTHING])
def test_a_block_that_takes_too_long_ends_the_process(block: str) -> None:
    done, seconds = run(block, seconds=0.5)

    assert done.returncode != 0
    assert "done" not in done.stdout
    assert seconds < 20
    assert "in_the_block" in done.stderr


def test_a_block_that_ends_in_time_does_not(tmp_path: object) -> None:
    done, _ = run("pass", seconds=0.5)

    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == ""


def test_a_block_that_raises_is_not_watched_any_more() -> None:
    done, _ = run("sys.excepthook = lambda *_: threading.Event().wait(1); 1 / 0", seconds=0.5)

    assert done.returncode == 1
    assert "Timeout" not in done.stderr
