"""A shadow that kills or hangs its processes costs no job anything, and is soon left alone."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.aliases import Alias
from shared.job_store.connection import connect
from shared.job_store.model_reports import SHADOW_STRIKES
from shared.job_store.workers import WorkerRegistry
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.estimators import Deadly, Echo, Stuck
from tests.live_stack import Api, live_stack
from tests.model_versions import publish_version
from tests.waiting import wait_until

PROCESSES = 3


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[Api]:
    directory = run_directory / "shadows"
    repository = directory / "models"
    repository.mkdir(parents=True)
    editor = RepositoryEditor(ModelRepository(repository))
    for name, estimator in (("deadly", Deadly()), ("stuck", Stuck())):
        for version in (Echo(), estimator):
            publish_version(name, version, repository)
        editor.set_alias(name, "champion", Alias(version="1"))
        editor.set_alias(name, "challenger", Alias(version="2", shadow=True))
    limits = {"chunk_time_limit_seconds": "4"}
    with live_stack(directory, repository, **limits) as api:
        yield api


def challenger(api: Api, name: str) -> dict[str, Any]:
    """How the API shows the shadow."""
    return dict(api.get(f"/models/{name}").json()["versions"][1])


def attempts_lost(api: Api) -> int:
    """By jobs, whatever became of the processes."""
    with closing(connect(api.redis_url)) as redis:
        counters = WorkerRegistry(redis, dead_after_seconds=10, max_job_losses=1).counters()
    return sum(count for name, count in counters.items() if name.startswith("attempts_"))


def shadow_losses(api: Api) -> int:
    with closing(connect(api.redis_url)) as redis:
        return sum(map(int, redis.hvals("losses")))


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("name", "poison"), [("deadly", 666), ("stuck", 777)])
def test_a_shadow_that_costs_processes_is_given_up_and_no_job_is_worse_for_it(
    stack: Api, name: str, poison: int
) -> None:
    wait_until(lambda: challenger(stack, name)["state"] == "ready", timeout=30)
    before = shadow_losses(stack)
    jobs = []

    def is_given_up() -> bool:
        jobs.append(stack.submit(f"x\n1\n{poison}\n", model=name).json())
        error = challenger(stack, name)["error"]
        return error is not None and error["code"] == "shadow_given_up"

    wait_until(is_given_up, timeout=120)
    wait_until(lambda: stack.get("/readyz").json()["worker_processes"] == PROCESSES, timeout=60)
    lost = shadow_losses(stack)
    jobs += [stack.submit(f"x\n1\n{poison}\n", model=name).json() for _ in range(20)]

    assert {(job["status"], job["model"]["version"]) for job in jobs} == {("succeeded", "1")}
    assert attempts_lost(stack) == 0
    assert lost - before == SHADOW_STRIKES
    assert shadow_losses(stack) == lost
    assert challenger(stack, name)["state"] == "ready"
