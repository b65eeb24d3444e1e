"""An attempt that has lost its lease changes nothing any more, and its chunk runs again."""

from collections.abc import Callable

import pytest
from redis import Redis

from shared.job_store import keys
from shared.job_store.leases import Lease, Leases, Outcome
from shared.jobs import JobStatus
from shared.suspicion import LossReason, LostAttempt, Rows
from tests.factories import MAX_JOB_LOSSES, make_result
from tests.job_steps import WORKER, JobSteps, lease_field

LOSES: dict[str, Callable[[JobSteps, Lease], object]] = {
    "given back": lambda steps, lease: steps.leases.give_back(lease),
    "crashed": lambda steps, lease: steps.leases.give_back(lease, reason=LossReason.DIED),
    "process died": lambda steps, _: steps.beat(alive=[2, 3]),
    "worker dead": lambda steps, _: (steps.silence(), steps.sweep(), steps.beat()),
    "overdue": lambda steps, lease: (steps.overdue(lease), steps.sweep()),
    "worker left": lambda steps, _: (steps.registry.leave(WORKER), steps.beat()),
    "taken again": lambda steps, _: steps.take(1),
}
"""Ways in which the lease of process 1 is taken from it; the worker lives on."""


@pytest.mark.parametrize("loses", LOSES)
def test_a_late_commit_is_refused_and_counted_and_changes_nothing(
    steps: JobSteps, loses: str
) -> None:
    steps.submit(chunks=2)
    late = steps.leased(1)
    LOSES[loses](steps, late)
    before = steps.everything()

    assert steps.commit(late, failed=10) is Outcome.STALE

    after = steps.everything()
    assert steps.registry.counters()["commits_refused"] == 1
    before.pop(keys.COUNTERS.encode(), None)
    after.pop(keys.COUNTERS.encode())
    assert after == before


@pytest.mark.parametrize("loses", LOSES)
def test_a_lost_chunk_runs_again_and_the_job_ends_whole(steps: JobSteps, loses: str) -> None:
    job_id = steps.submit(chunks=2)
    late = steps.leased(1)
    LOSES[loses](steps, late)

    again = steps.leased(1)
    steps.run_all()

    assert (again.plan.number, again.token > late.token) == (0, True)
    assert again.attempt >= 2
    assert steps.commit(late, failed=10) is Outcome.ENDED
    assert steps.counts(job_id) == (20, 20, 0, 0)
    assert steps.results(job_id) == [b"chunk 0\n", b"chunk 1\n"]


@pytest.mark.parametrize("loses", LOSES)
def test_a_late_commit_leaves_the_newer_attempt_its_lease(steps: JobSteps, loses: str) -> None:
    """It runs in another process of the same worker."""
    steps.submit()
    late = steps.leased(1)
    LOSES[loses](steps, late)
    if loses != "taken again":
        steps.leased(2)

    steps.commit(late)

    assert steps.beat(alive=[3]).given_back == (lease_field(late),)


@pytest.mark.parametrize(
    "late_step",
    [
        lambda steps, late: steps.leases.give_back(late),
        lambda steps, late: steps.leases.give_back(late, reason=LossReason.DIED),
        lambda steps, late: steps.leases.begin_part(late, None, seconds=1),
    ],
    ids=["give_back", "crash", "begin_part"],
)
def test_no_late_step_takes_the_lease_of_a_newer_attempt_away(
    steps: JobSteps, late_step: Callable[[JobSteps, Lease], object]
) -> None:
    """Or nobody would notice when the process of the newer attempt dies."""
    steps.submit()
    late = steps.leased(1)
    steps.overdue(late)
    steps.sweep()
    newer = steps.leased(2)

    late_step(steps, late)

    assert steps.beat(alive=[1]).given_back == (lease_field(newer),)


def test_a_give_back_repeated_after_a_lost_answer_changes_nothing(steps: JobSteps) -> None:
    """Meanwhile another process of the worker has begun with the chunk."""
    steps.submit()
    crashed = steps.leased(1)
    steps.leases.give_back(crashed, reason=LossReason.DIED)
    steps.leased(2)
    before = steps.everything()

    assert not steps.leases.give_back(crashed, reason=LossReason.DIED)

    assert steps.everything() == before


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda steps, job_id: steps.store.cancel(job_id), Outcome.ENDED),
        (lambda steps, job_id: steps.store.delete(job_id), Outcome.GONE),
        (lambda steps, job_id: steps.expire(job_id), Outcome.GONE),
    ],
    ids=["cancelled", "deleted", "expired"],
)
def test_a_worker_learns_that_nothing_is_left_to_do(
    steps: JobSteps, end: Callable[[JobSteps, str], object], outcome: Outcome
) -> None:
    job_id = steps.submit(chunks=2)
    held, other = steps.leased(1), steps.leased(2)

    end(steps, job_id)

    assert steps.leases.begin_part(other, None, seconds=1) is outcome
    assert steps.commit(held) is outcome
    assert not steps.redis.exists(keys.leases(WORKER))
    assert steps.take() is None
    assert "commits_refused" not in steps.registry.counters()


def test_what_a_dead_process_ran_of_an_ended_job_runs_no_more(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)
    steps.leased(1)
    steps.store.cancel(job_id)

    assert steps.beat(alive=[]).given_back == ()
    assert steps.take(1) is None
    assert steps.registry.counters() == {}


# --- what is given back, and what is not


def test_only_the_chunk_of_the_dead_process_is_given_back(steps: JobSteps) -> None:
    steps.submit(chunks=5)
    leases = [steps.leased(process) for process in (1, 2, 3)]

    pulse = steps.beat(alive=[1, 3])

    assert pulse.given_back == (lease_field(leases[1]),)
    assert pulse.running == 2
    assert [steps.commit(lease) for lease in leases] == ["committed", "stale", "committed"]


def test_only_the_chunks_of_the_dead_worker_are_given_back(steps: JobSteps) -> None:
    steps.submit(chunks=6)
    dead = [steps.leased(process, worker="dead") for process in (1, 2)]
    live = [steps.leased(process, worker="live") for process in (1, 2)]
    steps.silence("dead")

    done = steps.sweep()

    assert set(done) == {("vanished", lease_field(lease)) for lease in dead} | {("dead", "dead")}
    assert {steps.commit(lease) for lease in live} == {Outcome.COMMITTED}
    assert {steps.commit(lease) for lease in dead} == {Outcome.STALE}


def test_only_the_overdue_chunk_is_given_back(steps: JobSteps) -> None:
    steps.submit(chunks=3)
    leases = [steps.leased(process) for process in (1, 2)]
    steps.overdue(leases[0])

    assert steps.sweep() == [("overdue", lease_field(leases[0]))]
    assert [steps.commit(lease) for lease in leases] == ["stale", "committed"]


def test_a_committed_chunk_is_not_given_back(steps: JobSteps) -> None:
    steps.submit(chunks=2)
    lease = steps.leased(1)
    steps.commit(lease)

    assert not steps.leases.give_back(lease)
    assert steps.beat(alive=[]).given_back == ()
    assert [left.plan.number for left in steps.run_all()] == [1]


@pytest.mark.parametrize("seconds", [5, 12])
def test_a_worker_is_dead_when_it_was_silent_for_too_long(steps: JobSteps, seconds: float) -> None:
    steps.submit()
    lease = steps.leased()
    steps.silence(seconds=seconds)

    steps.sweep()

    assert steps.commit(lease) == ("committed" if seconds < 10 else "stale")


# --- what is held against a chunk


@pytest.mark.parametrize(
    ("loses", "reason"),
    [
        ("crashed", LossReason.DIED),
        ("process died", LossReason.DIED),
        ("worker dead", LossReason.VANISHED),
        ("overdue", LossReason.OVERDUE),
    ],
)
def test_a_lost_attempt_is_noted_with_the_rows_it_was_scoring(
    steps: JobSteps, loses: str, reason: LossReason
) -> None:
    job_id = steps.submit()
    LOSES[loses](steps, steps.leased())

    again = steps.leased()

    assert again.losses == (LostAttempt(reason=reason, rows=Rows(first=0, behind=10)),)
    assert steps.store.get(job_id).attempts_lost == 1
    assert steps.registry.counters() == {f"attempts_{reason}": 1}


@pytest.mark.parametrize("loses", ["given back", "worker left", "taken again"])
def test_what_was_given_back_in_good_order_is_held_against_nobody(
    steps: JobSteps, loses: str
) -> None:
    job_id = steps.submit()
    LOSES[loses](steps, steps.leased())

    again = steps.leased()

    assert again.losses == ()
    assert steps.store.get(job_id).attempts_lost == 0
    assert steps.registry.counters() == {}


def test_losses_of_one_chunk_are_not_held_against_its_neighbours(steps: JobSteps) -> None:
    steps.submit(chunks=2)
    steps.leases.give_back(steps.leased(), reason=LossReason.DIED)

    assert [len(steps.leased(process).losses) for process in (1, 2)] == [1, 0]


def test_a_job_that_loses_too_many_attempts_is_given_up(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    steps.run()
    for _ in range(MAX_JOB_LOSSES):
        steps.leases.give_back(steps.leased(1), reason=LossReason.DIED)
    assert not steps.store.get(job_id).has_ended
    steps.leased(1)

    steps.beat(alive=[])

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "attempts_exhausted")
    assert str(MAX_JOB_LOSSES) in str(job.error_detail)
    assert steps.results(job) == [b"chunk 0\n"]
    assert steps.take() is None


@pytest.mark.parametrize(
    ("loses", "code"),
    [
        ("process died", "attempts_exhausted"),
        ("crashed", "attempts_exhausted"),
        ("worker dead", None),
        ("overdue", None),
    ],
)
def test_a_job_is_given_up_for_deaths_and_not_for_machines_that_vanish(
    steps: JobSteps, loses: str, code: str | None
) -> None:
    job_id = steps.submit()
    steps.redis.hset(keys.record(job_id), "attempts_died", MAX_JOB_LOSSES)

    LOSES[loses](steps, steps.leased())

    assert steps.store.get(job_id).error_code == code


def test_who_ends_a_job_is_told_how_long_it_took(redis: Redis, steps: JobSteps) -> None:
    ended: list[tuple[str, float]] = []
    leases = Leases(
        redis,
        time_limit_seconds=60,
        max_job_losses=MAX_JOB_LOSSES,
        on_end=lambda lease, seconds: ended.append((lease.job_id, seconds)),
    )
    small, bulk = steps.submit_small(), steps.submit(chunks=2, error_threshold=0)
    redis.hincrby(keys.record(small), "created_at_ms", -500_000)
    redis.hincrby(keys.record(bulk), "created_at_ms", -100_000)
    lease = steps.leased(1)
    for _ in range(2):
        leases.commit(lease, make_result())
    first = steps.leased(1)
    leases.commit(first, make_result(succeeded=10))
    before = [job_id for job_id, _ in ended]
    leases.commit(steps.leased(2), make_result(succeeded=9, failed=1))

    assert before == [small]
    assert [(job_id, seconds // 100) for job_id, seconds in ended] == [(small, 5.0), (bulk, 1.0)]
