"""An upload that its API does not survive ends its job with a code; nobody waits for it."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from redis import Redis

from tests.live_stack import (
    Api,
    answers,
    api_process,
    environment,
    redis_server,
    worker_process,
)
from tests.raw_http import connected, head
from tests.waiting import wait_until

PIECE_ROWS = 300_000
PIECE = b"1.00000000000000000\n" * PIECE_ROWS
"""More than the largest first chunk, so there is a job when it has arrived; its rows are long and
therefore few, and soon scored."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two APIs on one server: one to be stopped, one to ask."""

    doomed: Api
    other: Api
    redis: Redis


@pytest.fixture(scope="module")
def env(run_directory: Path, models_dir: Path) -> Iterator[dict[str, str]]:
    """A server and a worker."""
    with ExitStack() as processes:
        url = processes.enter_context(redis_server(run_directory / "u"))
        env = environment(url, models_dir)
        log = run_directory / "u" / "worker.log"
        processes.enter_context(worker_process(env, log, processes=1))
        yield env


@pytest.fixture(scope="module")
def other(env: dict[str, str], run_directory: Path) -> Iterator[Api]:
    with api_process(env, run_directory / "u" / "other.log") as api:
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)
        yield api


@pytest.fixture
def pair(env: dict[str, str], other: Api, run_directory: Path) -> Iterator[Pair]:
    hasty = env | {"GUNICORN_CMD_ARGS": "--graceful-timeout 9"}
    with ExitStack() as processes:
        redis = processes.enter_context(Redis.from_url(env["ROWMILL_REDIS_URL"]))
        for job in other.get("/jobs").json()["jobs"]:
            other.delete(job["urls"]["self"])
        doomed = processes.enter_context(api_process(hasty, run_directory / "u" / "doomed.log"))
        yield Pair(doomed=doomed, other=other, redis=redis)


def begin_upload(api: Api) -> socket.socket:
    """A connection on which a body has begun to arrive, enough of it to make a job."""
    connection = connected(api)
    connection.sendall(head("Content-Length: 10000000", query="model=echo") + b"x\n")
    connection.sendall(PIECE)
    return connection


def newest(api: Api) -> dict[str, Any]:
    jobs = api.get("/jobs").json()["jobs"]
    return dict(jobs[0]) if jobs else {}


def broken_off(api: Api) -> dict[str, Any] | None:
    job = newest(api)
    return job if job["status"] == "failed" else None


@pytest.mark.timeout(120)
def test_an_api_that_is_stopped_says_which_uploads_it_breaks_off(pair: Pair) -> None:
    with begin_upload(pair.doomed):
        wait_until(lambda: newest(pair.other).get("status") == "receiving")

        os.kill(pair.doomed.pid, signal.SIGTERM)
        job = wait_until(lambda: broken_off(pair.other))

        assert job["error"]["code"] == "upload_incomplete"
        assert "stopped" in job["error"]["detail"]


@pytest.mark.timeout(120)
def test_an_api_that_is_stopped_finishes_what_it_has_begun(pair: Pair) -> None:
    wait = {"Prefer": "wait=1", "Content-Type": "text/csv"}

    def body() -> Iterator[bytes]:
        yield b"x\n" + PIECE
        wait_until(lambda: newest(pair.other).get("status") == "receiving")
        os.kill(pair.doomed.pid, signal.SIGTERM)
        yield PIECE

    answer = requests.post(
        f"{pair.doomed.url}/jobs?model=echo", data=body(), headers=wait, timeout=30
    )

    assert answer.status_code == 202
    done = pair.other.ended(answer.json())
    assert (done["status"], done["counts"]["total"]) == ("succeeded", 2 * PIECE_ROWS)


@pytest.mark.timeout(120)
def test_the_upload_of_an_api_that_is_killed_ends_within_15_seconds(pair: Pair) -> None:
    with begin_upload(pair.doomed):
        wait_until(lambda: newest(pair.other).get("status") == "receiving")

        for process in (
            *psutil.Process(pair.doomed.pid).children(),
            psutil.Process(pair.doomed.pid),
        ):
            process.kill()
        job = wait_until(lambda: broken_off(pair.other), timeout=15)

        assert job["error"]["code"] == "upload_incomplete"
        assert job["counts"]["pending"] + job["counts"]["succeeded"] == job["counts"]["total"]


@pytest.mark.timeout(120)
def test_a_slow_upload_is_not_taken_for_a_dead_one(pair: Pair) -> None:
    with begin_upload(pair.doomed):
        job = wait_until(lambda: newest(pair.other))
        nearly_over_ms = (time.time() + 8) * 1000
        pair.redis.zadd("uploads", {job["id"]: nearly_over_ms})

        wait_until(lambda: (pair.redis.zscore("uploads", job["id"]) or 0) > nearly_over_ms)

        assert newest(pair.other)["status"] == "receiving"
