"""Whether the service is up and can score, and what callers see when a part of it is missing."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.contract.answers import accepted, assert_problem
from tests.live_stack import Api, api_process, environment, redis_server
from tests.waiting import wait_until

UNKNOWN_JOB = "job_" + "0" * 32


@pytest.fixture(scope="module")
def workerless(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API with its store, but nobody who scores."""
    with redis_server(run_directory / "workerless") as url:
        log = run_directory / "workerless.log"
        with api_process(environment(url, models_dir), log) as api:
            yield api


@pytest.fixture(scope="module")
def storeless(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API whose store has gone after it answered once."""
    with ExitStack() as server:
        url = server.enter_context(redis_server(run_directory / "storeless"))
        log = run_directory / "storeless.log"
        with api_process(environment(url, models_dir), log) as api:
            assert api.get("/jobs").status_code == 200
            server.close()
            yield api


def test_a_whole_stack_is_up_and_ready(api: Api) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    # Each process of the API looks once a second.
    ready = {"status": "ready", "worker_processes": 3}
    wait_until(lambda: api.get("/readyz").json() == ready)


def test_without_a_worker_the_api_is_up_but_not_ready(workerless: Api) -> None:
    assert workerless.get("/healthz").status_code == 200
    assert_problem(workerless.get("/readyz"), 503, "no_live_worker", "No worker", "start one")


def test_without_a_worker_jobs_are_taken_and_wait(workerless: Api) -> None:
    job = accepted(workerless.submit("x\n6\n", model="line", wait=0))

    assert job["status"] == "queued"
    assert job["counts"] == {"total": 1, "succeeded": 0, "failed": 0, "pending": 1}
    assert job["started_at"] is None
    assert_problem(workerless.get(job["urls"]["results"]), 409, "job_not_finished", "queued")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/readyz"),
        ("GET", "/status"),
        ("GET", "/jobs"),
        ("POST", "/jobs?model=line"),
        ("GET", f"/jobs/{UNKNOWN_JOB}"),
        ("GET", f"/jobs/{UNKNOWN_JOB}/results"),
        ("GET", f"/jobs/{UNKNOWN_JOB}/events"),
        ("POST", f"/jobs/{UNKNOWN_JOB}/cancel"),
        ("POST", f"/jobs/{UNKNOWN_JOB}/retry"),
        ("DELETE", f"/jobs/{UNKNOWN_JOB}"),
    ],
)
def test_without_the_store_every_answer_says_when_to_come_back(
    storeless: Api, method: str, path: str
) -> None:
    answer = requests.request(
        method,
        f"{storeless.url}{path}",
        data='{"only": "failed"}' if path.endswith("/retry") else "x\n6\n",
        headers={"Content-Type": "application/json" if path.endswith("/retry") else "text/csv"},
        timeout=60,
    )

    assert_problem(answer, 503, "store_unavailable", "try again")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["/healthz", "/models", "/models/line"])
def test_without_the_store_what_needs_none_is_answered(storeless: Api, path: str) -> None:
    assert storeless.get(path).status_code == 200
