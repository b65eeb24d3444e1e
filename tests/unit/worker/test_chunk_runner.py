"""A chunk may run twice, late or in vain; what is committed is right and committed once."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from redis import Redis

from shared.errors import StoreUnavailableError
from shared.job_store.connection import connect
from shared.job_store.store import CommitOutcome, JobStore, Lease
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobStatus
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from tests.factories import make_plan, make_spec
from worker.chunk_runner import ChunkRunner, score
from worker.model_cache import ModelCache
from worker.predictor import Predictor

JOB = "job_1"
BODY = [b"1\n2\n", b"-3\nx\n", b"inf\n4\n"]


class RecordingAnnouncer:
    """Remembers which chunks were to be queued."""

    def __init__(self) -> None:
        self.chunks: list[tuple[str, int, str]] = []

    def __call__(self, job_id: str, chunks: list[int], *, model: str) -> None:
        self.chunks += [(job_id, chunk, model) for chunk in chunks]


@pytest.fixture(scope="module")
def models(models_dir: Path) -> ModelCache:
    return ModelCache(ModelRepository(models_dir), allow_pickle=False)


@pytest.fixture
def announced() -> RecordingAnnouncer:
    return RecordingAnnouncer()


@pytest.fixture
def runner(
    redis: Redis, store: JobStore, models: ModelCache, announced: RecordingAnnouncer
) -> ChunkRunner:
    return make_runner(redis, store, models, announced)


def make_runner(
    redis: Redis, store: JobStore, models: ModelCache, announced: RecordingAnnouncer
) -> ChunkRunner:
    return ChunkRunner(
        store=store,
        workers=WorkerRegistry(redis),
        models=models,
        announce=announced,
        owner="me",
        max_attempts=3,
        time_limit_seconds=60,
    )


def predictor_of(models: ModelCache, models_dir: Path, name: str = "fussy") -> Predictor:
    manifest = ModelRepository(models_dir).resolve(name)
    return models.get(name, manifest.version, sha256=manifest.artifact.sha256)


def submit(store: JobStore, models_dir: Path, *, name: str = "fussy", **spec: Any) -> None:
    """A job of three chunks of two rows; good, refused by the model, no number, infinite."""
    manifest = ModelRepository(models_dir).resolve(name)
    sha256 = spec.pop("model_sha256", manifest.artifact.sha256)
    store.create(JOB, make_spec(model_name=name, model_sha256=sha256, **spec))
    for number, data in enumerate(BODY):
        store.append_chunk(JOB, make_plan(number, rows=2), data, window=2)
    store.close_input(JOB, input_bytes=18, sha256="0" * 64)


def make_lease(data: bytes, *, rows: int, **spec: Any) -> Lease:
    plan = make_plan(rows=rows)
    return Lease(job_id=JOB, spec=make_spec(**spec), plan=plan, token=1, input=data)


def texts(store: JobStore) -> tuple[bytes, bytes]:
    job = store.get(JOB)
    return b"".join(store.results(job)), b"".join(store.errors(job))


EXPECTED = b"1,10,\n2,20,\n3,,prediction_failed\n4,,not_a_number\n5,,not_finite\n6,40,\n"


def test_the_chunks_of_a_job_give_its_results_and_row_errors(
    runner: ChunkRunner, store: JobStore, models_dir: Path
) -> None:
    submit(store, models_dir)

    for chunk in (2, 0, 1):
        runner.run(JOB, chunk)

    job = store.get(JOB)
    results, errors = texts(store)
    assert (job.status, job.succeeded, job.failed) == (JobStatus.PARTIALLY_SUCCEEDED, 3, 3)
    assert results == EXPECTED
    assert [line.split(b",")[:2] for line in errors.splitlines()] == [
        [b"3", b"4"],
        [b"4", b"5"],
        [b"5", b"6"],
    ]


def test_a_chunk_run_twice_changes_nothing(
    runner: ChunkRunner, store: JobStore, models_dir: Path, announced: RecordingAnnouncer
) -> None:
    submit(store, models_dir)
    runner.run(JOB, 1)
    before = (texts(store), store.get(JOB).failed, list(announced.chunks))

    runner.run(JOB, 1)

    assert (texts(store), store.get(JOB).failed, announced.chunks) == before


def test_a_late_commit_of_an_older_attempt_is_refused(
    runner: ChunkRunner, store: JobStore, models: ModelCache, models_dir: Path
) -> None:
    submit(store, models_dir)
    late = store.lease(JOB, 1, owner="lost", max_attempts=3)
    assert isinstance(late, Lease)
    runner.run(JOB, 1)
    before = texts(store)

    outcome, released = store.commit(late, score(late, predictor_of(models, models_dir)), window=9)

    assert (outcome, released) == (CommitOutcome.STALE, [])
    assert texts(store) == before


def test_a_committed_chunk_queues_the_next_one(
    runner: ChunkRunner, store: JobStore, models_dir: Path, announced: RecordingAnnouncer
) -> None:
    submit(store, models_dir)

    runner.run(JOB, 0)

    assert announced.chunks == [(JOB, 2, "fussy/1")]


@pytest.mark.parametrize("chunk", [0, 7])
def test_what_no_longer_needs_to_run_is_passed_over(
    runner: ChunkRunner, store: JobStore, models_dir: Path, chunk: int
) -> None:
    runner.run(JOB, chunk)
    submit(store, models_dir)
    store.cancel(JOB)

    runner.run(JOB, chunk)

    assert store.get(JOB).status is JobStatus.CANCELLED
    assert texts(store) == (b"", b"")


@pytest.mark.parametrize("changes", [{"model_version": "99"}, {"model_sha256": "1" * 64}])
def test_a_model_that_can_not_be_had_fails_the_job_and_says_so(
    runner: ChunkRunner, store: JobStore, models_dir: Path, changes: dict[str, Any]
) -> None:
    submit(store, models_dir, **changes)

    runner.run(JOB, 0)

    job = store.get(JOB)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "model_load_failed")
    assert "fussy/" in str(job.error_detail)


def test_a_chunk_taken_up_too_often_fails_the_job(
    runner: ChunkRunner, store: JobStore, models_dir: Path
) -> None:
    submit(store, models_dir)
    for _ in range(3):
        store.lease(JOB, 0, owner="dead", max_attempts=3)

    runner.run(JOB, 0)

    assert store.get(JOB).error_code == "attempts_exhausted"


@pytest.mark.parametrize(("rows", "is_measured"), [(2, False), (19, False), (20, True)])
def test_the_speed_of_a_model_is_measured_by_chunks_that_are_large_enough(
    runner: ChunkRunner,
    redis: Redis,
    store: JobStore,
    models_dir: Path,
    *,
    rows: int,
    is_measured: bool,
) -> None:
    submit(store, models_dir)
    store.append_chunk(JOB, make_plan(3, rows=rows + 5), b"1\n" * rows + b"x\n" * 5, window=9)

    runner.run(JOB, 3)

    assert (WorkerRegistry(redis).speed("fussy/1") is not None) == is_measured


def test_a_store_that_does_not_answer_is_left_to_the_caller(
    models: ModelCache, tmp_path: Path
) -> None:
    redis = connect(f"unix://{tmp_path / 'nobody'}")
    store = JobStore(redis, tombstone_seconds=1, max_retention_seconds=1)
    runner = make_runner(redis, store, models, RecordingAnnouncer())

    with pytest.raises(StoreUnavailableError):
        runner.run(JOB, 0)


# --- score


def test_scoring_a_chunk_twice_gives_the_same_bytes(models: ModelCache, models_dir: Path) -> None:
    lease = make_lease(
        b'1,a\n-1,"b"\n2\nx,y\n\n3.5,"c\nd"\n', rows=5, header=("x", "k"), carried=("k",)
    )
    predictor = predictor_of(models, models_dir)

    results = [score(lease, predictor) for _ in range(3)]

    assert results[0] == results[1] == results[2]
    assert (results[0].succeeded, results[0].failed) == (2, 3)


@pytest.mark.parametrize("output", list(OutputKind))
def test_a_row_has_the_same_prediction_in_every_chunk(
    models: ModelCache, models_dir: Path, numbers: pd.DataFrame, output: OutputKind
) -> None:
    lines = numbers[:60].to_csv(index=False, header=False, lineterminator="\n").encode()
    rows = lines.splitlines(keepends=True)
    predictor = predictor_of(models, models_dir, "boosted")
    spec = {"header": ("a", "b", "c"), "output": output}

    whole = score(make_lease(lines, rows=60, **spec), predictor)
    alone = [score(make_lease(row, rows=1, **spec), predictor).results for row in rows]

    assert [line.split(b",", 1)[1] for line in whole.results.splitlines(keepends=True)] == [
        line.split(b",", 1)[1] for line in alone
    ]


def test_row_errors_come_in_the_order_of_the_rows(models: ModelCache, models_dir: Path) -> None:
    lease = make_lease(b"-1\nx\n1,2\n-2\n\xff\n", rows=5)

    errors = score(lease, predictor_of(models, models_dir)).errors

    found = [(line.split(b",")[0], line.split(b",")[3]) for line in errors.splitlines()]
    assert found == [
        (b"1", b"prediction_failed"),
        (b"2", b"not_a_number"),
        (b"3", b"wrong_field_count"),
        (b"4", b"prediction_failed"),
        (b"5", b"invalid_utf8"),
    ]
