"""Versions come, aliases move and broken ones are left aside while jobs run."""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import psutil
import pytest
from sklearn.dummy import DummyRegressor

from api.serving import RECENT_SECONDS
from shared.aliases import Alias
from shared.model_repository import ModelRepository, file_sha256
from shared.repository_editor import RepositoryEditor
from tests.estimators import Fussy
from tests.live_stack import (
    Api,
    api_process,
    environment,
    has_processes,
    redis_server,
    worker_process,
)
from tests.waiting import wait_until
from worker import publishing
from worker.publishing import publish

X = pd.DataFrame({"x": [1.0, 2.0]})
JOBS = 200


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack whose repository and worker may be changed by a test."""

    api: Api
    repository: Path
    worker_pid: int

    def publish(self, name: str, version: int) -> None:
        """A model that always predicts the number of its version."""
        constant = DummyRegressor(strategy="constant", constant=float(version))
        published = publish(
            constant.fit(X, [0.0, 1.0]), name=name, sample=X, repository=self.repository
        )
        assert published.version == str(version)

    def point(self, name: str, alias: str, version: int, **options: Any) -> None:
        editor = RepositoryEditor(ModelRepository(self.repository))
        editor.set_alias(name, alias, Alias(version=str(version), **options))

    def version(self, name: str, number: int) -> dict[str, Any]:
        """How the API shows a version."""
        versions = self.api.get(f"/models/{name}").json()["versions"]
        return dict(next(v for v in versions if v["version"] == str(number)))

    def processes(self) -> set[int]:
        """The worker and the processes of its pool."""
        worker = psutil.Process(self.worker_pid)
        return {worker.pid, *(child.pid for child in worker.children() if _is_of_pool(child))}

    def wait_for(self, name: str, number: int, state: str) -> dict[str, Any]:
        """The version once it is in this state, and every process of the API has heard of it."""
        version = wait_until(
            lambda: v if (v := self.version(name, number))["state"] == state else None, timeout=30
        )
        known_by = time.monotonic() + 2 * RECENT_SECONDS
        wait_until(lambda: time.monotonic() > known_by)
        return version


def _is_of_pool(process: psutil.Process) -> bool:
    """One that was made to try a version ends soon, and is a zombie before it is gone."""
    try:
        return "celery" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[Stack]:
    home = run_directory / "swap"
    repository = home / "models"
    # A service without a model that could score is not ready.
    any_model = DummyRegressor().fit(X, [0.0, 1.0])
    publish(any_model, name="there", sample=X, repository=repository)
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(home / "r"))
        settings = {"allow_pickle": "true", "on_version_mismatch": "warn"}
        env = environment(redis_url, repository, **settings)
        worker = parts.enter_context(worker_process(env, home / "worker.log"))
        api = parts.enter_context(api_process(env, home / "api.log"))
        wait_until(lambda: has_processes(api, 3), timeout=60)
        yield Stack(api=api, repository=repository, worker_pid=worker.pid)


def predictions(api: Api, job: dict[str, Any]) -> set[float]:
    """The different predictions of a job."""
    lines = api.get(job["urls"]["results"]).text.splitlines()
    return {float(line["prediction"]) for line in csv.DictReader(lines)}


def test_a_new_version_takes_over_under_load_without_a_lost_or_mixed_job(stack: Stack) -> None:
    api = stack.api
    stack.publish("swap", 1)
    stack.point("swap", "champion", 1)
    stack.wait_for("swap", 1, "ready")
    before = wait_until(lambda: p if len(p := stack.processes()) == 4 else None)

    def run(number: int) -> tuple[dict[str, Any], set[float]]:
        if number == JOBS // 3:
            stack.publish("swap", 2)
            stack.point("swap", "champion", 2)
        rows = 1 + number * 37 % 3000
        job = api.submit("x\n" + "1\n" * rows, model="swap").json()
        return job, predictions(api, job)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(JOBS)))
    stack.wait_for("swap", 2, "ready")
    later = wait_until(lambda: job if (job := run(0)[0])["model"]["version"] == "2" else None)

    assert {job["status"] for job, _ in found} == {"succeeded"}
    assert all(values == {float(job["model"]["version"])} for job, values in found)
    assert predictions(api, later) == {2.0}
    assert {run(0)[0]["model"]["version"] for _ in range(20)} == {"2"}
    assert before <= stack.processes()


def test_a_job_finishes_on_the_version_it_was_made_for(stack: Stack) -> None:
    stack.publish("pinned", 1)
    stack.wait_for("pinned", 1, "ready")
    job = stack.api.submit("x\n" + "1\n" * 300_000, model="pinned", wait=0).json()
    stack.publish("pinned", 2)
    stack.wait_for("pinned", 2, "ready")

    ended = stack.api.ended(job)

    assert (ended["status"], ended["model"]["version"]) == ("succeeded", "1")
    assert predictions(stack.api, ended) == {1.0}


def test_a_version_is_noticed_and_serves_within_seconds_of_its_publishing(stack: Stack) -> None:
    stack.publish("noticed", 1)
    stack.wait_for("noticed", 1, "ready")
    stack.publish("noticed", 2)

    def newest() -> bool:
        return bool(stack.api.submit("x\n1\n", model="noticed").json()["model"]["version"] == "2")

    assert wait_until(newest, timeout=5)


# --- aliases


def test_a_shadow_is_compared_and_answers_nobody(stack: Stack) -> None:
    stack.publish("watched", 1)
    stack.point("watched", "champion", 1)
    stack.publish("watched", 2)
    stack.point("watched", "challenger", 2, shadow=True)
    stack.wait_for("watched", 2, "ready")

    small = [stack.api.submit("x\n1\n2\n", model="watched").json() for _ in range(5)]
    large = stack.api.submit("x\n" + "1\n" * 5_000, model="watched").json()

    def compared() -> list[dict[str, Any]]:
        return list(stack.api.get("/models/watched").json()["comparisons"])

    rows = 5_000 + 2 * len(small)
    wait_until(lambda: compared() and compared()[0]["rows"] == rows, timeout=30)
    assert [predictions(stack.api, job) for job in (*small, large)] == [{1.0}] * 6
    assert compared() == [
        {
            "version": "1",
            "shadow": "2",
            "output": "predict",
            "rows": rows,
            "rows_skipped": 0,
            "agreement": 0.0,
            "mean_absolute_difference": 1.0,
        }
    ]
    usage = {v["version"]: v for v in stack.api.get("/models/watched").json()["versions"]}
    assert (usage["1"]["jobs"], usage["1"]["rows"], usage["1"]["error_rate"]) == (6, rows, 0)
    assert (usage["2"]["jobs"], usage["2"]["rows"]) == (0, 0)


def test_a_canary_gets_the_jobs_whose_ids_say_so(stack: Stack) -> None:
    for version in (1, 2):
        stack.publish("canaried", version)
    stack.point("canaried", "champion", 1)
    stack.point("canaried", "canary", 2, weight=0.3)
    stack.wait_for("canaried", 2, "ready")
    aliases = ModelRepository(stack.repository).aliases("canaried")

    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: stack.api.submit("x\n1\n", model="canaried").json(), range(200))
        jobs = list(found)

    chosen = [aliases.root[aliases.choose(job["id"]) or ""].version for job in jobs]
    assert [job["model"]["version"] for job in jobs] == chosen
    assert set(chosen) == {"1", "2"}


def test_an_alias_can_be_asked_for_by_its_name(stack: Stack) -> None:
    for version in (1, 2):
        stack.publish("named", version)
    stack.point("named", "stable", 1)
    stack.wait_for("named", 1, "ready")

    job = stack.api.submit("x\n1\n", model="named@stable").json()

    assert (job["status"], job["model"]["version"]) == ("succeeded", "1")
    assert stack.api.get("/models/named@stable").json()["version"] == "1"
    assert stack.api.submit("x\n1\n", model="named@nobody").json()["code"] == "model_not_found"


# --- versions that can't serve


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def rewrite(home: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of a version that is not in its place yet."""
    path = home / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def flip_a_byte(home: Path) -> None:
    path = home / "model.skops"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def pickle_malice(home: Path) -> None:
    """A joblib file with a malicious reducer, put in the place of the one that was published."""
    joblib.dump(Malicious(home.parent / "marker"), home / "model.joblib")
    rewrite(home, lambda d: d["artifact"].update(file="model.joblib", format="joblib"))


def distrust(home: Path) -> None:
    rewrite(home, lambda d: d["artifact"].update(trusted_types=[]))


def spoil_the_example(home: Path) -> None:
    rewrite(home, lambda d: d["signature"]["features"][0].update(example=-1))


def point_outside(home: Path) -> None:
    rewrite(home, lambda d: d["artifact"].update(file="../1/model.skops"))


def link_outside(home: Path) -> None:
    (home / "model.skops").unlink()
    (home / "model.skops").symlink_to(home.parent / "1/model.skops")


def crash_on_load(home: Path) -> None:
    """A pickle that kills its process, with the checksum of its manifest."""
    joblib.dump(Killer(), home / "model.joblib")
    artifact = {"file": "model.joblib", "format": "joblib"}
    artifact["sha256"] = file_sha256(home / "model.joblib")
    rewrite(home, lambda d: d["artifact"].update(artifact))


class Killer:
    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return os.abort, ()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (flip_a_byte, "model_load_failed", "does not have the checksum"),
        (pickle_malice, "model_load_failed", "does not have the checksum"),
        (distrust, "model_load_failed", "tests.estimators.Fussy"),
        (spoil_the_example, "model_example_failed", "a value is below zero"),
        (point_outside, "invalid_manifest", "can't be read"),
        (link_outside, "invalid_manifest", "outside"),
        (crash_on_load, "model_load_failed", "SIGABRT"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_version_that_can_not_serve_is_reported_and_the_old_one_serves_on(
    stack: Stack, spoil: Callable[[Path], None], code: str, words: str
) -> None:
    name = spoil.__name__.replace("_", "-")
    types = [f"{Fussy.__module__}.{Fussy.__name__}"]
    publish(Fussy().fit(X), name=name, sample=X, repository=stack.repository, trusted_types=types)
    stack.wait_for(name, 1, "ready")
    home = stack.repository / name
    shutil.copytree(home / "1", home / ".aside")
    rewrite(home / ".aside", lambda d: d.update(version="2"))
    spoil(home / ".aside")
    before = wait_until(lambda: p if len(p := stack.processes()) == 4 else None)

    (home / ".aside").rename(home / "2")

    error = stack.wait_for(name, 2, "failed")["error"]
    job = stack.api.submit("x\n6\n", model=name).json()
    assert error["code"] == code
    assert words in error["detail"]
    assert (job["status"], job["model"]["version"]) == ("succeeded", "1")
    assert not (home / "marker").exists()
    assert before <= stack.processes()


def test_jobs_of_a_model_of_another_scikit_learn_are_warned(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("sklearn.base.__version__", "1.0.2")
        earlier.setattr(publishing, "version", lambda _: "1.0.2")
        stack.publish("old", 1)
    warnings = stack.wait_for("old", 1, "ready")["warnings"]

    job = stack.api.submit("x\n1\n", model="old").json()

    assert job["status"] == "succeeded"
    assert job["warnings"] == warnings
    assert "trained under scikit-learn 1.0.2" in warnings[0]
