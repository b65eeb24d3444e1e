"""A worker that is frozen or hangs is found by its container's health check and started anew."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from deploy.worker_health import MOST_SILENT, START_SECONDS, MainProcess, Record, read_record
from shared.job_store.workers import WorkerRegistry
from tests.chaos.cluster import Service, Starting
from tests.live_stack import (
    ROOT,
    Api,
    api_process,
    environment,
    process,
    redis_server,
)
from tests.waiting import wait_until

DEAD_AFTER_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class Container:
    """A worker that is started anew when its main process ends, as containers are."""

    api: Api
    redis: Redis
    env: dict[str, str]
    pidfile: Path
    worker: Service

    def check(self) -> subprocess.CompletedProcess[str]:
        """The health check, as Docker runs it."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.worker_health", "--pidfile", str(self.pidfile)],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @contextmanager
    def without_redis(self) -> Iterator[None]:
        """Nobody can connect to it."""
        socket = Path(self.env["ROWMILL_REDIS_URL"].removeprefix("unix://"))
        away = socket.rename(socket.with_name("away"))
        yield
        away.rename(socket)

    def is_healthy(self) -> bool:
        return self.check().returncode == 0

    @property
    def registry(self) -> WorkerRegistry:
        return WorkerRegistry(self.redis, dead_after_seconds=DEAD_AFTER_SECONDS, max_job_losses=0)

    def silence(self) -> None:
        """Wait until the worker is not heard of any more."""
        wait_until(lambda: not self.registry.live())

    def assert_scores(self) -> None:
        assert self.api.submit("x\n6\n", model="echo", wait=50).json()["status"] == "succeeded"


@pytest.fixture(scope="module")
def container(run_directory: Path, models_dir: Path) -> Iterator[Container]:
    home = run_directory / "health"
    shutil.copytree(models_dir / "echo", home / "models" / "echo")
    pidfile = home / "worker.pid"
    with ExitStack() as parts:
        url = parts.enter_context(redis_server(home / "r"))
        settings = {"dead_after_seconds": str(DEAD_AFTER_SECONDS), "workers": "1"}
        env = environment(url, home / "models", **settings)
        api = parts.enter_context(api_process(env, home / "api.log"))
        redis = parts.enter_context(Redis(unix_socket_path=str(home / "r" / "s")))

        def start(number: int) -> Starting:
            # A container's temporary files are gone with it.
            pidfile.unlink(missing_ok=True)
            return process(
                "celery", "-A", "tests.integration.hanging_worker", "worker", "-P", "prefork",
                "-Q", "work", "--without-gossip", "--without-mingle", "-E",
                f"--pidfile={pidfile}", env=env, log=home / f"worker-{number}.log",
            )  # fmt: skip

        worker = Service("worker", start)
        parts.callback(worker.close)
        yield Container(api=api, redis=redis, env=env, pidfile=pidfile, worker=worker)


@pytest.fixture
def healthy(container: Container) -> Container:
    """The container whose check has seen that its worker works."""
    container.worker.keep()
    wait_until(lambda: container.api.get("/readyz").json().get("worker_processes") == 2, timeout=60)
    record = container.pidfile.with_suffix(".health")
    wait_until(lambda: container.is_healthy() and read_record(record).was_heard, timeout=30)
    return container


def freeze(container: Container) -> None:
    container.worker.main().suspend()


def hang(container: Container) -> None:
    os.kill(container.worker.main().pid, signal.SIGWINCH)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("disturb", [freeze, hang])
def test_a_worker_that_falls_silent_is_killed_and_started_anew(
    healthy: Container, disturb: Any
) -> None:
    old = healthy.worker.main()
    children = healthy.worker.children()
    disturb(healthy)
    healthy.silence()

    checks = [healthy.check() for _ in range(MOST_SILENT)]

    assert [check.returncode for check in checks] == [1] * MOST_SILENT
    assert [("killed" in check.stderr) for check in checks] == [False] * (MOST_SILENT - 1) + [True]
    _, alive = psutil.wait_procs([old, *children], timeout=10)
    assert alive == []
    healthy.worker.keep()
    healthy.assert_scores()
    wait_until(healthy.is_healthy)


@pytest.mark.timeout(180)
def test_a_worker_is_not_killed_while_redis_is_away(healthy: Container) -> None:
    old = healthy.worker.main()
    freeze(healthy)
    healthy.silence()
    assert not healthy.is_healthy()
    assert not healthy.is_healthy()

    with healthy.without_redis():
        away = healthy.check()
    again = healthy.check()
    old.resume()

    assert (away.returncode, "does not answer" in away.stderr) == (1, True)
    assert "killed" not in again.stderr
    wait_until(healthy.is_healthy)
    assert healthy.worker.main() == old


@pytest.mark.timeout(180)
def test_a_worker_all_of_whose_processes_are_frozen_ends_to_be_started_anew(
    healthy: Container,
) -> None:
    old = healthy.worker.main()
    for child in healthy.worker.children():
        child.suspend()
    job = healthy.api.submit("x\n6\n", model="echo", wait=0).json()

    psutil.wait_procs([old], timeout=100)

    healthy.worker.keep()
    assert healthy.api.ended(job)["status"] == "succeeded"


# --- what is known of a process


def process_of(pid: int = 7, age_seconds: float = 100.0) -> MainProcess:
    return MainProcess(pid=pid, age_seconds=age_seconds)


def test_a_worker_that_starts_may_be_silent_for_long() -> None:
    record = Record()
    for _ in range(100):
        record = record.silence(process_of(age_seconds=START_SECONDS - 1))
    assert not record.is_hanging

    for _ in range(MOST_SILENT):
        record = record.silence(process_of(age_seconds=START_SECONDS))

    assert record.is_hanging


def test_what_was_heard_of_the_worker_before_is_not_held_against_its_successor() -> None:
    heard = Record().heard(process_of(pid=7), dead_after_seconds=10)

    record = heard.heard(process_of(pid=8, age_seconds=5), dead_after_seconds=10)
    for _ in range(MOST_SILENT):
        record = record.silence(process_of(pid=8, age_seconds=60))

    assert not record.is_hanging


def test_only_silence_in_a_row_counts() -> None:
    record = Record().heard(process_of(), dead_after_seconds=10)
    for _ in range(5):
        for _ in range(MOST_SILENT - 1):
            record = record.silence(process_of())
        assert not record.is_hanging
        record = record.heard(process_of(), dead_after_seconds=10)

    for _ in range(MOST_SILENT):
        record = record.silence(process_of())

    assert record.is_hanging
