"""What tests of the worker share."""

from pathlib import Path

import pytest

from shared.job_store.model_reports import ModelReports
from shared.model_repository import ModelRepository
from tests.job_steps import JobSteps
from tests.unit.worker.supervision import FakeClock, RecordingDispatcher, make_supervisor
from worker.chunk_runner import ChunkRunner
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.shadowing import Shadows
from worker.supervisor import Supervisor

MAX_BYTES = 1024**3


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dispatcher() -> RecordingDispatcher:
    return RecordingDispatcher()


@pytest.fixture
def supervisor(steps: JobSteps, clock: FakeClock, dispatcher: RecordingDispatcher) -> Supervisor:
    return make_supervisor(steps.registry, clock, dispatcher)


@pytest.fixture(scope="session")
def models(models_dir: Path) -> ModelCache:
    return ModelCache(
        ModelLoader(ModelRepository(models_dir), allow_pickle=False), max_bytes=MAX_BYTES
    )


@pytest.fixture
def runner(steps: JobSteps, models: ModelCache) -> ChunkRunner:
    return ChunkRunner(
        store=steps.store,
        leases=steps.leases,
        workers=steps.registry,
        models=models,
        shadows=Shadows(models, ModelReports(steps.redis), time_limit_seconds=60),
        max_losses=8,
        time_limit_seconds=60,
    )
