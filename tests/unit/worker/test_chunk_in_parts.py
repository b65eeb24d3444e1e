"""A chunk that lost a process is scored in parts, each noted; only what is guilty is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.chunks import ChunkResult
from shared.job_store.leases import Lease, Outcome
from shared.jobs import JobStatus
from shared.suspicion import LossReason, Rows
from tests.job_steps import JobSteps
from tests.unit.worker.fussy_jobs import BODY, lose, submit, texts
from worker.chunk_runner import ChunkRunner, slice_of
from worker.records import ChunkRecords


def test_a_chunk_scored_in_parts_gives_what_it_gives_at_once(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    body = (b"".join(BODY) * 20,)
    at_once = submit(steps, models_dir, body)
    runner.run(steps.leased())
    in_parts = submit(steps, models_dir, body)
    lose(steps, rows=Rows(first=0, behind=120))
    lose(steps, rows=Rows(first=7, behind=15))

    runner.run(steps.leased())

    assert texts(steps, in_parts) == texts(steps, at_once)
    assert steps.counts(in_parts) == steps.counts(at_once)
    rejects = [list(steps.store.rejects(steps.store.get(job))) for job in (in_parts, at_once)]
    assert rejects[0] == rejects[1]


def test_a_row_found_guilty_is_not_scored_and_all_others_are(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    job_id = submit(steps, models_dir, (b"1\n2\n-3\n4\n",))
    lose(steps, rows=Rows(first=0, behind=4))
    lose(steps, rows=Rows(first=1, behind=2), times=2)

    runner.run(steps.leased())

    results, errors = texts(steps, job_id)
    assert results == b"1,10,\n2,,row_crashed_worker\n3,,prediction_failed\n4,40,\n"
    assert errors.startswith(b"2,3,,row_crashed_worker,")
    [rejects] = steps.store.rejects(steps.store.get(job_id))
    assert (rejects.rows, rejects.records) == ((2, 3), b"2\n-3\n")


def test_a_guilty_row_with_a_fault_of_its_own_keeps_that(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    job_id = submit(steps, models_dir, (b"1\nx\n",))
    lose(steps, rows=Rows(first=0, behind=2))
    lose(steps, rows=Rows(first=1, behind=2), times=2)

    runner.run(steps.leased())

    assert texts(steps, job_id)[0] == b"1,10,\n2,,not_a_number\n"


def test_what_an_earlier_attempt_has_done_is_not_done_again(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(steps, models_dir, (b"1\n2\n3\n",))
    lose(steps, rows=Rows(first=0, behind=3))
    parts = [Rows(first=n, behind=n + 1) for n in range(3)]
    interrupt_at(monkeypatch, runner, parts[2])
    with pytest.raises(KeyboardInterrupt):
        runner.run(steps.leased())
    monkeypatch.undo()
    steps.beat(alive=[])

    again = steps.leased()
    begun = record_parts(monkeypatch, runner)
    runner.run(again)

    assert set(again.parts_done) == {parts[0]}
    assert again.losses[-1].rows == parts[1]
    assert begun == parts[1:]
    assert texts(steps, job_id)[0] == b"1,10,\n2,20,\n3,30,\n"


def interrupt_at(monkeypatch: pytest.MonkeyPatch, runner: ChunkRunner, at: Rows) -> None:
    """End the process when it would begin with a part."""
    begin_part = runner.leases.begin_part

    def interrupted(lease: Lease, part: Rows, **fields: Any) -> Outcome | None:
        if part == at:
            raise KeyboardInterrupt
        return begin_part(lease, part, **fields)

    monkeypatch.setattr(runner.leases, "begin_part", interrupted)


def record_parts(
    monkeypatch: pytest.MonkeyPatch,
    runner: ChunkRunner,
    *,
    before_third: Callable[[], None] = lambda: None,
) -> list[Rows]:
    """The parts that are begun from now on."""
    begun: list[Rows] = []
    begin_part = runner.leases.begin_part

    def recording(lease: Lease, part: Rows, **fields: Any) -> Outcome | None:
        begun.append(part)
        if len(begun) == 3:
            before_third()
        return begin_part(lease, part, **fields)

    monkeypatch.setattr(runner.leases, "begin_part", recording)
    return begun


@pytest.mark.parametrize("end", ["cancel", "delete", "overdue"])
def test_an_attempt_stops_between_two_parts_when_it_has_no_right_any_more(
    runner: ChunkRunner,
    steps: JobSteps,
    models_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    job_id = submit(steps, models_dir, (b"1\n" * 16,))
    lose(steps, rows=Rows(first=0, behind=16))
    lease = steps.leased()

    def at_third_part() -> None:
        if end == "overdue":
            steps.overdue(lease)
            steps.sweep()
        else:
            getattr(steps.store, end)(job_id)

    begun = record_parts(monkeypatch, runner, before_third=at_third_part)

    runner.run(lease)

    assert begun == [Rows(first=n, behind=n + 1) for n in range(3)]
    assert steps.beat().running == 0


def test_a_chunk_lost_too_often_gives_up_the_rows_that_are_left(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    job_id = submit(steps, models_dir, (b"1\nx\n3\n",))
    lose(steps, rows=Rows(first=0, behind=3))
    lease = steps.leased()
    part = Rows(first=0, behind=1)
    steps.leases.begin_part(lease, part, seconds=1)
    result = scored(runner, lease, part)
    steps.leases.begin_part(lease, None, seconds=1, done=part, result=result)
    steps.leases.give_back(lease, reason=LossReason.DIED)
    lose(steps, rows=None, times=6)

    runner.run(steps.leased())

    results, errors = texts(steps, job_id)
    assert results == b"1,10,\n2,,not_a_number\n3,,attempts_exhausted\n"
    assert b"8 attempts" in errors
    assert steps.store.get(job_id).status is JobStatus.PARTIALLY_SUCCEEDED


def scored(runner: ChunkRunner, lease: Lease, part: Rows) -> ChunkResult:
    records = ChunkRecords(lease.input, lease.spec, rows=lease.plan.rows)
    predictor = runner.models.get("fussy", "1", sha256=lease.spec.model_sha256)
    return slice_of(lease, records, part, predictor).score()


def test_every_part_has_more_time_than_its_share(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(steps, models_dir, (b"1\n" * 160,))
    lose(steps, rows=Rows(first=0, behind=160))
    lease = steps.leased()
    seconds: dict[int, float] = {}
    begin_part = runner.leases.begin_part

    def recording(lease: Lease, part: Rows, **fields: Any) -> Outcome | None:
        seconds[len(part)] = fields["seconds"]
        return begin_part(lease, part, **fields)

    monkeypatch.setattr(runner.leases, "begin_part", recording)

    runner.run(lease)

    assert seconds == {10: pytest.approx(2 / 16 * 60)}


def test_a_model_whose_chunks_are_always_too_slow_is_measured_by_their_parts(
    runner: ChunkRunner, steps: JobSteps, models_dir: Path
) -> None:
    submit(steps, models_dir, (b"1\n" * 40,))
    lose(steps, rows=Rows(first=0, behind=40))
    assert steps.registry.speed("fussy/1") is None

    runner.run(steps.leased())

    assert steps.registry.speed("fussy/1")
