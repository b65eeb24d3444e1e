"""The short form of `make fuzz`, and what the fuzzer itself must be able to do."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.campaign import Campaign
from tests.fuzz.corpus import Gunner
from tests.fuzz.mutator import MOST_BYTES, Mutator
from tests.fuzz.range import Range, Wrong
from tests.fuzz.shot import Shot
from tests.fuzz.stack import running
from tests.fuzz.watch import MAY_GROW, Watch
from tests.live_stack import Api

REQUESTS = 600


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[tuple[Api, Watch]]:
    with running(run_directory / "fuzz") as found:
        yield found


@pytest.mark.timeout(300)
def test_nothing_is_found(stack: tuple[Api, Watch], tmp_path: Path) -> None:
    api, watch = stack
    campaign = Campaign(api.url, watch, seed=1, keep=tmp_path)

    findings = campaign.run(
        lambda sent: sent >= REQUESTS, is_warm=lambda sent: sent >= REQUESTS // 2
    )

    assert not findings.wrong, str(findings)
    # Good and bad requests of all kinds got through to who has to judge them.
    assert {"200", "202", "400", "404", "405", "415", "422"} <= set(findings.statuses)


def test_the_same_seed_fires_the_same_shots() -> None:
    first, again = (Gunner(Random(5), []) for _ in range(2))
    assert [first.shot() for _ in range(50)] == [again.shot() for _ in range(50)]


def test_a_shot_is_kept_whole(tmp_path: Path) -> None:
    shot = Gunner(Random(7), []).shot()
    shot.save(tmp_path / "shot.json")
    assert Shot.load(tmp_path / "shot.json") == shot


def test_the_mutator_changes_bytes_and_not_without_end() -> None:
    mutator = Mutator(Random(3))
    changed = [mutator.mutated(b"x\n1\n2\n" * 100, others=[b"other"]) for _ in range(200)]
    assert len(set(changed)) > 150
    assert max(map(len, changed)) <= MOST_BYTES


READER = """
import mmap, os, sys
with open(sys.argv[1], "rb") as file:
    shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
bytes(shared)
orders, answers = os.pipe(), os.pipe()
if os.fork() == 0:
    os.read(orders[0], 1)
    own = bytes(shared) if sys.argv[2] == "keeps" else len(shared[::4096])
    os.write(answers[1], b".")
    os.read(orders[0], 1)
    os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
os.write(orders[1], b".")
os.read(answers[0], 1)
print("read", flush=True)
sys.stdin.readline()
os.write(orders[1], b".")
os.wait()
"""
"""A process whose child reads what both have mapped, and keeps a copy of it, or does not."""


@pytest.mark.parametrize(("what", "grows"), [("reads", False), ("keeps", True)])
def test_a_process_grows_by_what_it_keeps_not_by_what_it_reads(
    what: str, grows: bool, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.write_bytes(b"." * (MAY_GROW + 32 * 1024**2))
    command = [sys.executable, "-c", READER, str(shared), what]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        watch = Watch(roots=[process.pid], logs=[])
        watch.warm()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "read\n"
        assert any(watch.growth()) is grows
        process.communicate("\n", timeout=30)


def fired_at(text: bytes) -> None:
    """Fire at somebody who answers with this, whatever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        answered = threads.submit(_answer, server, text)
        try:
            Range(f"http://127.0.0.1:{server.getsockname()[1]}").fire(Shot.of("GET", "/", {}, b""))
        finally:
            answered.result(timeout=30)


def _answer(server: socket.socket, text: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        while connection.recv(65536):
            pass
        connection.sendall(text)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "500 without a word"),
        (
            b"HTTP/1.1 400 No\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno",
            "400 is text/plain",
        ),
        (
            b"HTTP/1.1 422 No\r\nContent-Type: application/problem+json\r\n"
            b'Content-Length: 30\r\n\r\n{"code": "x", "d": "File \\"a"}',
            "tells too much",
        ),
        (
            b"HTTP/1.1 429 No\r\nContent-Type: application/problem+json\r\n"
            b'Content-Length: 13\r\n\r\n{"code": "x"}',
            "does not say when",
        ),
    ],
)
def test_a_wrong_answer_is_found(answer: bytes, what: str) -> None:
    with pytest.raises(Wrong, match=what):
        fired_at(answer)
