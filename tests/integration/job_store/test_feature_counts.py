"""What rows show of the features is added to the job's record once, with the chunk's commit."""

from contextlib import closing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from shared.feature_counts import NOTHING_SEEN, FeatureCounts
from shared.job_store.ends import Awaited
from shared.job_store.leases import Outcome
from shared.job_store.store import JobFilter
from tests.factories import make_result, make_spec
from tests.job_steps import JobSteps
from tests.listening import listening

SHARED_SERVER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)
COUNTS = st.builds(
    FeatureCounts,
    seen=st.integers(1, 100),
    rows=st.integers(1, 10**9),
    sums=st.dictionaries(
        st.sampled_from(["0:missing", "0:bin1", "0:bin10", "10:bin1", "255:unseen"]),
        st.integers(1, 10**9),
    ),
)
SOME = FeatureCounts(seen=10, rows=10, sums={"0:missing": 2, "0:bin3": 8})


def counted(steps: JobSteps, job_id: str) -> FeatureCounts:
    return steps.store.get(job_id).feature_counts


@SHARED_SERVER
@given(parts=st.permutations(range(4)), counts=st.lists(COUNTS, min_size=4, max_size=4))
def test_commits_in_any_order_add_the_same(
    steps: JobSteps, parts: list[int], counts: list[FeatureCounts]
) -> None:
    job_id = steps.submit(chunks=4)
    leases = [steps.leased(process) for process in range(1, 5)]

    for number in parts:
        steps.leases.commit(leases[number], make_result(feature_counts=counts[number]))

    assert counted(steps, job_id) == sum(counts, NOTHING_SEEN)


def test_a_chunk_that_is_run_twice_counts_once(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)
    late = steps.leased()
    steps.leases.give_back(late)
    again = steps.leased()

    outcomes = [
        steps.leases.commit(lease, make_result(feature_counts=SOME))
        for lease in (again, again, late)
    ]

    assert outcomes == [Outcome.COMMITTED, Outcome.COMMITTED, Outcome.STALE]
    assert counted(steps, job_id) == SOME


def test_a_job_whose_rows_were_not_looked_at_has_no_counts(steps: JobSteps) -> None:
    job_id = steps.submit()
    assert counted(steps, job_id) == NOTHING_SEEN

    steps.leases.commit(steps.leased(), make_result(feature_counts=NOTHING_SEEN))

    assert counted(steps, job_id) == NOTHING_SEEN


def test_counts_of_a_wide_model_are_added(steps: JobSteps) -> None:
    sums = {f"{feature}:bin{number}": 10**6 for feature in range(256) for number in range(101)}
    wide = FeatureCounts(seen=10, rows=10, sums=sums)
    job_id = steps.submit(chunks=2)

    for _ in range(2):
        steps.leases.commit(steps.leased(), make_result(feature_counts=wide))

    assert counted(steps, job_id) == wide + wide


def test_they_are_told_with_the_end_and_listed(steps: JobSteps, redis: Redis) -> None:
    job_id = steps.submit()
    lease = steps.leased()

    with listening(redis) as ends:
        assert steps.store.await_end(job_id, ends.channel())
        awaited = Awaited(job_id=job_id, spec=make_spec(), told_on=ends.channel())
        with closing(ends.hear(awaited)) as hearing:
            steps.leases.commit(lease, make_result(feature_counts=SOME))
            told = hearing.wait(timeout_seconds=30).job

    ((listed,), _) = steps.store.page(JobFilter(owner=None), limit=1)
    assert told.feature_counts == listed.feature_counts == counted(steps, job_id) == SOME
