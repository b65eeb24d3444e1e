"""What all tests share: models trained here and a stack that belongs to this run alone."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from shared import logs
from shared.job_store.connection import connect
from shared.job_store.intake import JobIntake
from shared.job_store.leases import Leases
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from tests.estimators import Deadly, Echo, Fussy, Greedy, Reluctant, Stuck
from tests.factories import MAX_JOB_LOSSES, make_intake
from tests.job_steps import JobSteps
from tests.live_stack import Api, live_stack, redis_server
from tests.s3_server import S3Server, s3_server
from worker.publishing import publish

# A busy machine pauses a process for longer than any limit on an example or its making could be.
settings.register_profile("rowmill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("rowmill")


@pytest.fixture(autouse=True)
def no_request_before() -> None:
    """A request that another test sent in this thread stands in no line of this one's log."""
    logs.set_fields({})


@pytest.fixture(scope="session")
def run_directory() -> Iterator[Path]:
    """A directory with a short path: the name of a socket may have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="rowmill-") as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def numbers() -> pd.DataFrame:
    """1,000 rows of three numeric columns; `c` has gaps."""
    generator = np.random.default_rng(7)
    table = pd.DataFrame(generator.normal(size=(1000, 3)), columns=["a", "b", "c"])
    return table.mask(np.column_stack([np.zeros((1000, 2)), generator.random(1000) < 0.1]) == 1)


@pytest.fixture(scope="session")
def models_dir(run_directory: Path, numbers: pd.DataFrame) -> Path:
    """A repository of small models, each with its own trait."""
    repository = run_directory / "models"
    y = numbers["a"] * 3 + numbers["b"] ** 2
    forest = RandomForestRegressor(n_estimators=20, random_state=0).fit(numbers, y)
    publish(forest, name="forest", sample=numbers, repository=repository)

    line = LinearRegression().fit(pd.DataFrame({"x": [1.0, 2, 3, 4, 5]}), [5, 7, 9, 11, 13])
    publish(line, name="line", sample=pd.DataFrame({"x": [1.0, 5.0]}), repository=repository)

    linear = make_pipeline(StandardScaler(), LinearRegression())
    sample = numbers[["a", "b"]]
    publish(linear.fit(sample, y), name="linear", sample=sample, repository=repository)

    people = pd.DataFrame(
        {
            "age": [20, 30, 40, 50],
            "city": ["Bonn", "Kiel", "Bonn", "Ulm"],
            "member": [True, False] * 2,
        }
    )
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="error"), ["city"]), remainder="passthrough"
    )
    churn = make_pipeline(encoder, LogisticRegression()).fit(people, ["stay", "go", "stay", "go"])
    publish(churn, name="churn", sample=people, repository=repository)

    boosted = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(numbers, y > 0)
    publish(boosted, name="boosted", sample=numbers, repository=repository)

    x = pd.DataFrame({"x": [1.0, 2.0]})
    own = [
        ("echo", Echo()),
        ("slow", Echo(seconds_per_row=0.002)),
        ("fussy", Fussy()),
        ("reluctant", Reluctant()),
        ("stuck", Stuck()),
        ("greedy", Greedy()),
        ("deadly", Deadly()),
        ("deadly_once", Deadly(marker=str(run_directory / "died"))),
    ]
    for name, estimator in own:
        types = [f"tests.estimators.{type(estimator).__name__}"]
        publish(estimator.fit(x), name=name, sample=x, repository=repository, trusted_types=types)
    return repository


@pytest.fixture(scope="session")
def few_models(run_directory: Path, models_dir: Path) -> Path:
    """Those of them that take a moment to load, for stacks that are about something else."""
    repository = run_directory / "few-models"
    for name in ("echo", "line", "slow"):
        shutil.copytree(models_dir / name, repository / name)
    return repository


@pytest.fixture(scope="session")
def redis_url(run_directory: Path) -> Iterator[str]:
    """A server for tests of the store alone."""
    with redis_server(run_directory / "store") as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty server."""
    client = connect(redis_url)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3(run_directory: Path) -> Iterator[S3Server]:
    """An S3 server, shared by the tests that put objects into it."""
    with s3_server(run_directory / "s3") as server:
        yield server


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture
def intake(redis: Redis) -> JobIntake:
    return make_intake(redis)


@pytest.fixture
def leases(redis: Redis) -> Leases:
    return Leases(redis, time_limit_seconds=60, max_job_losses=MAX_JOB_LOSSES)


@pytest.fixture
def registry(redis: Redis) -> WorkerRegistry:
    return WorkerRegistry(redis, dead_after_seconds=10, max_job_losses=MAX_JOB_LOSSES)


@pytest.fixture
def steps(
    redis: Redis, store: JobStore, intake: JobIntake, leases: Leases, registry: WorkerRegistry
) -> JobSteps:
    return JobSteps(redis=redis, store=store, intake=intake, leases=leases, registry=registry)


@pytest.fixture(scope="session")
def api(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """A running stack, shared by the tests that do it no harm."""
    with live_stack(
        run_directory / "live", models_dir, is_measured=True, max_body_bytes=str(64 * 1024**2)
    ) as api:
        yield api
