"""A chunk may run twice, late or in vain; what is committed is right and committed once."""

import logging
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StoreUnavailableError
from shared.job_store.leases import Outcome
from shared.jobs import JobStatus, Lane
from tests.job_steps import JobSteps
from tests.unit.worker.fussy_jobs import RESULTS, lose, submit, texts
from worker import chunk_runner, outage
from worker.chunk_runner import MIN_MEASURED_ROWS, ChunkRunner


def test_the_chunks_of_a_job_give_its_results_and_row_errors(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    job_id = submit(steps, models_dir)
    leases = [steps.leased(process) for process in (1, 2, 3)]

    for lease in (leases[2], leases[0], leases[1]):
        runner.run(lease)

    job = steps.store.get(job_id)
    results, errors = texts(steps, job_id)
    assert (job.status, job.succeeded, job.failed) == (JobStatus.PARTIALLY_SUCCEEDED, 3, 3)
    assert results == RESULTS
    assert [line.split(b",")[:2] for line in errors.splitlines()] == [
        [b"3", b"4"],
        [b"4", b"5"],
        [b"5", b"6"],
    ]
    rejects = list(steps.store.rejects(job))
    assert [(r.rows, r.lines, r.records) for r in rejects] == [
        ((3, 4), (4, 5), b"-3\nx\n"),
        ((5,), (6,), b"inf\n"),
    ]


def test_a_chunk_run_twice_changes_nothing(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    submit(steps, models_dir)
    lease = steps.leased()
    runner.run(lease)
    before = steps.everything()

    runner.run(lease)

    assert steps.everything() == before


def test_a_late_attempt_changes_no_result(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    job_id = submit(steps, models_dir)
    late = steps.leased(1)
    steps.overdue(late)
    steps.sweep()
    runner.run(steps.leased(2))
    before = texts(steps, job_id), steps.counts(job_id)

    runner.run(late)

    assert (texts(steps, job_id), steps.counts(job_id)) == before
    assert steps.registry.counters()["commits_refused"] == 1


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_job_that_has_ended_meanwhile_gets_nothing(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, end: str
) -> None:
    job_id = submit(steps, models_dir)
    lease = steps.leased()
    getattr(steps.store, end)(job_id)
    before = steps.everything()
    before.pop(b"leases:host/1")

    runner.run(lease)

    assert steps.everything() == before


def test_an_attempt_says_in_the_log_what_became_of_it(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    submit(steps, models_dir)
    caplog.set_level(logging.INFO)

    runner.run(steps.leased())

    [record] = [record for record in caplog.records if record.message == "chunk run"]
    fields = {"rows": 2, "outcome": "committed"}
    assert fields.items() <= vars(record).items()


@pytest.mark.parametrize("changes", [{"model_version": "99"}, {"model_sha256": "1" * 64}])
@pytest.mark.parametrize("is_second_attempt", [False, True])
def test_a_model_that_can_not_be_had_fails_the_job_and_says_so(
    runner: ChunkRunner,
    steps: JobSteps,
    models_dir: Path,
    changes: dict[str, Any],
    *,
    is_second_attempt: bool,
) -> None:
    job_id = submit(steps, models_dir, **changes)
    if is_second_attempt:
        lose(steps, rows=None)

    runner.run(steps.leased())

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "model_load_failed")
    assert "fussy/" in str(job.error_detail)
    assert steps.beat().running == 0


@pytest.mark.parametrize("rows", [2, MIN_MEASURED_ROWS - 1, MIN_MEASURED_ROWS])
def test_the_speed_of_a_model_is_measured_by_chunks_that_are_large_enough(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, rows: int
) -> None:
    submit(steps, models_dir, (b"1\n" * rows + b"x\n" * 5,))

    runner.run(steps.leased())

    assert (steps.registry.speed("fussy/1") is not None) == (rows >= MIN_MEASURED_ROWS)


def test_the_first_small_job_in_a_process_says_little_of_the_speed_of_a_model(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_runner, "ASSUMED_SPEED", 0.0)
    submit(steps, models_dir, (b"1\n" * 50,), Lane.SMALL)

    runner.run(steps.leased())

    assert steps.registry.speed("fussy/1") is None


def test_chunks_become_no_smaller_by_what_calling_a_model_costs(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_runner, "ASSUMED_SPEED", 1e9)
    monkeypatch.setattr(chunk_runner, "MIN_MEASURED_SECONDS", 60.0)
    submit(steps, models_dir, (b"1\n" * 50,) * 2, Lane.SMALL)

    runner.run(steps.leased())
    runner.run(steps.leased())

    assert steps.registry.speed("fussy/1") is None


def test_the_speed_is_not_measured_by_an_attempt_that_was_refused(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    submit(steps, models_dir, (b"1\n" * 50,))
    late = steps.leased()
    steps.leases.give_back(late)

    runner.run(late)

    assert steps.registry.speed("fussy/1") is None


# --- several at once


def submit_small(steps: JobSteps, models_dir: Path, *bodies: bytes, **changes: Any) -> list[str]:
    """Small jobs for the model `fussy`."""
    return [submit(steps, models_dir, (body,), Lane.SMALL, **changes) for body in bodies]


def test_jobs_run_together_get_their_own_results(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    jobs = submit_small(steps, models_dir, b"1\n2\n", b"-3\nx\n", b"inf\n4\n")

    runner.run_together(steps.take_together().leases)

    ended = [steps.store.get(job_id) for job_id in jobs]
    assert [job.status for job in ended] == ["succeeded", "failed", "partially_succeeded"]
    assert [texts(steps, job_id)[0] for job_id in jobs] == [
        b"1,10,\n2,20,\n",
        b"1,,prediction_failed\n2,,not_a_number\n",
        b"1,,not_finite\n2,40,\n",
    ]
    assert [error.split(b",")[1] for error in texts(steps, jobs[1])[1].splitlines()] == [b"2", b"3"]
    [record] = [record for record in caplog.records if record.message == "chunks run together"]
    fields = {"rows": 6, "committed": 3, "failed": 3}
    assert fields.items() <= vars(record).items()


def test_a_job_that_ends_meanwhile_costs_the_others_nothing(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    jobs = submit_small(steps, models_dir, b"1\n", b"2\n", b"3\n")
    leases = steps.take_together().leases
    steps.store.cancel(jobs[1])

    runner.run_together(leases)

    assert [steps.store.get(job_id).status for job_id in jobs] == [
        "succeeded",
        "cancelled",
        "succeeded",
    ]
    assert steps.beat().running == 0


@pytest.mark.parametrize("changes", [{"model_version": "99"}, {"model_sha256": "1" * 64}])
def test_a_model_that_can_not_be_had_fails_all_that_want_it(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, changes: dict[str, Any]
) -> None:
    jobs = submit_small(steps, models_dir, b"1\n", b"2\n", **changes)

    runner.run_together(steps.take_together().leases)

    ended = [steps.store.get(job_id) for job_id in jobs]
    assert {job.error_code for job in ended} == {"model_load_failed"}
    assert {job.attempts_lost for job in ended} == {0}
    assert steps.beat().running == 0


def test_results_of_several_are_committed_however_long_the_store_is_away(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "RETRY_DELAYS_SECONDS", (0,))
    jobs = submit_small(steps, models_dir, b"1\n", b"2\n")
    leases = steps.take_together().leases
    commit_all, lost = steps.leases.commit_all, []

    def forgetful(*args: Any) -> list[Outcome]:
        outcomes = commit_all(*args)
        if len(lost) < 3:
            lost.append(outcomes)
            raise StoreUnavailableError
        return outcomes

    monkeypatch.setattr(steps.leases, "commit_all", forgetful)

    runner.run_together(leases)

    assert {steps.store.get(job_id).status for job_id in jobs} == {"succeeded"}
    assert [texts(steps, job_id)[0] for job_id in jobs] == [b"1,10,\n", b"1,20,\n"]


def test_the_speed_is_measured_over_all_that_were_run_together(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_runner, "ASSUMED_SPEED", 0.0)
    for _ in range(2):
        submit_small(steps, models_dir, *[b"1\n" * (MIN_MEASURED_ROWS // 2)] * 2)
        runner.run_together(steps.take_together().leases)

    assert steps.registry.speed("fussy/1") is not None
