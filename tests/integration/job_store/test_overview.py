"""What people see who watch: jobs by lane and status, who works, and what there is still to do."""

import pytest

from shared.errors import StoreUnavailableError
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.job_store.overview import Overview, Overviews
from shared.job_store.workers import SWEPT_AT_ONCE
from shared.jobs import JobErrorCode, JobStatus, Lane, new_job_id
from shared.suspicion import LossReason
from tests.integration.job_store.every_state import jobs_in_every_state
from tests.job_steps import WORKER, JobSteps
from tests.waiting import wait_until


def overview(steps: JobSteps) -> Overview:
    return Overviews(steps.redis, dead_after_seconds=10).now()


def jobs(steps: JobSteps) -> dict[tuple[str, str], int]:
    """Those stages that have any."""
    return {stage: count for stage, count in overview(steps).jobs.items() if count}


# --- jobs


def test_an_empty_store_has_nothing_to_show(steps: JobSteps) -> None:
    found = overview(steps)

    assert set(found.jobs.values()) == {0}
    assert found.workers == []
    assert (found.backlog.waiting_rows, found.backlog.promised_bytes) == (0, 0)
    assert (found.backlog.rows_per_second, found.backlog.oldest_waiting_seconds) == (None, None)
    assert found.used_bytes > 0


def test_a_job_is_in_one_stage_until_it_ends(steps: JobSteps) -> None:
    job_id = steps.create()
    seen = [jobs(steps)]
    steps.append(job_id)
    steps.close(job_id)
    seen.append(jobs(steps))
    lease = steps.leased()
    seen.append(jobs(steps))
    steps.leases.give_back(lease)
    seen.append(jobs(steps))
    steps.run()
    seen.append(jobs(steps))

    assert seen == [
        {(Lane.BULK, JobStatus.RECEIVING): 1},
        {(Lane.BULK, JobStatus.QUEUED): 1},
        {(Lane.BULK, JobStatus.RUNNING): 1},
        {(Lane.BULK, JobStatus.RUNNING): 1},
        {},
    ]


def test_small_jobs_are_counted_apart(steps: JobSteps) -> None:
    for _ in range(3):
        steps.submit_small()
    steps.submit()
    before = jobs(steps)
    taken = steps.take_together(most_jobs=2)

    assert before == {(Lane.SMALL, JobStatus.QUEUED): 3, (Lane.BULK, JobStatus.QUEUED): 1}
    assert jobs(steps) == {
        (Lane.SMALL, JobStatus.QUEUED): 1,
        (Lane.SMALL, JobStatus.RUNNING): 2,
        (Lane.BULK, JobStatus.QUEUED): 1,
    }
    assert overview(steps).running_chunks(Lane.SMALL) == len(taken.leases)


@pytest.mark.parametrize("end", ["cancel", "fail", "delete", "deadline", "expire", "vanish"])
def test_a_job_that_is_over_in_any_way_is_counted_no_more(steps: JobSteps, end: str) -> None:
    job_id = steps.submit(deadline_seconds=50)
    steps.beat()
    end_in_this_way(steps, job_id, end)
    steps.sweep()

    assert jobs(steps) == {}


def end_in_this_way(steps: JobSteps, job_id: str, end: str) -> None:
    """The sweep does the rest."""
    if end == "cancel":
        steps.store.cancel(job_id)
    elif end == "fail":
        steps.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, "No.")
    elif end == "delete":
        steps.store.delete(job_id)
    elif end == "deadline":
        steps.make_due(keys.DEADLINES, job_id)
    elif end == "expire":
        steps.make_due(keys.EXPIRIES, job_id)
    else:
        steps.expire(job_id)


def test_what_is_counted_agrees_with_the_records(steps: JobSteps) -> None:
    ids = jobs_in_every_state(steps)

    open_jobs = [job for job in map(steps.store.get, ids) if not job.has_ended]
    found = jobs(steps)
    assert sum(found.values()) == len(open_jobs)
    for status in {job.status for job in open_jobs}:
        count = sum(found.get((lane, status), 0) for lane in Lane)
        assert count == sum(job.status is status for job in open_jobs)


# --- what is still to do


def test_rows_wait_until_they_have_an_outcome(steps: JobSteps) -> None:
    steps.submit(chunks=3)
    before = overview(steps).backlog.waiting_rows
    steps.run(failed=4)

    assert (before, overview(steps).backlog.waiting_rows) == (30, 20)


def test_the_oldest_job_that_nobody_has_begun_is_how_long_others_wait(steps: JobSteps) -> None:
    first, second = steps.submit(), steps.submit_small()
    for job_id, seconds in ((first, 500), (second, 100)):
        steps.redis.hincrby(keys.record(job_id), "created_at_ms", -seconds * 1000)
    before = overview(steps).backlog.oldest_waiting_seconds
    steps.leased()
    steps.leased(2)
    third = steps.submit()
    after = overview(steps).backlog.oldest_waiting_seconds
    steps.store.delete(third)

    assert before is not None
    assert 500 <= before < 600
    assert after is not None
    assert after < 100
    assert overview(steps).backlog.oldest_waiting_seconds is None


def waiting(steps: JobSteps) -> dict[Lane, int]:
    """Chunks that wait, by lane, of those that have any."""
    return {lane: of.chunks for lane, of in overview(steps).waiting.items() if of.chunks}


def test_chunks_wait_from_when_they_could_be_run_until_they_are(steps: JobSteps) -> None:
    steps.submit(chunks=3)
    for _ in range(2):
        steps.submit_small()
    before = waiting(steps)
    together = steps.take_together(1)
    lease = steps.leased(2)
    taken = waiting(steps)
    steps.leases.give_back(lease, reason=LossReason.DIED)
    given_back = waiting(steps)
    steps.commit_all(together.leases)
    steps.run_all()

    assert before == {Lane.SMALL: 2, Lane.BULK: 3}
    assert taken == {Lane.BULK: 2}
    assert given_back == {Lane.BULK: 3}
    assert waiting(steps) == {}


@pytest.mark.parametrize("how", ["vanish", "leave", "overdue"])
def test_chunks_of_a_worker_that_is_no_more_wait_again(steps: JobSteps, how: str) -> None:
    steps.submit()
    lease = steps.leased()
    if how == "leave":
        steps.registry.leave(WORKER)
    elif how == "vanish":
        steps.silence()
    else:
        steps.overdue(lease)
    steps.sweep()

    assert waiting(steps) == {Lane.BULK: 1}


@pytest.mark.parametrize("end", ["cancel", "fail", "delete", "deadline", "expire", "vanish"])
def test_chunks_of_a_job_that_is_over_in_any_way_wait_no_more(steps: JobSteps, end: str) -> None:
    job_id = steps.submit(chunks=1201, deadline_seconds=50)
    steps.beat()
    steps.leases.give_back(steps.leased())
    end_in_this_way(steps, job_id, end)
    steps.sweep()
    # Of what has vanished so many are found in a round.
    for _ in range(1201 // SWEPT_AT_ONCE):
        steps.sweep()

    assert waiting(steps) == {}
    assert not list(steps.redis.scan_iter("waiting:*"))


def test_what_a_worker_of_the_version_before_left_in_the_index_waits_no_more(
    steps: JobSteps,
) -> None:
    job_id = steps.submit(chunks=2)
    known = steps.redis.zrange(keys.waiting(Lane.BULK), 0, -1, withscores=True)
    steps.run_all()
    # It knew of no index.
    steps.redis.zadd(keys.waiting(Lane.BULK), dict(known))
    steps.sweep()

    assert steps.store.get(job_id).has_ended
    assert waiting(steps) == {}


def test_the_chunk_that_could_be_run_first_is_how_long_a_lane_waits(steps: JobSteps) -> None:
    first, second = steps.submit(), steps.submit()
    for job_id, seconds in ((first, 500), (second, 100)):
        steps.redis.zincrby(keys.waiting(Lane.BULK), -seconds * 1000, f"{job_id} 0")
    before = overview(steps).waiting
    lease = steps.leased()
    after = overview(steps).waiting
    steps.leases.give_back(lease)
    again = steps.leased(2), steps.leased(3)

    assert before[Lane.SMALL].oldest_seconds == 0
    assert 500 <= before[Lane.BULK].oldest_seconds < 600
    assert 100 <= after[Lane.BULK].oldest_seconds < 200
    assert 500 <= (lease.waited_seconds or 0) < 600
    # What was given back waits from then on.
    assert [int((of.waited_seconds or 0) // 100) for of in again] == [1, 0]
    assert overview(steps).waiting[Lane.BULK].oldest_seconds == 0


def test_a_small_job_waits_from_when_it_was_made_or_given_back(steps: JobSteps) -> None:
    first = steps.submit_small()
    # Ids of the same millisecond are in no order.
    wait_until(lambda: new_job_id()[:16] > first[:16])
    second = steps.submit_small()
    for job_id, seconds in ((first, 500), (second, 100)):
        steps.redis.hincrby(keys.record(job_id), "created_at_ms", -seconds * 1000)
    before = overview(steps).waiting[Lane.SMALL]
    [lease] = steps.take_together(most_jobs=1).leases
    steps.leases.give_back(lease, reason=LossReason.DIED)
    given_back = overview(steps).waiting[Lane.SMALL]
    again = steps.leased(1), steps.leased(2)

    assert (before.chunks, int(before.oldest_seconds // 100)) == (2, 5)
    assert (given_back.chunks, int(given_back.oldest_seconds // 100)) == (2, 1)
    assert [int((of.waited_seconds or 0) // 100) for of in (lease, *again)] == [5, 1, 0]
    assert waiting(steps) == {}


def test_a_chunk_that_waits_since_before_there_was_an_index_is_taken(steps: JobSteps) -> None:
    steps.submit()
    steps.redis.delete(keys.waiting(Lane.BULK))

    assert steps.leased().waited_seconds is None


def test_a_rate_is_shown_as_long_as_somebody_measures_it(steps: JobSteps) -> None:
    steps.sweep()
    measured = overview(steps).backlog.rows_per_second
    steps.redis.hincrby(keys.BACKLOG, "sampled_at_ms", -11_000)

    assert measured == 0.0
    assert overview(steps).backlog.rows_per_second is None


# --- workers


def test_workers_are_shown_with_what_they_run(steps: JobSteps) -> None:
    steps.beat("here/1", processes=3, bulk=2)
    steps.beat("there/2", processes=2)
    steps.silence("there/2", seconds=30)
    steps.submit(chunks=2)
    for _ in range(2):
        steps.submit_small()
    steps.take_together(1, worker="here/1")
    steps.leased(2, worker="here/1")

    here, there = overview(steps).workers
    assert (here.name, here.host, here.is_live) == ("here/1", "here", True)
    assert (here.capacity.processes, here.capacity.bulk_processes, here.busy) == (3, 2, 2)
    assert sorted(here.running) == [(1, Lane.SMALL), (1, Lane.SMALL), (2, Lane.BULK)]
    assert here.last_heard_seconds < 10
    assert (there.name, there.is_live, there.busy) == ("there/2", False, 0)
    assert 30 <= there.last_heard_seconds < 60


def test_what_a_vanished_worker_held_is_not_running(steps: JobSteps) -> None:
    steps.submit()
    steps.leased()
    before = overview(steps).running_chunks(Lane.BULK)
    steps.silence()

    assert (before, overview(steps).running_chunks(Lane.BULK)) == (1, 0)


def test_without_the_store_there_is_nothing_to_see() -> None:
    overviews = Overviews(connect("unix:///nowhere"), dead_after_seconds=10)

    with pytest.raises(StoreUnavailableError):
        overviews.now()
