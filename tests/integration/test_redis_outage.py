"""Redis goes away and comes back: accepted jobs are scored, callers are told."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.live_stack import (
    Api,
    answers,
    api_process,
    environment,
    redis_server,
    without_coverage,
    worker_process,
)
from tests.waiting import wait_until


@pytest.fixture
def stack(run_directory: Path, models_dir: Path) -> Iterator[tuple[Api, ExitStack]]:
    """API and worker on a server with an append-only file; closing the stack kills the server."""
    with ExitStack() as processes, ExitStack() as server:
        url = server.enter_context(redis_server(run_directory / "o", append_only=True))
        env = without_coverage(environment(url, models_dir))
        processes.enter_context(worker_process(env, run_directory / "outage-worker.log"))
        api = processes.enter_context(api_process(env, run_directory / "outage-api.log"))
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)
        yield api, server


def ended_job(api: Api, path: str) -> dict[str, Any] | None:
    """The job once it has ended; None while it has not, or nobody can tell."""
    job = api.get(path, Prefer="wait=5").json()
    return job if job.get("finished_at") else None


@pytest.mark.timeout(180)
def test_a_job_survives_a_restart_of_redis(
    stack: tuple[Api, ExitStack], run_directory: Path
) -> None:
    api, server = stack
    rows = "\n".join(map(str, range(3_000)))
    job = api.submit(f"x\n{rows}\n", model="slow", wait=0).json()
    wait_until(lambda: api.get(job["urls"]["self"]).json()["progress"]["chunks_done"] >= 1)

    server.close()
    refused = api.get(job["urls"]["self"])
    with redis_server(run_directory / "o", append_only=True):
        ended = wait_until(lambda: ended_job(api, job["urls"]["self"]), timeout=120)

    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert ended["status"] == "succeeded"
    assert ended["counts"]["succeeded"] == 3_000
