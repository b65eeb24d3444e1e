"""Processes that count together, in programs of their own: how they do is chosen once a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.metrics import holds_token

PROGRAM = """
import os, signal, sys
from pathlib import Path
from prometheus_client import Counter, Gauge
from shared import metrics

directory = metrics.begin()
assert metrics.begin() == directory
counter = Counter("rowmill_things", "Things.", ["kind"], registry=None)
gauge = Gauge("rowmill_held", "Held.", registry=None, multiprocess_mode="livesum")

def forked(count, held=0, *, waits_for=None):
    process = os.fork()
    if process == 0:
        counter.labels("a").inc(count)
        gauge.set(held)
        if waits_for:
            os.read(waits_for, 1)
        os.kill(os.getpid(), signal.SIGKILL)
    return process

def shown():
    lines = metrics.exposition(metrics.AllProcesses()).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]

def files():
    return sorted(path.name for path in directory.glob("*.db"))
"""


def printed(program: str, tmp_path: Path) -> list[str]:
    """What a program prints that counts below this directory."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return run.stdout.splitlines()


def test_what_a_dead_process_counted_goes_on_in_the_next(tmp_path: Path) -> None:
    program = """
for _ in range(30):
    os.waitpid(forked(2, held=5), 0)
counter.labels("a").inc()
gauge.set(1)
print(shown(), files())
"""
    # All thirty had the same seat; what the last of them held is shown until somebody takes it.
    files = [f"{kind}_{seat}.db" for kind in ("counter", "gauge_livesum") for seat in (0, 1)]
    assert printed(program, tmp_path) == [
        str([f'rowmill_things_total{{kind="a"}} {61.0}', "rowmill_held 6.0"][::-1]) + f" {files}"
    ]


def test_processes_that_live_do_not_share_a_seat(tmp_path: Path) -> None:
    program = """
end, begin = os.pipe()
processes = [forked(1, held=1, waits_for=end) for _ in range(4)]
while 'rowmill_held 4.0' not in shown():
    pass
print(shown(), len(files()))
os.write(begin, b"12345")
for process in processes:
    os.waitpid(process, 0)
os.waitpid(forked(1, held=1), 0)
print(shown(), len(files()))
"""
    assert printed(program, tmp_path) == [
        str(["rowmill_held 4.0", 'rowmill_things_total{kind="a"} 4.0']) + " 9",
        str(["rowmill_held 4.0", 'rowmill_things_total{kind="a"} 5.0']) + " 9",
    ]


def test_a_program_that_is_started_counts_with_the_one_that_started_it(tmp_path: Path) -> None:
    program = """
import subprocess
joined = '''
from prometheus_client import Counter
from shared import metrics
metrics.join()
Counter("rowmill_things", "Things.", ["kind"], registry=None).labels("a").inc(7)
'''
counter.labels("a").inc()
subprocess.run([sys.executable, "-c", joined], check=True)
print(shown())
"""
    assert printed(program, tmp_path) == [
        str(["rowmill_held 0.0", 'rowmill_things_total{kind="a"} 8.0'])
    ]


def test_a_directory_goes_with_its_process_and_with_the_next_if_that_was_killed(
    tmp_path: Path,
) -> None:
    kept = tmp_path / f"rowmill-metrics-{os.getpid()}-lives"
    left = tmp_path / "rowmill-metrics-99999999-killed"
    for directory in (kept, left, tmp_path / "rowmill-metrics-other"):
        directory.mkdir()

    [made] = printed("print(directory)", tmp_path)

    assert Path(made).parent == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "rowmill-metrics-other"]


@pytest.mark.parametrize(
    ("authorization", "is_held"),
    [
        ("Bearer secret", True),
        ("bearer secret", True),
        ("Bearer  secret ", True),
        ("Bearer secrets", False),
        ("Bearer ", False),
        ("Basic secret", False),
        ("secret", False),
        ("", False),
    ],
)
def test_a_token_is_sent_as_a_bearer_token(authorization: str, is_held: bool) -> None:
    assert holds_token(authorization, SecretStr("secret")) is is_held


def test_nobody_holds_a_token_that_there_is_not() -> None:
    assert not holds_token("Bearer ", SecretStr(""))
    assert not holds_token("Bearer sécret", SecretStr("secret"))
