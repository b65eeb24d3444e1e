"""A chunk may run twice, late or in vain; what is committed is right and committed once."""

import logging
from pathlib import Path
from typing import Any

import pytest

from shared.jobs import JobStatus
from tests.job_steps import JobSteps
from tests.unit.worker.fussy_jobs import RESULTS, lose, submit, texts
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
    job_id = submit(steps, models_dir)
    caplog.set_level(logging.INFO)

    runner.run(steps.leased())

    [record] = [record for record in caplog.records if record.message == "chunk run"]
    fields = {"job_id": job_id, "chunk": 0, "attempt": 1, "rows": 2, "outcome": "committed"}
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


def test_the_speed_is_not_measured_by_an_attempt_that_was_refused(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    submit(steps, models_dir, (b"1\n" * 50,))
    late = steps.leased()
    steps.leases.give_back(late)

    runner.run(late)

    assert steps.registry.speed("fussy/1") is None
