"""The journal of a chunk scored in parts: what is done stays done, and deaths tell where."""

from shared.chunks import ChunkResult, RejectedRows
from shared.job_store import keys
from shared.job_store.leases import Lease, Outcome
from shared.suspicion import LossReason, LostAttempt, Rows
from tests.job_steps import JobSteps, lease_field

FIRST = Rows(first=0, behind=4)
SECOND = Rows(first=4, behind=10)
RESULT = ChunkResult(
    results=b"1,10\n2,\n",
    errors=b"2,3,x,bad,\n",
    succeeded=3,
    failed=1,
    rejected=RejectedRows(rows=(2,), lines=(3,), records=b"x\n"),
)


def lose(steps: JobSteps) -> None:
    """Take the next chunk and lose its attempt."""
    steps.leases.give_back(steps.leased(), reason=LossReason.DIED)


def lost_once(steps: JobSteps) -> tuple[str, Lease]:
    """A job and the second attempt on its only chunk."""
    job_id = steps.submit()
    lose(steps)
    return job_id, steps.leased()


def test_parts_that_are_done_survive_the_attempt(steps: JobSteps) -> None:
    _, lease = lost_once(steps)
    assert steps.leases.begin_part(lease, FIRST, seconds=1) is None
    assert steps.leases.begin_part(lease, SECOND, seconds=1, done=FIRST, result=RESULT) is None

    steps.beat(alive=[])

    again = steps.leased()
    assert again.parts_done == {FIRST: RESULT}
    assert again.losses[1:] == (LostAttempt(reason=LossReason.DIED, rows=SECOND),)


def test_a_part_noted_twice_is_noted_once(steps: JobSteps) -> None:
    _, lease = lost_once(steps)
    steps.leases.begin_part(lease, SECOND, seconds=1, done=FIRST, result=RESULT)
    before = without_deadlines(steps)

    steps.leases.begin_part(lease, SECOND, seconds=1, done=FIRST, result=RESULT)

    assert without_deadlines(steps) == before


def without_deadlines(steps: JobSteps) -> dict[bytes, object]:
    return {key: text for key, text in steps.everything().items() if b"leases" not in key}


def test_an_attempt_that_dies_between_parts_throws_suspicion_on_none(steps: JobSteps) -> None:
    _, lease = lost_once(steps)
    steps.leases.begin_part(lease, None, seconds=1, done=FIRST, result=RESULT)

    steps.beat(alive=[])

    assert steps.leased().losses[1:] == (LostAttempt(reason=LossReason.DIED, rows=None),)


def test_an_attempt_that_dies_before_its_first_part_throws_suspicion_on_none(
    steps: JobSteps,
) -> None:
    lost_once(steps)

    steps.beat(alive=[])

    assert steps.leased().losses[1:] == (LostAttempt(reason=LossReason.DIED, rows=None),)


def test_parts_are_kept_when_the_chunk_is_returned_in_good_order(steps: JobSteps) -> None:
    _, lease = lost_once(steps)
    steps.leases.begin_part(lease, SECOND, seconds=1, done=FIRST, result=RESULT)

    steps.leases.give_back(lease)

    again = steps.leased()
    assert again.parts_done == {FIRST: RESULT}
    assert len(again.losses) == 1


def test_each_chunk_has_its_own_parts(steps: JobSteps) -> None:
    steps.submit(chunks=12)
    numbered = {process - 1: steps.leased(process) for process in range(1, 13)}
    for lease in (numbered[1], numbered[11]):
        steps.leases.give_back(lease, reason=LossReason.DIED)
    again = {lease.plan.number: lease for lease in (steps.leased(2), steps.leased(12))}
    steps.leases.begin_part(again[1], None, seconds=1, done=FIRST, result=RESULT)
    steps.leases.begin_part(again[11], None, seconds=1, done=SECOND, result=RESULT)

    steps.leases.give_back(again[1])
    assert steps.leased(2).parts_done == {FIRST: RESULT}

    steps.commit(again[11])

    assert steps.redis.hkeys(f"{keys.record(again[1].job_id)}:parts") == [b"1:0-4"]


def test_a_commit_clears_the_journal(steps: JobSteps) -> None:
    job_id, lease = lost_once(steps)
    steps.append(job_id, 1)
    steps.leases.begin_part(lease, SECOND, seconds=1, done=FIRST, result=RESULT)

    steps.commit(lease)

    assert not steps.redis.exists(f"{keys.record(job_id)}:parts")


def test_a_late_part_is_refused_and_leaves_no_trace(steps: JobSteps) -> None:
    steps.submit(chunks=2)
    late = steps.leased(1)
    steps.overdue(late)
    steps.sweep()
    newer = steps.leased(2)
    before = steps.everything()

    found = steps.leases.begin_part(late, SECOND, seconds=1, done=FIRST, result=RESULT)

    assert found is Outcome.STALE
    assert steps.everything() == before
    assert steps.commit(newer) is Outcome.COMMITTED


def test_a_lease_lasts_as_long_as_the_part_that_begins(steps: JobSteps) -> None:
    _, lease = lost_once(steps)
    whole = deadline_ms(steps, lease)

    steps.leases.begin_part(lease, FIRST, seconds=1)

    assert deadline_ms(steps, lease) < whole
    steps.leases.begin_part(lease, FIRST, seconds=1000)
    assert deadline_ms(steps, lease) > whole
    steps.overdue(lease)
    assert steps.sweep() == [("overdue", lease_field(lease))]


def deadline_ms(steps: JobSteps, lease: Lease) -> int:
    text = steps.redis.hget(keys.leases(lease.holder.worker), lease_field(lease))
    return int(text.split()[-1])
