"""What callers see when a model, a chunk or a process goes wrong."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from shared.dispatch import BULK_QUEUE, SCORE_CHUNK, Dispatcher, make_celery
from shared.settings import Settings
from tests.live_stack import Api, live_stack
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def directory(run_directory: Path) -> Path:
    return run_directory / "failing"


@pytest.fixture(scope="module")
def own_models(run_directory: Path, models_dir: Path) -> Path:
    """A copy of the models that a test may spoil."""
    return Path(shutil.copytree(models_dir, run_directory / "spoiled"))


@pytest.fixture(scope="module")
def fragile(directory: Path, own_models: Path) -> Iterator[Api]:
    """A stack that tests may hurt."""
    corrupt = next(own_models.glob("boosted/1/model.*"))
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"?")
    with live_stack(directory, own_models, is_measured=False, chunk_time_limit_seconds="8") as api:
        yield api


def ended(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    return dict(api.get(job["urls"]["self"], Prefer="wait=60").json())


def worker_children(directory: Path) -> list[psutil.Process]:
    """The pool processes of the worker whose log lies in `directory`."""
    mine = [p for p in psutil.Process().children() if "worker.app" in " ".join(p.cmdline())]
    logs = {p: os.readlink(f"/proc/{p.pid}/fd/1") for p in mine}
    (main,) = [p for p, log in logs.items() if log == str(directory / "worker.log")]
    return list(main.children())


def test_a_row_the_model_refuses_is_a_row_error_and_the_others_are_scored(fragile: Api) -> None:
    job = fragile.submit("x\n1\n-2\n3\n", model="fussy").json()

    answer = fragile.get(job["urls"]["errors"], Accept="application/x-ndjson")
    error = json.loads(answer.text)
    assert job["counts"] == {"total": 3, "succeeded": 2, "failed": 1, "pending": 0}
    assert (error["row"], error["line"], error["code"]) == (2, 3, "prediction_failed")
    assert error["message"] == "ValueError: a value is below zero"


def test_a_chunk_whose_process_died_is_scored_by_another_one(fragile: Api) -> None:
    job = ended(fragile, fragile.submit("x\n1\n666\n", model="deadly_once", wait=0).json())

    assert job["status"] == "succeeded", job["error"]
    assert "6660" in fragile.get(job["urls"]["results"]).text


@pytest.mark.timeout(180)
def test_a_chunk_that_kills_every_process_is_given_up_and_others_go_on(fragile: Api) -> None:
    poison = fragile.submit("x\n666\n", model="deadly", wait=0).json()
    healthy = fragile.submit("x\n1\n", model="echo", wait=0).json()

    assert ended(fragile, healthy)["status"] == "succeeded"
    poisoned = ended(fragile, poison)
    assert poisoned["status"] == "failed"
    assert poisoned["error"]["code"] == "attempts_exhausted"


def test_a_killed_pool_child_loses_no_row(fragile: Api, directory: Path) -> None:
    rows = "\n".join(map(str, range(700)))  # under the time limit
    job = fragile.submit(f"x\n{rows}\n", model="slow", wait=0).json()
    wait_until(lambda: ended_or_running(fragile, job) == "running")

    for child in worker_children(directory):
        child.send_signal(signal.SIGKILL)

    assert ended(fragile, job)["counts"]["succeeded"] == 700


def ended_or_running(api: Api, job: dict[str, Any]) -> str:
    return str(api.get(job["urls"]["self"]).json()["status"])


def test_a_chunk_over_the_time_limit_ends_its_job_with_a_code(fragile: Api) -> None:
    job = ended(fragile, fragile.submit("x\n1\n", model="stuck", wait=0).json())

    assert job["status"] == "failed"
    assert job["error"]["code"] == "attempts_exhausted"
    assert "TimeLimitExceeded" in job["error"]["detail"]


def test_a_model_that_was_changed_on_disk_fails_its_jobs_and_only_those(fragile: Api) -> None:
    job = fragile.submit("a,b,c\n1,2,3\n", model="boosted").json()

    assert job["status"] == "failed"
    assert job["error"]["code"] == "model_load_failed"
    assert "checksum" in job["error"]["detail"]
    assert fragile.submit("x\n6\n", model="line").json()["status"] == "succeeded"


def test_a_message_delivered_twice_changes_nothing(fragile: Api, directory: Path) -> None:
    job = fragile.submit("x\n1\n2\n", model="echo").json()
    before = fragile.get(job["urls"]["self"]).json()

    celery = make_celery(Settings(redis_url=f"unix://{directory / 'r' / 's'}"))
    Dispatcher(celery).announce(job["id"], [0, 0, 7], model="echo/1")
    celery.close()
    fragile.submit("x\n1\n", model="echo")  # queued behind the three, so they have run by now

    after = fragile.get(job["urls"]["self"]).json()
    assert after["counts"] == before["counts"]
    assert after["finished_at"] == before["finished_at"]


def test_messages_carry_no_rows_and_celery_keeps_no_results(fragile: Api, directory: Path) -> None:
    redis = Redis(unix_socket_path=str(directory / "r" / "s"))
    rows = "\n".join(["123456789"] * 9_000)
    fragile.submit(f"x\n{rows}\n", model="slow", wait=0)

    messages = wait_until(lambda: redis.lrange(BULK_QUEUE, 0, -1))

    headers = [json.loads(message)["headers"] for message in messages]
    assert {header["task"] for header in headers} == {SCORE_CHUNK}
    assert not any(b"123456789" in message for message in messages)
    assert not redis.keys("celery-task-meta-*")
    redis.close()
