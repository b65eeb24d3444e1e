"""The watch over a worker: what it says of itself, whom it wakes, and when it gives up."""

from typing import Any

import pytest

from shared.errors import StoreUnavailableError
from shared.jobs import Lane
from shared.suspicion import LossReason
from tests.job_steps import JobSteps, lease_field, live_processes
from tests.unit.worker.supervision import (
    QUEUE,
    STOP_SECONDS,
    FakeClock,
    RecordingDispatcher,
    make_supervisor,
)
from worker.supervisor import (
    DEAF_AFTER_ROUNDS,
    IDLE_STOP_SECONDS,
    STUCK_AFTER_ROUNDS,
    Supervisor,
)


def watch(supervisor: Supervisor, *alive: int) -> None:
    """A round in which all live processes are ready; three of them by default."""
    found = list(alive or (1, 2, 3))
    supervisor.watch(found, ready=len(found))


# --- the heartbeat


def test_a_round_says_that_the_worker_lives(supervisor: Supervisor, steps: JobSteps) -> None:
    watch(supervisor)

    assert live_processes(steps.registry) == 3


def test_one_process_is_kept_for_small_jobs(supervisor: Supervisor, steps: JobSteps) -> None:
    steps.submit(chunks=9)
    watch(supervisor)

    taken = [steps.take(process) for process in (1, 2, 3)]

    assert [lease is not None for lease in taken] == [True, True, False]


def test_processes_that_are_not_ready_are_not_counted_on(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    supervisor.watch([1, 2, 3], ready=1)

    assert live_processes(steps.registry) == 1


def test_what_a_dead_process_ran_is_given_back(supervisor: Supervisor, steps: JobSteps) -> None:
    steps.submit(chunks=2)
    watch(supervisor)
    dead, live = steps.leased(1), steps.leased(2)

    watch(supervisor, 2, 3)

    assert [steps.commit(lease) for lease in (dead, live)] == ["stale", "committed"]
    assert [loss.reason for loss in steps.leased(3).losses] == [LossReason.DIED]


def test_a_round_takes_part_in_the_sweep(supervisor: Supervisor, steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.leased(worker="dead")
    steps.silence("dead")

    watch(supervisor)

    assert not steps.registry.is_live("dead")
    assert steps.leased(1).job_id == job_id


# --- waking


def test_a_worker_is_woken_by_its_own_queue_when_something_waits(
    supervisor: Supervisor, steps: JobSteps, dispatcher: RecordingDispatcher
) -> None:
    watch(supervisor)
    assert dispatcher.woken == []
    steps.submit()

    watch(supervisor)

    assert set(dispatcher.woken) == {QUEUE}
    assert len(dispatcher.woken) == 2  # one for each process that may run bulk


def test_a_worker_with_no_process_to_spare_is_not_woken(
    supervisor: Supervisor, steps: JobSteps, dispatcher: RecordingDispatcher
) -> None:
    steps.submit(chunks=9)
    steps.beat(processes=3, bulk=2)
    for process in (1, 2):
        steps.leased(process)

    watch(supervisor)

    assert dispatcher.woken == []


# --- deafness


def test_a_worker_that_is_woken_for_long_and_hears_nothing_is_deaf(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit()
    watch_rounds(supervisor, DEAF_AFTER_ROUNDS)
    assert not supervisor.is_deaf

    watch_rounds(supervisor, 2)

    assert supervisor.is_deaf


def watch_rounds(supervisor: Supervisor, rounds: int) -> None:
    for _ in range(rounds):
        watch(supervisor)


def test_a_worker_is_not_deaf_for_the_time_in_which_it_was_frozen(
    supervisor: Supervisor, steps: JobSteps, clock: FakeClock
) -> None:
    """It woke itself and was stopped before it could hear that."""
    steps.submit()
    watch(supervisor)
    clock.now += 1000

    watch(supervisor)

    assert not supervisor.is_deaf


def test_a_worker_that_hears_is_not_deaf(supervisor: Supervisor, steps: JobSteps) -> None:
    steps.submit()

    for _ in range(5):
        watch_rounds(supervisor, 10)
        supervisor.hear()

    assert not supervisor.is_deaf


def test_a_worker_that_hears_but_runs_nothing_is_stuck(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit()
    for _ in range(STUCK_AFTER_ROUNDS):
        watch(supervisor)
        supervisor.hear()
    assert not supervisor.is_stuck

    watch(supervisor)

    assert supervisor.is_stuck
    assert not supervisor.is_deaf


def test_a_worker_that_runs_something_now_and_then_is_not_stuck(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit(chunks=9)
    for _ in range(3):
        watch_rounds(supervisor, STUCK_AFTER_ROUNDS - 1)
        lease = steps.leased(1)
        watch(supervisor)
        steps.commit(lease)

    assert not supervisor.is_stuck


def test_a_worker_with_nothing_to_do_is_not_deaf(supervisor: Supervisor) -> None:
    watch_rounds(supervisor, 100)

    assert not supervisor.is_deaf
    assert not supervisor.is_stuck


def test_a_worker_whose_processes_became_busy_is_not_deaf(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit(chunks=9)
    watch_rounds(supervisor, 10)
    for process in (1, 2):
        steps.leased(process)

    watch_rounds(supervisor, 10)

    assert not supervisor.is_deaf


@pytest.mark.parametrize("away", ["store", "broker"])
def test_a_worker_is_not_deaf_for_what_nobody_could_send(
    steps: JobSteps,
    clock: FakeClock,
    dispatcher: RecordingDispatcher,
    monkeypatch: pytest.MonkeyPatch,
    away: str,
) -> None:
    """The store goes away just after the worker was woken."""
    supervisor = make_supervisor(steps.registry, clock, dispatcher)
    steps.submit()
    watch(supervisor)
    if away == "store":
        monkeypatch.setattr(steps.registry, "beat", store_is_away)
    dispatcher.is_away = away == "broker"

    for _ in range(60):
        with pytest.raises(StoreUnavailableError):
            watch(supervisor)
        assert not supervisor.is_deaf
    monkeypatch.undo()
    dispatcher.is_away = False
    watch(supervisor)

    assert not supervisor.is_deaf


def store_is_away(*_: Any, **__: Any) -> Any:
    raise StoreUnavailableError


# --- stopping


def test_a_stopping_worker_takes_no_new_chunks_and_finishes_those_it_has(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit(chunks=9)
    watch(supervisor)
    held = steps.leased(1)

    supervisor.stop()
    watch(supervisor)

    assert steps.take(2) is None
    assert live_processes(steps.registry) == 0
    assert steps.commit(held) == "committed"


def test_a_stopping_worker_is_not_woken(
    supervisor: Supervisor, steps: JobSteps, dispatcher: RecordingDispatcher
) -> None:
    supervisor.stop()
    steps.submit()

    watch(supervisor)

    assert dispatcher.woken == []


def test_a_worker_has_so_long_to_stop(supervisor: Supervisor, clock: FakeClock) -> None:
    clock.now += 1000
    assert not supervisor.is_overdue

    supervisor.stop()

    clock.now += STOP_SECONDS
    assert not supervisor.is_overdue
    clock.now += 0.1
    assert supervisor.is_overdue


def test_a_worker_that_runs_nothing_has_less_time_to_stop(
    supervisor: Supervisor, steps: JobSteps, clock: FakeClock
) -> None:
    """Celery would wait for a task that it has received and no process will begin."""
    steps.submit()
    watch(supervisor)
    lease = steps.leased(1)
    supervisor.stop()
    watch(supervisor)
    clock.now += IDLE_STOP_SECONDS + 0.1
    assert not supervisor.is_overdue

    steps.commit(lease)
    watch(supervisor)

    assert supervisor.is_overdue


def test_a_worker_that_leaves_gives_back_what_it_still_runs(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit(chunks=2)
    watch(supervisor)
    late = steps.leased(1)

    supervisor.leave()

    assert not steps.registry.is_live("host")
    assert steps.commit(late) == "stale"
    again = steps.leased(1, worker="other")
    assert (lease_field(again), again.losses) == (lease_field(late), ())


def test_while_a_process_starts_anew_it_is_bulk_that_does_without(
    supervisor: Supervisor, steps: JobSteps
) -> None:
    steps.submit(chunks=9)
    supervisor.watch([1, 2, 3], ready=2)

    assert steps.leased(1).lane is Lane.BULK
    assert steps.take(2) is None
    steps.submit(lane=Lane.SMALL)
    assert steps.leased(2).lane is Lane.SMALL
