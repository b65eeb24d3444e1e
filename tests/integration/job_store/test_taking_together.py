"""Small jobs that want the same are taken together, and committed together, each for itself."""

from collections.abc import Callable

import pytest

from shared.errors import JobNotFoundError
from shared.job_store import keys
from shared.job_store.leases import Holder, Lease, Outcome
from shared.jobs import JobStatus, Lane
from shared.suspicion import LossReason
from tests.factories import make_result
from tests.job_steps import LANES, WORKER, JobSteps, lease_field
from tests.waiting import wait_until
from worker.tasks import TOGETHER


def jobs(leases: tuple[Lease, ...]) -> list[str]:
    return [lease.job_id for lease in leases]


def assert_lines_agree(steps: JobSteps) -> None:
    """Every caller in the ring has a line, once, and no line is without its caller."""
    ring = [caller.decode() for caller in steps.redis.lrange("ready:small", 0, -1)]
    lines = [key.decode() for key in steps.redis.scan_iter("ready:small:*")]
    assert sorted(ring) == sorted(key.removeprefix("ready:small:") for key in lines)
    for line in lines:
        waiting = steps.redis.lrange(line, 0, -1)
        assert len(waiting) == len(set(waiting)) > 0


# --- which


def test_small_jobs_that_want_the_same_are_taken_together(steps: JobSteps) -> None:
    submitted = [steps.submit_small(caller=caller) for caller in ("me", "you", "me", "her")]
    closed = steps.submit(lane=Lane.SMALL, caller="you")

    taken = steps.take_together()

    assert set(jobs(taken.leases)) == {*submitted, closed}
    assert {lease.input for lease in taken.leases} == {b"1\n" * 10}
    assert len({lease.spec for lease in taken.leases}) == 1
    for job_id in submitted:
        job = steps.store.get(job_id)
        assert (job.status, job.started_at_ms is not None) == (JobStatus.RUNNING, True)
    assert list(steps.redis.scan_iter("ready:*")) == []
    assert steps.redis.hlen(keys.leases(WORKER)) == 5


@pytest.mark.parametrize(
    "other",
    [
        {"model_version": "2"},
        {"header": ("x", "y")},
        {"delimiter": ";"},
        {"carried": ("x",)},
        {"error_threshold": 3},
        {"retention_seconds": 61},
    ],
)
def test_a_job_that_wants_something_else_waits_for_its_turn(
    steps: JobSteps, other: dict[str, object]
) -> None:
    first, different, third = steps.submit_small(), steps.submit_small(**other), None
    third = steps.submit_small()

    taken = [steps.take_together(process).leases for process in (1, 2)]

    assert [jobs(leases) for leases in taken] == [[first, third], [different]]


def begun(steps: JobSteps) -> str:
    job_id = steps.submit(lane=Lane.SMALL)
    steps.leases.give_back(steps.leased(9))
    return job_id


def crashed(steps: JobSteps) -> str:
    job_id = steps.submit_small()
    steps.leases.give_back(steps.leased(9), reason=LossReason.DIED)
    return job_id


def arriving(steps: JobSteps) -> str:
    job_id = steps.create(lane=Lane.SMALL)
    steps.append(job_id)
    return job_id


NOT_JOINED: dict[str, Callable[[JobSteps], str]] = {
    "given back": begun,
    "lost an attempt": crashed,
    "still arriving": arriving,
    "two chunks": lambda steps: steps.submit(lane=Lane.SMALL, chunks=2),
    "bulk": lambda steps: steps.submit(lane=Lane.BULK),
}


@pytest.mark.parametrize("kind", NOT_JOINED)
def test_only_jobs_that_nobody_has_begun_are_taken_with_another(steps: JobSteps, kind: str) -> None:
    other = NOT_JOINED[kind](steps)
    first = steps.submit_small(caller="first")
    rotate_until_next(steps, "first", other)

    taken = steps.take_together()

    assert jobs(taken.leases) == [first]


def rotate_until_next(steps: JobSteps, caller: str, other: str) -> None:
    """Let it be a caller's turn; another job still waits."""
    ring = steps.redis.lrange("ready:small", 0, -1)
    assert ring.count(caller.encode()) == 1
    while steps.redis.lindex("ready:small", 0) != caller.encode():
        steps.redis.lmove("ready:small", "ready:small", "LEFT", "RIGHT")
    assert steps.redis.hget(keys.record(other), "is_ready") == b"1"


@pytest.mark.parametrize("kind", [kind for kind in NOT_JOINED if kind != "bulk"])
def test_a_job_that_was_begun_is_taken_alone(steps: JobSteps, kind: str) -> None:
    other = NOT_JOINED[kind](steps)
    steps.submit_small()

    taken = steps.take_together()

    assert jobs(taken.leases) == [other]


def test_bulk_is_taken_chunk_by_chunk(steps: JobSteps) -> None:
    for _ in range(3):
        steps.submit(lane=Lane.BULK)

    assert len(steps.take_together().leases) == 1


def test_ended_jobs_are_not_taken(steps: JobSteps) -> None:
    first, cancelled, deleted, expired, last = (steps.submit_small() for _ in range(5))
    steps.store.cancel(cancelled)
    steps.store.delete(deleted)
    steps.expire(expired)

    taken = steps.take_together()

    assert jobs(taken.leases) == [first, last]
    assert steps.take_together(2).leases == ()
    assert list(steps.redis.scan_iter("ready:*")) == []


# --- how many


def test_no_more_jobs_are_taken_than_asked_for(steps: JobSteps) -> None:
    submitted = [steps.submit_small() for _ in range(7)]

    taken = [jobs(steps.take_together(process, most_jobs=3).leases) for process in (1, 2, 3)]

    assert taken == [submitted[:3], submitted[3:6], submitted[6:]]


def test_no_more_rows_are_taken_than_asked_for(steps: JobSteps) -> None:
    steps.registry.record_speed("echo/1", 10_000)
    large, first, second, third = (steps.submit_small(rows=n) for n in (900, 60, 50, 40))

    taken = [jobs(steps.take_together(process).leases) for process in (1, 2)]

    assert taken == [[large, first, third], [second]]


def test_a_job_of_more_rows_is_taken_alone(steps: JobSteps) -> None:
    large, _ = steps.submit_small(rows=2000), steps.submit_small(rows=1)

    assert jobs(steps.take_together().leases) == [large]


@pytest.mark.parametrize(("rows_per_second", "count"), [(None, 5), (400, 10), (44, 1), (1, 1)])
def test_no_more_is_taken_than_the_model_does_in_time(
    steps: JobSteps, rows_per_second: float | None, count: int
) -> None:
    if rows_per_second:
        steps.registry.record_speed("echo/1", rows_per_second)
    for _ in range(20):
        steps.submit_small(rows=10)

    assert len(steps.take_together(most_seconds=0.25).leases) == count


# --- turns


def test_callers_keep_their_turns(steps: JobSteps) -> None:
    mine = [steps.submit_small(caller="me") for _ in range(4)]
    other = [
        steps.submit_small(caller=caller, model_version="2") for caller in ("you", "her", "you")
    ]

    taken = [jobs(steps.take_together(process).leases) for process in (1, 2)]

    assert taken[0] == mine
    assert set(taken[1]) == set(other)
    assert taken[1][0] == other[0]


def test_nobody_waits_for_more_than_a_turn_of_each_caller(steps: JobSteps) -> None:
    """Others send jobs that fit together faster than they are done."""
    for caller in ("a", "b", "c") * 10:
        steps.submit_small(caller=caller)
    steps.take_together(1, most_jobs=4)
    late = steps.submit_small(caller="late", model_version="2")

    taken = []
    for process in range(2, 6):
        taken += jobs(steps.take_together(process, most_jobs=4).leases)
        for caller in ("a", "b", "c") * 4:
            steps.submit_small(caller=caller)
        assert_lines_agree(steps)

    assert late in taken


def test_jobs_of_one_caller_do_not_overtake_for_ever(steps: JobSteps) -> None:
    steps.submit_small()
    different = steps.submit_small(model_version="2")
    for _ in range(8):
        steps.submit_small()

    taken = [jobs(steps.take_together(process, most_jobs=2).leases) for process in (1, 2)]

    assert different in taken[1]


def test_lines_agree_however_much_is_taken(steps: JobSteps) -> None:
    for number in range(30):
        version = str(number % 3 + 1)
        steps.submit_small(caller="abcd"[number % 4], model_version=version, rows=number + 1)

    process, seen = 0, []
    while leases := steps.take_together(process := process + 1, most_jobs=4, most_rows=60).leases:
        assert_lines_agree(steps)
        assert len({lease.spec for lease in leases}) == 1
        seen += jobs(leases)

    assert len(seen) == len(set(seen)) == 30
    assert list(steps.redis.scan_iter("ready:*")) == []


# --- leases


def test_a_process_with_several_chunks_counts_once(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=1, alive=[1, 2])
    for _ in range(5):
        steps.submit_small()
    steps.take_together(1)
    steps.submit_small()

    assert len(steps.take_together(2).leases) == 1
    steps.submit_small()
    assert steps.take_together(3).leases == ()


@pytest.mark.parametrize("how", ["beat", "sweep", "leave"])
def test_all_chunks_of_a_process_that_is_lost_are_given_back(steps: JobSteps, how: str) -> None:
    for _ in range(3):
        steps.submit_small()
    leases = steps.take_together(1).leases
    if how == "beat":
        given_back = list(steps.beat(alive=[2]).given_back)
    elif how == "leave":
        given_back = steps.registry.leave(WORKER)
    else:
        steps.silence()
        given_back = [of for what, of in steps.sweep() if what == "vanished"]
    assert set(given_back) == {lease_field(lease) for lease in leases}
    steps.beat()

    again = [steps.take_together(process).leases for process in (1, 2, 3)]

    # Who was with others when a process died is run alone from then on.
    assert [len(leases) for leases in again] == [1, 1, 1]
    assert {jobs(leases)[0] for leases in again} == set(jobs(leases))
    reason = {"beat": [LossReason.DIED], "sweep": [LossReason.VANISHED], "leave": []}[how]
    assert [[loss.reason for loss in one.losses] for (one,) in again] == [reason] * 3
    assert set(steps.commit_all(leases)) == {Outcome.STALE}


def test_what_a_process_never_learnt_of_is_given_back_when_it_takes_again(
    steps: JobSteps,
) -> None:
    for _ in range(3):
        steps.submit_small()
    lost = steps.take_together(1).leases

    found = [steps.take_together(process).leases for process in (1, 2, 3)]

    assert sorted(job for leases in found for job in jobs(leases)) == sorted(jobs(lost))
    assert all(lease.losses == () for leases in found for lease in leases)


# --- commits


def test_chunks_are_committed_together_each_with_its_own_result(steps: JobSteps) -> None:
    submitted = [steps.submit_small() for _ in range(3)]
    leases = steps.take_together().leases
    results = [
        make_result(succeeded=10 - failed, failed=failed, results=b"%d\n" % failed)
        for failed in (0, 4, 10)
    ]

    outcomes = steps.leases.commit_all(list(zip(leases, results, strict=True)))

    assert outcomes == [Outcome.COMMITTED] * 3
    ended = [steps.store.get(job_id) for job_id in submitted]
    assert [job.status for job in ended] == ["succeeded", "partially_succeeded", "failed"]
    assert [steps.results(job) for job in ended] == [[b"0\n"], [b"4\n"], [b"10\n"]]
    assert [b"".join(steps.store.errors(job)) for job in ended] == [
        b"",
        b"bad\n" * 4,
        b"bad\n" * 10,
    ]
    assert set(steps.backlog().values()) == {0}
    assert not steps.redis.exists(keys.leases(WORKER))


def mixed(steps: JobSteps) -> tuple[tuple[Lease, ...], list[Outcome]]:
    """Chunks taken together, of which some can't be committed any more."""
    for _ in range(5):
        steps.submit_small()
    leases = steps.take_together().leases
    steps.store.cancel(leases[1].job_id)
    steps.store.delete(leases[2].job_id)
    steps.leases.give_back(leases[3])
    outcomes = [
        Outcome.COMMITTED,
        Outcome.ENDED,
        Outcome.GONE,
        Outcome.STALE,
        Outcome.COMMITTED,
    ]
    return leases, outcomes


def test_what_becomes_of_one_chunk_is_nothing_to_the_others(steps: JobSteps) -> None:
    leases, expected = mixed(steps)

    assert steps.commit_all(leases) == expected

    assert [steps.store.get(lease.job_id).status for lease in (*leases[:2], *leases[3:])] == [
        "succeeded",
        "cancelled",
        "running",
        "succeeded",
    ]
    assert steps.registry.counters() == {"commits_refused": 1}
    assert not steps.redis.exists(keys.leases(WORKER))
    assert jobs(steps.take_together(2).leases) == [leases[3].job_id]


def test_a_commit_of_several_repeated_after_a_lost_answer_changes_nothing(
    steps: JobSteps,
) -> None:
    leases, expected = mixed(steps)
    steps.commit_all(leases)
    steps.redis.delete(keys.COUNTERS)
    before = steps.everything()

    outcomes = steps.commit_all(leases)

    steps.redis.delete(keys.COUNTERS)
    assert outcomes == expected
    assert steps.everything() == before


def test_results_of_a_job_that_never_was_are_refused(steps: JobSteps) -> None:
    steps.submit_small()
    (lease,) = steps.take_together().leases
    steps.redis.flushdb()

    assert steps.commit_all([lease]) == [Outcome.GONE]
    with pytest.raises(JobNotFoundError):
        steps.store.get(lease.job_id)
    assert not steps.redis.keys("job:*")


# --- left for who is back in a moment


def test_small_jobs_are_left_to_the_process_that_has_just_committed_some(steps: JobSteps) -> None:
    steps.submit_small()
    steps.commit(steps.leased(1))
    steps.lengthen_moments()
    waiting = [steps.submit_small(), steps.submit_small()]

    others = steps.leases.take(Holder(worker=WORKER, process=2), LANES).leases
    own = steps.leases.take(Holder(worker=WORKER, process=1), LANES, TOGETHER).leases

    assert (others, jobs(own)) == ((), waiting)


def test_bulk_is_left_to_nobody(steps: JobSteps) -> None:
    steps.submit(chunks=3)
    steps.commit(steps.leased(1))

    assert steps.leases.take(Holder(worker=WORKER, process=2), LANES).leases


def test_when_the_moment_is_over_anybody_takes_what_was_left(steps: JobSteps) -> None:
    steps.submit_small()
    steps.commit(steps.leased(1))
    job_id = steps.submit_small()

    found = wait_until(lambda: steps.leases.take(Holder(worker=WORKER, process=2), LANES).leases)

    assert jobs(found) == [job_id]
