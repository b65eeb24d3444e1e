"""Workers are counted on as long as they are heard of, and models are as fast as measured."""

import pytest

from shared.job_store import keys, workers
from shared.job_store.workers import Pulse, WorkerRegistry
from shared.jobs import Lane
from tests.factories import make_capacity
from tests.job_steps import JobSteps, lease_field, live_processes


def beat(
    registry: WorkerRegistry, worker: str, *, processes: int = 2, alive: tuple[int, ...] = (1, 2)
) -> Pulse:
    return registry.beat(worker, make_capacity(processes, max(0, processes - 1)), alive=alive)


# --- who lives


def test_live_workers_are_counted_by_their_processes(registry: WorkerRegistry) -> None:
    assert live_processes(registry) == 0

    beat(registry, "a", processes=2)
    beat(registry, "b", processes=3)
    beat(registry, "a", processes=4)

    assert live_processes(registry) == 7


def test_a_worker_not_heard_of_is_dead_until_it_beats_again(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    beat(registry, "a", processes=2)
    beat(registry, "b", processes=1)
    steps.silence("a")
    assert (live_processes(registry), registry.is_live("a")) == (1, False)

    beat(registry, "a", processes=2)

    assert (live_processes(registry), registry.is_live("a")) == (3, True)


def test_a_worker_lives_by_its_setting_of_silence(steps: JobSteps) -> None:
    patient = WorkerRegistry(steps.redis, dead_after_seconds=100, max_job_losses=1)
    beat(patient, "a")
    steps.silence("a", seconds=50)

    assert patient.is_live("a")
    assert not steps.registry.is_live("a")
    steps.redis.delete(keys.SWEEP)
    assert patient.sweep() == []


def test_a_worker_that_leaves_is_not_counted_on(registry: WorkerRegistry) -> None:
    beat(registry, "a")

    assert registry.leave("a") == []

    assert (live_processes(registry), registry.is_live("a")) == (0, False)


def test_leaving_twice_or_without_having_come_is_no_trouble(registry: WorkerRegistry) -> None:
    assert registry.leave("a") == registry.leave("a") == []


def test_a_worker_is_known_by_the_machine_it_runs_on(registry: WorkerRegistry) -> None:
    beat(registry, "one/1f")

    assert registry.is_live("one")
    assert not registry.is_live("on")
    assert not registry.is_live("two")


def test_a_machine_lives_as_long_as_one_of_its_workers(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    """A worker that was killed and its successor are told apart."""
    beat(registry, "one/killed")
    steps.silence("one/killed")
    beat(registry, "one/successor")

    assert registry.is_live("one")


# --- what a heartbeat tells


def test_a_worker_learns_whether_it_could_run_something(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    assert not beat(registry, "a").could_run

    steps.submit()

    assert beat(registry, "a").could_run
    assert not beat(registry, "a", processes=0).could_run


def test_bulk_work_is_not_for_the_process_that_is_kept_for_small_jobs(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    beat(registry, "a", processes=2)
    steps.submit(chunks=2)
    steps.leased(1, worker="a")
    assert not beat(registry, "a", processes=2).could_run

    steps.submit(lane=Lane.SMALL)

    assert beat(registry, "a", processes=2).could_run


def test_a_worker_learns_how_much_it_runs(registry: WorkerRegistry, steps: JobSteps) -> None:
    beat(registry, "a", processes=3)
    steps.submit(chunks=3)
    leases = [steps.leased(process, worker="a") for process in (1, 2)]
    assert beat(registry, "a", processes=3).running == 2

    steps.commit(leases[0])

    assert beat(registry, "a", processes=3).running == 1
    assert beat(registry, "b").running == 0


def test_a_worker_learns_what_its_dead_processes_ran(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    beat(registry, "a", processes=4)
    steps.submit(chunks=3)
    leases = [steps.leased(process, worker="a") for process in (1, 2, 3)]

    pulse = beat(registry, "a", processes=4, alive=(2, 9))

    assert set(pulse.given_back) == {lease_field(lease) for lease in (leases[0], leases[2])}
    assert pulse.could_run
    assert beat(registry, "a", processes=4, alive=(2, 9)).given_back == ()


def test_a_worker_that_leaves_tells_what_others_may_run_now(
    registry: WorkerRegistry, steps: JobSteps
) -> None:
    beat(registry, "a", processes=3)
    steps.submit(chunks=2)
    ended = steps.submit()
    leases = [steps.leased(process, worker="a") for process in (1, 2)]
    steps.store.cancel(ended)

    given_back = registry.leave("a")

    assert given_back == [lease_field(lease) for lease in leases if lease.job_id != ended]
    assert not steps.redis.exists(keys.leases("a"))


def test_what_happened_is_counted(registry: WorkerRegistry, steps: JobSteps) -> None:
    assert registry.counters() == {}
    steps.submit()
    late = steps.leased(1)
    steps.beat(alive=[])
    steps.commit(late)
    steps.commit(late)

    assert registry.counters() == {"attempts_died": 1, "commits_refused": 2}


# --- speeds


def test_the_speed_of_a_model_is_smoothed(registry: WorkerRegistry) -> None:
    assert registry.speed("m/1") is None

    registry.record_speed("m/1", 1000.0)
    registry.record_speed("m/1", 2000.0)
    registry.record_speed("m/2", 5.0)

    assert (registry.speed("m/1"), registry.speed("m/2")) == (1300.0, 5.0)


def test_a_lasting_change_of_speed_is_followed(registry: WorkerRegistry) -> None:
    registry.record_speed("m/1", 1000.0)

    for _ in range(12):
        registry.record_speed("m/1", 100.0)

    assert registry.speed("m/1") == pytest.approx(100, rel=0.2)


def test_one_odd_measurement_does_not_carry_the_speed_away(registry: WorkerRegistry) -> None:
    registry.record_speed("m/1", 100.0)

    registry.record_speed("m/1", 1e9)

    assert registry.speed("m/1") <= 100 * workers.MAX_SPEED_UP


def test_speeds_are_kept_for_a_month(registry: WorkerRegistry, steps: JobSteps) -> None:
    registry.record_speed("m/1", 100.0)

    assert steps.redis.ttl(keys.SPEEDS) == pytest.approx(30 * 24 * 3600, abs=2)
