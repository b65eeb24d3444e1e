"""Which chunk is next: callers take turns, their jobs take turns, small jobs go first."""

from collections.abc import Callable

import pytest

from shared.errors import JobGoneError
from shared.job_store import keys
from shared.job_store.leases import Holder, Lease, Taken
from shared.job_store.store import JobStore
from shared.jobs import JobStatus, Lane
from tests.job_steps import WORKER, JobSteps, lease_field


def order(leases: list[Lease]) -> list[str]:
    return [lease.job_id for lease in leases]


def test_chunks_of_a_job_run_in_the_order_of_the_input(steps: JobSteps) -> None:
    steps.submit(chunks=4)

    assert [lease.plan.number for lease in steps.run_all()] == [0, 1, 2, 3]


def test_jobs_of_a_caller_take_turns(steps: JobSteps) -> None:
    first, second = steps.submit(chunks=3), steps.submit(chunks=2)

    assert order(steps.run_all()) == [first, second, first, second, first]


def test_callers_take_turns_however_many_jobs_one_has(steps: JobSteps) -> None:
    mine = [steps.submit(caller="me", chunks=2) for _ in range(3)]
    yours = steps.submit(caller="you", chunks=3)

    assert order(steps.run_all()) == [
        mine[0],
        yours,
        mine[1],
        yours,
        mine[2],
        yours,
        *mine,
    ]


def test_a_job_that_comes_late_waits_for_no_more_than_one_turn_of_each_caller(
    steps: JobSteps,
) -> None:
    for caller in "abc":
        steps.submit(caller=caller, chunks=50)
    for _ in range(10):
        steps.run()

    late = steps.submit(caller="late")

    assert late in order([steps.leased(process) for process in range(1, 5)])


def test_small_jobs_go_first(steps: JobSteps) -> None:
    steps.submit(lane=Lane.BULK, chunks=9)
    steps.leased(1)
    small = [steps.submit(lane=Lane.SMALL) for _ in range(2)]

    leases = [steps.leased(process) for process in (2, 3)]

    assert order(leases) == small


def test_bulk_work_goes_on_however_many_small_jobs_come(steps: JobSteps) -> None:
    steps.beat(processes=3, bulk=2)
    bulk = steps.submit(lane=Lane.BULK, chunks=9)
    for _ in range(9):
        steps.submit(lane=Lane.SMALL)

    leases = [steps.leased(process) for process in (1, 2, 3)]

    assert [lease.lane for lease in leases] == [Lane.SMALL, Lane.BULK, Lane.SMALL]
    assert leases[1].job_id == bulk


def test_a_process_takes_only_from_the_lanes_it_asks_for(steps: JobSteps) -> None:
    steps.submit(lane=Lane.BULK)

    assert steps.take(lanes=[Lane.SMALL]) is None
    assert steps.take(lanes=[]) is None
    assert steps.take(lanes=[Lane.BULK]) is not None


def test_a_job_whose_body_still_arrives_runs_as_far_as_it_is_there(steps: JobSteps) -> None:
    job_id = steps.create()
    assert steps.take() is None
    steps.append(job_id, 0)
    assert len(steps.run_all()) == 1

    steps.append(job_id, 1)
    steps.append(job_id, 2)

    assert len(steps.run_all()) == 2


# --- limits of a worker


def test_a_worker_keeps_a_process_for_small_jobs(steps: JobSteps) -> None:
    steps.beat(processes=3, bulk=2)
    steps.submit(chunks=9)
    bulk = [steps.leased(1), steps.leased(2)]
    assert steps.take(3) is None

    steps.submit(lane=Lane.SMALL)

    assert steps.leased(3).lane is Lane.SMALL
    steps.commit(bulk[0])
    assert steps.leased(1).lane is Lane.BULK


def test_small_jobs_may_take_all_processes(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=1)
    for _ in range(3):
        steps.submit(lane=Lane.SMALL)

    assert steps.take(1) is not None
    assert steps.take(2) is not None
    assert steps.take(3) is None


def test_a_worker_runs_no_more_chunks_than_it_has_processes(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=2)
    steps.submit(chunks=9)

    taken = [steps.take(process) for process in (1, 2, 3, 4)]

    assert [lease is not None for lease in taken] == [True, True, False, False]


def test_the_limits_are_those_of_each_worker_alone(steps: JobSteps) -> None:
    steps.submit(chunks=9)
    for worker in ("a", "b"):
        steps.beat(worker, processes=1, bulk=1)

    assert steps.take(1, worker="a") is not None
    assert steps.take(1, worker="b") is not None
    assert steps.take(2, worker="a") is None


def test_a_worker_that_is_stopping_gets_no_more_chunks(steps: JobSteps) -> None:
    steps.submit(chunks=9)
    held = steps.leased(1)

    steps.beat(processes=0, bulk=0)

    assert steps.take(2) is None
    assert steps.commit(held) == "committed"
    assert steps.take(1) is None


def test_a_worker_not_heard_of_gets_nothing(steps: JobSteps) -> None:
    steps.submit()

    assert steps.leases.take(Holder(worker="stranger", process=1), [Lane.BULK]) == Taken()
    assert not steps.redis.exists("leases:stranger")


# --- what is passed over


def test_an_ended_job_is_passed_over(steps: JobSteps) -> None:
    cancelled, deleted, left = (steps.submit(chunks=2) for _ in range(3))
    steps.store.cancel(cancelled)
    steps.store.delete(deleted)

    assert order(steps.run_all()) == [left, left]
    assert steps.store.get(cancelled).status is JobStatus.CANCELLED
    with pytest.raises(JobGoneError):
        steps.store.get(deleted)


def test_ended_jobs_of_a_caller_cost_them_no_turn(steps: JobSteps) -> None:
    gone = [steps.submit(caller="me") for _ in range(3)]
    mine, yours = steps.submit(caller="me", chunks=2), steps.submit(caller="you", chunks=2)
    for job_id in gone:
        steps.store.cancel(job_id)

    found = order(steps.run_all())

    assert sorted(found[:2]) == sorted(found[2:]) == sorted([mine, yours])


@pytest.mark.parametrize("end", [JobStore.cancel, JobStore.delete], ids=["cancelled", "deleted"])
def test_a_job_that_ends_before_its_chunk_was_read_is_passed_over(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch, end: Callable[[JobStore, str], None]
) -> None:
    ended, left = steps.submit(), steps.submit()
    read = steps.leases._input

    def read_late(job_id: str, chunk: int) -> bytes | None:
        if job_id == ended:
            end(steps.store, job_id)
        return read(job_id, chunk)

    monkeypatch.setattr(steps.leases, "_input", read_late)

    assert steps.leased().job_id == left
    assert steps.redis.hlen(keys.leases(WORKER)) == 1


@pytest.mark.parametrize("lane", Lane)
def test_a_chunk_without_an_input_is_not_tried_for_ever(steps: JobSteps, lane: Lane) -> None:
    """Somebody has taken it out of the server."""
    job_id, left = steps.submit(lane=lane), steps.submit(lane=Lane.BULK)
    steps.redis.delete(keys.input_of(job_id, 0))

    assert order(steps.run_all()) == [left]

    assert steps.store.get(job_id).error_code == "attempts_exhausted"


def test_an_expired_job_is_passed_over(steps: JobSteps) -> None:
    steps.expire(steps.submit())
    left = steps.submit()

    assert order(steps.run_all()) == [left]


def test_who_has_nothing_more_to_run_leaves_the_line(steps: JobSteps) -> None:
    steps.submit(chunks=2, caller="me")
    steps.submit(lane=Lane.SMALL, caller="you")

    steps.run_all()

    assert list(steps.redis.scan_iter("ready:*")) == []


# --- what comes again


def test_a_chunk_given_back_runs_before_those_that_never_ran(steps: JobSteps) -> None:
    steps.submit(chunks=3)
    steps.leases.give_back(steps.leased())

    run = [(lease.plan.number, lease.attempt) for lease in steps.run_all()]

    assert run == [(0, 2), (1, 1), (2, 1)]


def test_a_process_that_takes_again_gives_back_what_it_never_learnt_of(steps: JobSteps) -> None:
    """The answer to its first `take` was lost on the way."""
    job_id = steps.submit(chunks=2)
    lost = steps.leased(1)

    again = steps.leased(1)

    assert (again.plan.number, again.attempt) == (lost.plan.number, 2)
    assert again.token > lost.token
    assert steps.commit(lost) == "stale"
    assert steps.commit(again) == "committed"
    assert steps.store.get(job_id).attempts_lost == 0


def test_what_a_process_never_learnt_of_may_go_to_another_one(steps: JobSteps) -> None:
    steps.submit(lane=Lane.SMALL)
    first = steps.submit(lane=Lane.BULK)
    lost = [steps.leased(1), steps.leased(2)]
    assert lost[1].job_id == first

    taken = steps.leased(1), steps.leased(2)

    assert {lease_field(lease) for lease in taken} == {lease_field(lease) for lease in lost}
    assert steps.redis.hlen(f"leases:{WORKER}") == 2
