"""Two workers, one of which can't use a new version: rather late than failed jobs on one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from shared.aliases import Alias
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.estimators import Echo, Local
from tests.live_stack import (
    Api,
    api_process,
    environment,
    has_processes,
    redis_server,
    worker_process,
)
from tests.waiting import wait_until
from worker.publishing import publish

X = pd.DataFrame({"x": [1.0, 2.0]})


@pytest.fixture(scope="module")
def repository(run_directory: Path) -> Path:
    repository = run_directory / "differ" / "models"
    repository.mkdir(parents=True)
    add(Echo(), repository)
    return repository


@pytest.fixture(scope="module")
def api(run_directory: Path, repository: Path) -> Iterator[Api]:
    """A stack with two workers of two processes each; the second lacks something."""
    home = run_directory / "differ"
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(home / "r"))
        env = environment(redis_url, repository)
        parts.enter_context(worker_process(env, home / "1.log", processes=1, name="one"))
        lacking = env | {Local.LACKING: "1"}
        parts.enter_context(worker_process(lacking, home / "2.log", processes=1, name="two"))
        api = parts.enter_context(api_process(env, home / "api.log"))
        wait_until(lambda: has_processes(api, 4), timeout=60)
        yield api


def add(estimator: Echo, repository: Path) -> None:
    types = [f"tests.estimators.{type(estimator).__name__}"]
    publish(estimator.fit(X), name="two", sample=X, repository=repository, trusted_types=types)


def wait_for(api: Api, state: str, *, version: int) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        shown = api.get("/models/two").json()["versions"][version - 1 :]
        return dict(shown[0]) if shown and shown[0]["state"] == state else None

    return wait_until(found, timeout=30)


@pytest.mark.parametrize("reference", ["two", "two@champion"])
def test_what_one_worker_can_not_use_gets_no_job_and_the_old_version_serves_on(
    api: Api, repository: Path, reference: str
) -> None:
    wait_for(api, "ready", version=1)
    add(Local(), repository)
    editor = RepositoryEditor(ModelRepository(repository))
    editor.set_alias("two", "champion", Alias(version="2"))
    error = wait_for(api, "failed", version=2)["error"]

    jobs = [api.submit("x\n1\n2\n", model=reference).json() for _ in range(20)]

    assert error["code"] == "model_example_failed"
    assert {(job["status"], job["model"]["version"]) for job in jobs} == {("succeeded", "1")}
