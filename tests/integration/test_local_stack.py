"""`make up` and `make down`, on a run directory and ports of their own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.live_stack import ROOT, Api, free_port, inherited_variables
from tests.waiting import wait_until

PASSWORD = "open-sesame"


@pytest.fixture(scope="module")
def run_dir(run_directory: Path) -> Path:
    return run_directory / "up"


@pytest.fixture(scope="module")
def env(run_dir: Path, models_dir: Path) -> dict[str, str]:
    return inherited_variables() | {
        "ROWMILL_RUN_DIR": str(run_dir),
        "ROWMILL_PORT": str(free_port()),
        "ROWMILL_FLOWER_PORT": str(free_port()),
        "ROWMILL_FLOWER_PASSWORD": PASSWORD,
        "ROWMILL_MODELS_DIR": str(models_dir),
    }


def stack(command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local.stack", command],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def api(env: dict[str, str]) -> Iterator[Api]:
    """The stack, up; down again at the end whatever happens."""
    started = stack("up", env)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield Api(url=f"http://127.0.0.1:{env['ROWMILL_PORT']}", pid=0)
    finally:
        stack("down", env)


def processes_of(run_dir: Path) -> list[psutil.Process]:
    """Everything that runs with this run directory in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ROWMILL_RUN_DIR") == str(run_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.timeout(180)
def test_jobs_are_found_again_after_down_and_up(
    api: Api, env: dict[str, str], run_dir: Path
) -> None:
    job = api.submit("x\n6\n", model="line").json()
    results = api.get(job["urls"]["results"]).text

    stopped = stack("down", env)
    left = processes_of(run_dir)
    restarted = stack("up", env)

    assert (stopped.returncode, left, restarted.returncode) == (0, [], 0)
    assert api.get(job["urls"]["self"]).json()["status"] == "succeeded"
    assert api.get(job["urls"]["results"]).text == results


@pytest.mark.timeout(180)
def test_flower_asks_for_the_password_and_shows_tasks_with_their_jobs(
    api: Api, env: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{env['ROWMILL_FLOWER_PORT']}/api/tasks"

    job_ids: list[str] = []

    def tasks_with_jobs() -> list[dict[str, Any]]:
        # One after the other: Flower answers a moment before it begins to listen to the workers.
        job_ids.append(api.submit("x\n6\n", model="line").json()["id"])
        tasks = requests.get(url, auth=("rowmill", PASSWORD), timeout=10).json().values()
        return [task for task in tasks if any(job in (task["kwargs"] or "") for job in job_ids)]

    refused = requests.get(url, timeout=10)
    tasks = wait_until(tasks_with_jobs)

    assert refused.status_code == 401
    assert {task["name"] for task in tasks} == {"score_chunks"}


def test_a_second_up_changes_nothing(api: Api, env: dict[str, str], run_dir: Path) -> None:
    before = {process.pid for process in processes_of(run_dir)}

    again = stack("up", env)

    assert again.returncode == 0
    assert before <= {process.pid for process in processes_of(run_dir)} | {os.getpid()}


def test_somebody_watches_whether_the_worker_hangs(api: Api, run_dir: Path) -> None:
    commands = [process.cmdline() for process in processes_of(run_dir)]

    assert any("deploy.local.worker_watch" in command for command in commands)


def test_a_port_in_use_is_named_before_anything_starts(
    env: dict[str, str], run_directory: Path
) -> None:
    run_dir = run_directory / "elsewhere"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = stack("up", env | {"ROWMILL_PORT": port, "ROWMILL_RUN_DIR": str(run_dir)})

        free = {f"ROWMILL_{name}PORT": str(free_port()) for name in ("", "FLOWER_")}
        own = {"ROWMILL_METRICS_PORT": port, "ROWMILL_RUN_DIR": str(run_dir)}
        refused_metrics = stack("up", env | free | own)

    assert refused.returncode != 0
    assert "ROWMILL_PORT" in refused.stdout + refused.stderr
    assert refused_metrics.returncode != 0
    assert "ROWMILL_METRICS_PORT" in refused_metrics.stdout + refused_metrics.stderr
    assert processes_of(run_dir) == []


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_not_there_is_named_before_anything_starts(
    env: dict[str, str], run_directory: Path, scheme: str
) -> None:
    run_dir = run_directory / "brokerless"
    ports = {f"ROWMILL_{name}PORT": str(free_port()) for name in ("", "FLOWER_")}
    broker = f"127.0.0.1:{free_port()}"
    own = {"ROWMILL_BROKER_URL": f"{scheme}://me:s3cret@{broker}/0"}

    refused = stack("up", env | ports | own | {"ROWMILL_RUN_DIR": str(run_dir)})

    assert refused.returncode != 0
    assert broker in refused.stderr
    assert "ROWMILL_BROKER_URL" in refused.stderr
    assert "s3cret" not in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr
    assert processes_of(run_dir) == []


def test_where_others_reach_it_and_nobody_has_a_key_it_is_said_what_to_do(
    env: dict[str, str], run_directory: Path
) -> None:
    run_dir = run_directory / "wide"
    ports = {f"ROWMILL_{name}PORT": str(free_port()) for name in ("", "FLOWER_")}
    own = env | ports | {"ROWMILL_RUN_DIR": str(run_dir)}

    # Told to be reached from elsewhere, and not bound there: this is a test.
    refused = stack("up", own | {"ROWMILL_PUBLISHED_HOST": "0.0.0.0"})
    required = stack("up", own | {"ROWMILL_AUTH": "required"})

    assert refused.returncode != 0
    assert "others reach 0.0.0.0" in refused.stderr
    # Commands that work as they stand, whatever is exported and wherever the stack is kept.
    make_up = f"make up ROWMILL_RUN_DIR={run_dir} ROWMILL_HOST=127.0.0.1"
    assert f"{make_up} ROWMILL_PUBLISHED_HOST=\n" in refused.stderr
    assert f"ROWMILL_RUN_DIR={run_dir} .venv/bin/python -m api.keys create" in refused.stderr
    assert f"make down ROWMILL_RUN_DIR={run_dir}\n" in refused.stderr
    assert "ROWMILL_AUTH=off" in refused.stderr
    assert required.returncode != 0
    assert "ROWMILL_AUTH=required" in required.stderr
    assert "others reach" not in required.stderr
    assert f"{make_up} ROWMILL_AUTH=off\n" in required.stderr
    assert processes_of(run_dir) == []


def test_how_to_reach_and_stop_a_stack_elsewhere_is_said(
    api: Api, env: dict[str, str], run_dir: Path
) -> None:
    again = stack("up", env)

    assert f"export ROWMILL_URL={api.url}\n" in again.stdout
    assert f"export ROWMILL_RUN_DIR={run_dir}\n" in again.stdout
    assert f"make down ROWMILL_RUN_DIR={run_dir}\n" in again.stdout
