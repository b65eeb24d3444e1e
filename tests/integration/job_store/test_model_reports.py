"""What is told of model versions comes and goes with its workers; what they were used for stays."""

import math

import pytest

from shared.errors import TooMuchQueuedError
from shared.job_store import keys
from shared.job_store.model_reports import (
    SHADOW_STRIKES,
    Comparison,
    Known,
    ModelReports,
    Usage,
    VersionReport,
)
from shared.jobs import JobErrorCode, JobTerms, Lane, new_job_id
from shared.signature import OutputKind
from tests.factories import make_body, make_intake, make_plan, make_spec
from tests.job_steps import WORKER, JobSteps, submit_whole

READY = VersionReport(sha256="a" * 64, is_tried=True, warning="Old.")
FAILED = VersionReport(sha256="b" * 64, is_tried=True, code="model_load_failed", detail="No.")
TRYING = VersionReport(sha256="c" * 64)
SHADOW = "echo/2", "d" * 64


@pytest.fixture
def reports(steps: JobSteps) -> ModelReports:
    return ModelReports(steps.redis)


# --- what workers tell


def test_what_a_worker_tells_is_read_as_it_was_told(reports: ModelReports) -> None:
    told = {"echo/1": READY, "echo/2": FAILED, "line/1": TRYING}

    reports.tell(WORKER, told, serving={"echo": "1", "line@champion": "1"})

    assert reports.told_by(WORKER) == told
    assert reports.known() == Known(
        reports={WORKER: told}, serving={"echo": "1", "line@champion": "1"}
    )


def test_a_worker_that_told_nothing_has_said_nothing(reports: ModelReports) -> None:
    assert reports.told_by("nobody") == {}
    assert reports.known() == Known()


def test_what_a_worker_said_before_is_replaced_but_not_what_served(reports: ModelReports) -> None:
    reports.tell(WORKER, {"echo/1": READY}, serving={"echo": "1", "line": "1"})

    reports.tell(WORKER, {"echo/2": TRYING}, serving={"echo": "2"})
    reports.tell(WORKER, {"echo/2": TRYING}, serving={})

    assert reports.told_by(WORKER) == {"echo/2": TRYING}
    assert reports.known().serving == {"echo": "2", "line": "1"}


def test_what_several_workers_tell_of_a_version_is_found_by_its_checksum(
    reports: ModelReports,
) -> None:
    for worker, report in (("a/1", READY), ("b/1", FAILED), ("c/1", TRYING)):
        reports.tell(worker, {"echo/1": report}, serving={})

    known = reports.known()

    assert len(known.reports_on("echo/1")) == 3
    assert known.reports_on("echo/1", FAILED.sha256) == [FAILED]
    assert known.reports_on("echo/2") == []


def test_what_is_told_by_a_worker_that_leaves_is_gone_with_it(
    reports: ModelReports, steps: JobSteps
) -> None:
    for worker in ("a/1", "b/1"):
        steps.beat(worker)
        reports.tell(worker, {"echo/1": READY}, serving={"echo": "1"})

    steps.registry.leave("a/1")

    assert reports.known() == Known(reports={"b/1": {"echo/1": READY}}, serving={"echo": "1"})


def test_what_is_told_by_a_worker_that_dies_is_gone_until_it_is_back(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.beat()
    steps.sweep()
    reports.tell(WORKER, {"echo/1": READY}, serving={})
    steps.sweep()
    assert reports.known().reports

    steps.silence()
    steps.sweep()
    assert reports.known().reports == {}

    steps.beat()
    reports.tell(WORKER, {"echo/1": READY}, serving={})
    steps.sweep()
    assert reports.known().reports == {WORKER: {"echo/1": READY}}


def test_what_a_worker_tells_after_it_left_is_swept_away(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.beat()
    steps.registry.leave(WORKER)
    reports.tell(WORKER, {"echo/1": READY}, serving={})

    steps.sweep()

    assert reports.known().reports == {}


def test_versions_that_turned_out_useless_are_counted(
    reports: ModelReports, steps: JobSteps
) -> None:
    reports.count_failures(2)
    reports.count_failures(1)

    assert steps.registry.counters()["models_failed"] == 3


# --- usage


def used(reports: ModelReports) -> dict[str, tuple[int, int, int]]:
    return {v: (u.jobs, u.succeeded, u.failed) for v, u in reports.usage().items()}


def test_jobs_and_rows_are_counted_for_their_version(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.submit(chunks=2)
    for failed in (2, 0):
        steps.run(failed=failed)
    steps.submit_small(model_version="2", rows=4)
    steps.run(failed=4)
    steps.submit(model_version="2")

    assert used(reports) == {"echo/1": (1, 18, 2), "echo/2": (2, 0, 4)}


def test_a_chunk_that_is_committed_twice_is_counted_once(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.submit(chunks=2)
    lease = steps.leased()
    for _ in range(2):
        steps.commit(lease, failed=1)

    assert used(reports) == {"echo/1": (1, 9, 1)}


def test_chunks_that_were_committed_in_vain_are_not_counted(
    reports: ModelReports, steps: JobSteps
) -> None:
    job_id = steps.submit(chunks=2)
    stale = steps.leased()
    steps.leases.give_back(stale)
    steps.commit(stale)
    ended = steps.leased(2)
    steps.store.cancel(job_id)
    steps.commit(ended)

    assert used(reports) == {"echo/1": (1, 0, 0)}


def test_several_chunks_of_one_commit_are_counted_each(
    reports: ModelReports, steps: JobSteps
) -> None:
    for _ in range(3):
        steps.submit_small(rows=5)
    leases = steps.take_together().leases

    for _ in range(2):
        steps.commit_all(leases)

    assert used(reports) == {"echo/1": (3, 15, 0)}


def test_a_job_that_is_submitted_again_after_a_lost_answer_is_counted_once(
    reports: ModelReports, steps: JobSteps
) -> None:
    job_id, body = new_job_id(), make_body(make_plan(rows=10))
    for _ in range(3):
        submit_whole(steps.intake, job_id, make_spec(), JobTerms(lane=Lane.SMALL), body)

    assert used(reports) == {"echo/1": (1, 0, 0)}


@pytest.mark.parametrize("is_small", [True, False])
def test_an_idempotent_replay_is_no_other_job(
    reports: ModelReports, steps: JobSteps, *, is_small: bool
) -> None:
    terms = JobTerms(idempotency_key="k", request="r")
    for _ in range(2):
        if is_small:
            submit_whole(steps.intake, new_job_id(), make_spec(), terms, make_body())
        else:
            steps.intake.create(new_job_id(), make_spec(), terms)

    assert used(reports) == {"echo/1": (1, 0, 0)}


def test_a_job_that_is_refused_for_want_of_room_is_not_counted(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.submit_small(rows=5)
    intake, body = make_intake(steps.redis, max_waiting_rows=6), make_body()

    with pytest.raises(TooMuchQueuedError):
        submit_whole(intake, new_job_id(), make_spec(), JobTerms(), body)

    assert used(reports) == {"echo/1": (1, 0, 0)}


def test_a_retry_is_a_job_of_the_version_that_does_it(
    reports: ModelReports, steps: JobSteps
) -> None:
    first = steps.submit()
    steps.run(failed=4)
    steps.submit_small(rows=4, model_version="2", retry_of=first)
    steps.run(failed=1)

    assert used(reports) == {"echo/1": (1, 6, 4), "echo/2": (1, 3, 1)}


def test_contributions_are_counted_for_their_version_but_have_a_speed_of_their_own(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.submit()
    steps.submit(output=OutputKind.CONTRIBUTIONS)
    for _ in range(2):
        steps.run()
    steps.registry.record_speed("echo/1", 100.0)
    steps.registry.record_speed("echo/1/contributions", 1.0)

    assert reports.usage() == {
        "echo/1": Usage(jobs=2, succeeded=20, failed=0, rows_per_second=100.0)
    }


def test_validations_are_no_use_of_a_version(reports: ModelReports, steps: JobSteps) -> None:
    steps.submit(validate_only=True)
    steps.submit_small(validate_only=True)
    for failed in (1, 0):
        steps.run(failed=failed)
    steps.registry.record_speed("echo/1/validate_only", 1000.0)

    assert reports.usage() == {}


def test_what_a_version_was_used_for_outlasts_its_jobs(
    reports: ModelReports, steps: JobSteps
) -> None:
    job_id = steps.submit()
    steps.run()

    steps.store.delete(job_id)
    steps.store.fail(steps.create(), JobErrorCode.UPLOAD_INCOMPLETE, "Gone.")

    assert used(reports) == {"echo/1": (2, 10, 0)}


def test_a_version_with_a_speed_and_no_job_was_used_for_nothing(
    reports: ModelReports, steps: JobSteps
) -> None:
    steps.registry.record_speed("echo/1", 100.0)

    assert reports.usage() == {"echo/1": Usage(rows_per_second=100.0)}


# --- comparisons


def compare(**changes: object) -> Comparison:
    defaults = {"version_id": "echo/1", "shadow_version_id": "echo/2", "output": "predict"}
    return Comparison(**defaults | changes)  # type: ignore[arg-type]


def test_comparisons_add_up_as_if_all_rows_had_been_compared_at_once(
    reports: ModelReports,
) -> None:
    for part in (
        compare(rows=10, agreed=4, difference=1.0),
        compare(rows=30, agreed=30, difference=0.0, skipped=2),
        compare(skipped=5),
        compare(rows=10, agreed=0, difference=4.0),
    ):
        reports.count_comparison(part)

    assert reports.comparisons() == [compare(rows=50, agreed=34, difference=1.0, skipped=7)]


def test_each_pair_of_versions_and_output_is_compared_on_its_own(reports: ModelReports) -> None:
    different = [
        compare(rows=1),
        compare(rows=2, output="predict_proba", difference=0.5),
        compare(rows=3, shadow_version_id="echo/3"),
        compare(rows=4, version_id="line/1", shadow_version_id="line/2"),
    ]
    for part in different:
        reports.count_comparison(part)

    assert sorted(reports.comparisons(), key=lambda c: c.rows) == different


def test_rows_that_were_all_passed_over_have_no_difference(reports: ModelReports) -> None:
    reports.count_comparison(compare(skipped=3))

    assert reports.comparisons() == [compare(skipped=3)]


@pytest.mark.parametrize("difference", [math.inf, math.nan, 1e308])
def test_a_difference_without_bounds_costs_no_comparison(
    reports: ModelReports, difference: float
) -> None:
    reports.count_comparison(compare(rows=10, agreed=1, difference=difference))
    reports.count_comparison(compare(rows=10, agreed=1, difference=2.0))

    [found] = reports.comparisons()
    assert (found.rows, found.agreed, found.difference) == (20, 2, 1.0)


# --- shadows that cost processes


def losses(reports: ModelReports) -> int | None:
    return reports.begin_shadowing("other/1", 1, *SHADOW)


def test_a_process_that_dies_over_a_shadow_is_held_against_it(
    reports: ModelReports, steps: JobSteps
) -> None:
    for _ in range(SHADOW_STRIKES):
        assert not reports.known().is_given_up(*SHADOW)
        reports.begin_shadowing(WORKER, 1, *SHADOW)
        steps.beat(alive=[2, 3])
        steps.beat(alive=[2, 3])

    assert losses(reports) == SHADOW_STRIKES
    assert reports.known().is_given_up(*SHADOW)
    assert not reports.known().is_given_up("echo/2", "0" * 64)
    assert not reports.known().is_given_up("echo/3", SHADOW[1])


def test_no_process_follows_one_that_died_before_that_is_held_against_the_shadow(
    reports: ModelReports, steps: JobSteps
) -> None:
    assert reports.begin_shadowing(WORKER, 1, *SHADOW) == 0
    assert reports.begin_shadowing(WORKER, 2, *SHADOW) is None
    assert reports.begin_shadowing(WORKER, 2, "echo/3", SHADOW[1]) == 0
    assert reports.begin_shadowing("other/1", 2, *SHADOW) == 0

    steps.beat(alive=[2])

    assert reports.begin_shadowing(WORKER, 2, *SHADOW) == 1


def test_a_process_that_dies_after_its_shadow_is_done_is_not_held_against_it(
    reports: ModelReports, steps: JobSteps
) -> None:
    reports.begin_shadowing(WORKER, 1, *SHADOW)
    reports.end_shadowing(WORKER, *SHADOW)

    steps.beat(alive=[2])

    assert losses(reports) == 0


def test_a_process_that_lives_may_go_on_with_its_shadow(
    reports: ModelReports, steps: JobSteps
) -> None:
    reports.begin_shadowing(WORKER, 1, *SHADOW)

    steps.beat(alive=[1])
    steps.beat("other/2", alive=[])

    assert losses(reports) == 0
    assert reports.begin_shadowing(WORKER, 2, *SHADOW) is None
    assert reports.begin_shadowing(WORKER, 1, *SHADOW) == 0


@pytest.mark.parametrize("end", ["leaves", "vanishes"])
def test_a_worker_that_is_gone_is_not_held_against_what_it_scored_as_a_shadow(
    reports: ModelReports, steps: JobSteps, end: str
) -> None:
    steps.beat()
    steps.sweep()
    reports.begin_shadowing(WORKER, 1, *SHADOW)

    if end == "leaves":
        steps.registry.leave(WORKER)
    else:
        steps.silence()
        steps.sweep()

    assert not steps.redis.exists(keys.SHADOWING)
    assert losses(reports) == 0


def test_a_shadow_that_costs_a_process_costs_no_attempt(
    reports: ModelReports, steps: JobSteps
) -> None:
    job_id = steps.submit()
    steps.leased(2)
    reports.begin_shadowing(WORKER, 1, *SHADOW)

    pulse = steps.beat(alive=[2])

    assert pulse.given_back == ()
    assert steps.store.get(job_id).attempts_lost == 0
