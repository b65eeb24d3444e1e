"""A shadow scores what others answered, row by row; whatever it does costs no job anything."""

from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import StoreFullError, StoreUnavailableError
from shared.job_store.model_reports import SHADOW_STRIKES, Comparison, ModelReports
from shared.jobs import JobTerms, Lane, new_job_id
from shared.model_repository import ModelRepository
from shared.signature import Dtype, OutputColumn, OutputKind
from tests.estimators import Describing, Echo, Fussy
from tests.factories import make_plan, make_spec
from tests.job_steps import WORKER, JobSteps
from tests.model_versions import X, always, constant, publish_version
from worker import shadowing
from worker.chunk_runner import ChunkRunner
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.publishing import publish

ROW = OutputColumn(name="row", dtype=Dtype.INT)
ERROR = OutputColumn(name="error", dtype=Dtype.STRING)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    """Models of two versions, of which the second one is the shadow."""
    root = tmp_path_factory.mktemp("models")
    pairs: dict[str, Sequence[Any]] = {
        "floats": (constant(10.0), Echo()),
        "ints": (always(1, among=(1, 2)), always(2, among=(1, 2))),
        "texts": (always("go", among=("go", "stay")), always("stay", among=("go", "stay"))),
        "twins": (constant([1.0, 2.0]), constant([1.0, 4.0])),
        "fussy": (Echo(), Fussy()),
        "picky": (Fussy(), Echo()),
    }
    for name, versions in pairs.items():
        for estimator in versions:
            publish_version(name, estimator, root)
    types = ["tests.estimators.Describing", "tests.estimators.Echo"]
    for estimator in (Describing(), Describing(seconds_per_row=0.1)):
        publish(estimator.fit(X), name="mixed", sample=X, repository=root, trusted_types=types)
    return ModelRepository(root)


@pytest.fixture
def models(repository: ModelRepository) -> ModelCache:
    return ModelCache(ModelLoader(repository, allow_pickle=False), max_bytes=2**30)


@pytest.fixture
def reports(steps: JobSteps) -> ModelReports:
    return ModelReports(steps.redis)


def submit(
    steps: JobSteps,
    repository: ModelRepository,
    name: str,
    body: bytes,
    *,
    lane: Lane = Lane.BULK,
    output: OutputKind = OutputKind.PREDICT,
    carried: tuple[str, ...] = (),
    **changes: Any,
) -> str:
    """A job of one chunk for version 1 with version 2 as its shadow."""
    own, shadow = (repository.manifest(name, version) for version in ("1", "2"))
    joined = (OutputColumn(name=name, dtype=Dtype.STRING) for name in carried)
    spec: dict[str, Any] = {
        "model_name": name,
        "model_sha256": own.artifact.sha256,
        "shadow_version": "2",
        "shadow_sha256": shadow.artifact.sha256,
        "output": output,
        "carried": carried,
        "result_columns": (ROW, *joined, *own.signature.outputs[output], ERROR),
    }
    job_id = new_job_id()
    steps.intake.create(job_id, make_spec(**spec | changes), JobTerms(lane=lane))
    rows = body.count(b"\n") - body.count(b"\\\n")
    plan = make_plan(rows=rows)
    steps.intake.append_chunk(job_id, plan, body.replace(b"\\\n", b"\n"), result_bytes=0)
    steps.close(job_id)
    return job_id


def follow(runner: ChunkRunner) -> None:
    """Let the shadow score all that waits for it."""
    while runner.shadows.is_pending:
        runner.shadows.step()


def score(runner: ChunkRunner, steps: JobSteps) -> None:
    """Run the next chunk, and then its shadow."""
    runner.run(steps.leased())
    follow(runner)


def found(reports: ModelReports) -> Comparison:
    [comparison] = reports.comparisons()
    return comparison


def summary(comparison: Comparison) -> tuple[int, int, float | None, int]:
    return comparison.rows, comparison.agreed, comparison.difference, comparison.skipped


# --- what is compared


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("floats", OutputKind.PREDICT, (3, 1, 10.0, 0)),
        ("ints", OutputKind.PREDICT, (3, 0, 1.0, 0)),
        ("texts", OutputKind.PREDICT, (3, 0, None, 0)),
        ("texts", OutputKind.PREDICT_PROBA, (3, 0, 1.0, 0)),
        ("twins", OutputKind.PREDICT, (3, 0, 1.0, 0)),
        ("mixed", OutputKind.PREDICT, (3, 3, 0.0, 0)),
    ],
)
def test_rows_are_compared_one_by_one_whatever_is_predicted(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    reports: ModelReports,
    name: str,
    output: OutputKind,
    expected: tuple[int, int, float | None, int],
) -> None:
    submit(steps, repository, name, b"1\n2\n3\n", output=output)

    score(runner, steps)

    comparison = found(reports)
    assert summary(comparison) == expected
    assert (comparison.version_id, comparison.shadow_version_id, comparison.output) == (
        f"{name}/1",
        f"{name}/2",
        output,
    )


def test_small_jobs_that_ran_together_are_compared_each(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    for body in (b"1\n", b"2\n3\n"):
        submit(steps, repository, "floats", body, lane=Lane.SMALL)
    leases = steps.take_together().leases

    runner.run_together(leases)
    follow(runner)

    assert len(leases) == 2
    assert summary(found(reports)) == (3, 1, 10.0, 0)


def test_a_chunk_is_compared_in_several_steps(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    rows = shadowing.FIRST_ROWS + 1
    submit(steps, repository, "floats", b"1\n" * rows)
    runner.run(steps.leased())

    runner.shadows.step()

    assert found(reports).rows == shadowing.FIRST_ROWS
    assert runner.shadows.is_pending
    follow(runner)
    assert summary(found(reports)) == (rows, rows, 0.0, 0)


def test_carried_columns_are_no_predictions_whatever_is_in_them(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    body = b'1,"a ""b"", c\\\nd"\n2,\n1,"NA"\n1,"\\\n\\\n"\n'
    header = ("x", "note")
    job_id = submit(steps, repository, "floats", body, header=header, carried=header)

    score(runner, steps)

    assert steps.store.get(job_id).succeeded == 4
    assert summary(found(reports)) == (4, 3, 2.5, 0)


def test_rows_without_an_answer_are_not_compared(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "picky", b"1\n-2\nx\n3\n")

    score(runner, steps)

    assert summary(found(reports)) == (2, 2, 0.0, 0)


def test_rows_that_the_shadow_refuses_count_as_passed_over(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "fussy", b"1\n-2\nx\n-3\n4\n")

    score(runner, steps)

    assert summary(found(reports)) == (2, 2, 0.0, 2)


@pytest.mark.filterwarnings("ignore:overflow")
def test_numbers_without_bounds_cost_no_comparison(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "floats", b"1\n1e308\n3\n")
    score(runner, steps)

    assert summary(found(reports)) == (3, 1, 10.0, 0)


def test_the_rows_of_a_chunk_that_lost_attempts_are_compared_once(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "floats", b"1\n" * 40)
    steps.leases.give_back(steps.leased(), reason="died")

    score(runner, steps)

    assert summary(found(reports)) == (40, 40, 0.0, 0)


# --- what is not


def test_a_job_without_a_shadow_leaves_nothing_to_do(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository
) -> None:
    submit(steps, repository, "floats", b"1\n", shadow_version=None, shadow_sha256=None)

    runner.run(steps.leased())

    assert not runner.shadows.is_pending


def test_a_chunk_that_lost_the_race_is_not_compared(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "floats", b"1\n")
    late = steps.leased()
    steps.leases.give_back(late)
    runner.run(steps.leased(2))

    runner.run(late)
    follow(runner)

    assert found(reports).rows == 1


def test_a_job_that_was_cancelled_is_not_compared(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository
) -> None:
    job_id = submit(steps, repository, "floats", b"1\n")
    lease = steps.leased()
    steps.store.cancel(job_id)

    runner.run(lease)

    assert not runner.shadows.is_pending


def test_what_piles_up_is_passed_over_and_counted(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    reports: ModelReports,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadowing, "MAX_BYTES", 2 * shadowing.ENTRY_BYTES + 30)
    for body in (b"1\n2\n", b"1\n" * 20, b"3\n"):
        submit(steps, repository, "floats", body)
        runner.run(steps.leased())

    follow(runner)
    submit(steps, repository, "floats", b"4\n")
    score(runner, steps)

    assert (found(reports).rows, found(reports).skipped) == (4, 20)


@pytest.mark.parametrize(
    "shadow", [{"shadow_version": "9"}, {"shadow_sha256": "0" * 64}], ids=["gone", "changed"]
)
def test_a_shadow_that_can_not_be_opened_is_left_out_and_its_rows_are_counted(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    reports: ModelReports,
    shadow: dict[str, str],
) -> None:
    job_id = submit(steps, repository, "floats", b"1\n" * 300, **shadow)

    score(runner, steps)

    assert summary(found(reports)) == (0, 0, None, 300)
    assert steps.store.get(job_id).status == "succeeded"


@pytest.mark.parametrize("error", [StoreUnavailableError(), StoreFullError()])
@pytest.mark.parametrize("step", ["begin_shadowing", "count_comparison"])
def test_a_store_that_is_away_ends_the_comparison_and_nothing_else(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    reports: ModelReports,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    submit(steps, repository, "floats", b"1\n")
    with monkeypatch.context() as away:
        away.setattr(ModelReports, step, fail)
        score(runner, steps)
    submit(steps, repository, "floats", b"2\n")
    score(runner, steps)

    assert found(reports).rows == 1


# --- how much at a time


def test_a_slow_shadow_is_not_given_as_many_rows_as_a_fast_one_before_it(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "floats", b"1\n" * 5_000)
    score(runner, steps)
    submit(steps, repository, "twins", b"1\n" * 5_000)
    runner.run(steps.leased())

    runner.shadows.step()

    assert {c.version_id: c.rows for c in reports.comparisons()} == {
        "floats/1": 5_000,
        "twins/1": shadowing.FIRST_ROWS,
    }


@pytest.mark.parametrize(("model", "cell", "rows", "skipped"), [
    ("fussy", b"-1", 0, 10),
    ("floats", b"1", 10, 0),
])  # fmt: skip
def test_a_search_for_rows_that_the_shadow_refuses_ends_with_its_step_and_nothing_else_does(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    reports: ModelReports,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    cell: bytes,
    rows: int,
    skipped: int,
) -> None:
    """However long the step stood still before the shadow was asked for the first time."""
    monkeypatch.setattr(shadowing, "SEARCH_SECONDS", 0.0)
    submit(steps, repository, model, (cell + b"\n") * 10)

    score(runner, steps)

    assert (found(reports).rows, found(reports).skipped) == (rows, skipped)


# --- shadows that kill


def lose(reports: ModelReports, steps: JobSteps, shadow: tuple[str, str], times: int) -> None:
    """Let so many processes die while they scored the shadow."""
    for process in range(100, 100 + times):
        assert reports.begin_shadowing(WORKER, process, *shadow) is not None
        steps.beat()


def test_what_a_process_scores_as_a_shadow_is_noted_while_it_does(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[dict[bytes, bytes]] = []
    sha256 = repository.manifest("floats", "2").artifact.sha256
    compared = shadowing._compared

    def noting(*args: Any) -> Comparison:
        noted.append(steps.redis.hgetall("shadowing"))
        return compared(*args)

    monkeypatch.setattr(shadowing, "_compared", noting)
    submit(steps, repository, "floats", b"1\n")

    score(runner, steps)

    assert noted == [{f"{WORKER} floats/2 {sha256}".encode(): b"1"}]
    assert not steps.redis.exists("shadowing")


def test_a_shadow_that_costs_processes_is_given_up(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    shadow = "floats/2", repository.manifest("floats", "2").artifact.sha256
    lose(reports, steps, shadow, SHADOW_STRIKES)
    submit(steps, repository, "floats", b"1\n2\n")

    score(runner, steps)

    assert summary(found(reports)) == (0, 0, None, 2)
    assert not steps.redis.exists("shadowing")


def test_a_single_death_may_be_an_accident(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    shadow = "floats/2", repository.manifest("floats", "2").artifact.sha256
    lose(reports, steps, shadow, SHADOW_STRIKES - 1)
    submit(steps, repository, "floats", b"1\n2\n")

    score(runner, steps)

    assert found(reports).rows == 2


def test_one_process_of_a_worker_has_its_turn_with_a_shadow(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    shadow = "floats/2", repository.manifest("floats", "2").artifact.sha256
    reports.begin_shadowing(WORKER, 2, *shadow)
    submit(steps, repository, "floats", b"1\n")
    runner.run(steps.leased())

    assert not runner.shadows.step()
    assert runner.shadows.is_pending

    reports.end_shadowing(WORKER, *shadow)
    assert runner.shadows.step()
    assert found(reports).rows == 1


def test_a_turn_that_could_not_be_ended_is_ended_as_soon_as_the_store_is_back(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailableError

    submit(steps, repository, "floats", b"1\n")
    runner.run(steps.leased())
    with monkeypatch.context() as outage:
        outage.setattr(ModelReports, "end_shadowing", away)
        runner.shadows.step()
        runner.shadows.step()
    assert steps.redis.exists("shadowing")

    follow(runner)

    assert not steps.redis.exists("shadowing")


def test_a_step_that_can_not_be_done_is_left_out_by_hand(
    runner: ChunkRunner, steps: JobSteps, repository: ModelRepository, reports: ModelReports
) -> None:
    submit(steps, repository, "floats", b"1\n2\n")
    runner.run(steps.leased())

    runner.shadows.leave_out()

    assert not runner.shadows.is_pending
    assert summary(found(reports)) == (0, 0, None, 2)


def test_each_process_is_ended_long_before_a_chunk_would_be(
    runner: ChunkRunner,
    steps: JobSteps,
    repository: ModelRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits: list[float] = []
    time_limit = shadowing.time_limit

    def noting(seconds: float) -> Any:
        limits.append(seconds)
        return time_limit(seconds)

    monkeypatch.setattr(shadowing, "time_limit", noting)
    submit(steps, repository, "floats", b"1\n")

    score(runner, steps)

    assert limits == [60, shadowing.MOST_SECONDS]
