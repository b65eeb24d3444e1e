"""What nobody else would set right: dead workers, dead uploads, deadlines, jobs that expired."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from shared.job_store import keys, workers
from shared.job_store.leases import Outcome
from shared.job_store.workers import WorkerRegistry
from shared.jobs import JobStatus
from tests.factories import MAX_JOB_LOSSES
from tests.integration.job_store.every_state import jobs_in_every_state
from tests.job_steps import WORKER, JobSteps, lease_field
from tests.waiting import wait_until


def test_there_is_nothing_to_do_while_all_is_well(steps: JobSteps) -> None:
    steps.submit(chunks=2, deadline_seconds=50)
    steps.leased()
    steps.create()
    before = steps.everything()
    before.pop(keys.BACKLOG.encode())

    assert steps.sweep() == []

    after = steps.everything()
    after.pop(keys.BACKLOG.encode())
    assert after == before


def test_one_sweep_a_second_is_heard(steps: JobSteps) -> None:
    job_id = steps.create(deadline_seconds=50)
    began = time.monotonic()
    assert steps.registry.sweep() == []
    steps.make_due(keys.DEADLINES, job_id)

    done = wait_until(steps.registry.sweep, timeout=3)

    # A pause of the machine may make it later, but never sooner.
    assert time.monotonic() - began > 0.85
    assert done == [("deadline_exceeded", job_id)]


def test_of_sweeps_at_the_same_moment_one_does_the_work(steps: JobSteps, redis: Redis) -> None:
    jobs = [steps.create() for _ in range(20)]
    for job_id in jobs:
        steps.make_due(keys.UPLOADS, job_id)
    others = [
        WorkerRegistry(redis, dead_after_seconds=10, max_job_losses=MAX_JOB_LOSSES)
        for _ in range(8)
    ]

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda registry: registry.sweep(), others))

    assert sorted(len(what) for what in done) == [0] * 7 + [20]


# --- workers


def test_a_dead_worker_is_taken_off_the_list(steps: JobSteps) -> None:
    steps.beat("dead")
    steps.beat("live")
    steps.silence("dead")

    assert steps.sweep() == [("dead", "dead")]
    assert steps.redis.hkeys(keys.WORKERS) == [b"live"]
    assert steps.sweep() == []


def test_a_worker_taken_for_dead_comes_back_by_its_next_beat(steps: JobSteps) -> None:
    steps.submit()
    late = steps.leased(1)
    steps.silence()
    steps.sweep()

    pulse = steps.beat(alive=[1])

    assert (pulse.could_run > 0, pulse.running, pulse.given_back) == (True, 0, ())
    assert steps.commit(late) == "stale"
    assert steps.run() == "committed"


def test_chunks_of_a_dead_worker_run_elsewhere(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=4)
    lost = [steps.leased(process, worker="dead") for process in (1, 2)]
    steps.commit(steps.leased(3, worker="dead"))
    steps.silence("dead")
    steps.beat("live")

    steps.sweep()

    run = []
    while lease := steps.take(1, worker="live"):
        steps.commit(lease)
        run.append(lease.plan.number)
    assert run == [*(lease.plan.number for lease in lost), 3]
    assert steps.counts(job_id) == (40, 40, 0, 0)


# --- deadlines


def test_a_job_past_its_deadline_fails_with_a_code_of_its_own(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2, deadline_seconds=50)
    steps.run()
    held = steps.leased()
    steps.make_due(keys.DEADLINES, job_id)

    assert steps.sweep() == [("deadline_exceeded", job_id)]

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == ("failed", "deadline_exceeded")
    assert steps.results(job) == [b"chunk 0\n"]
    assert steps.commit(held) == "ended"


def test_a_deadline_counts_from_the_creation(steps: JobSteps) -> None:
    job_id = steps.create(deadline_seconds=50)
    due_in_ms = steps.redis.zscore(keys.DEADLINES, job_id) - steps.store.get(job_id).created_at_ms

    steps.append(job_id)
    steps.close(job_id)

    assert due_in_ms == 50_000
    job = steps.store.get(job_id)
    assert steps.redis.zscore(keys.DEADLINES, job_id) == job.created_at_ms + 50_000


@pytest.mark.parametrize("deadline_seconds", [None, 50])
def test_a_job_that_ends_in_time_has_no_deadline_any_more(
    steps: JobSteps, deadline_seconds: int | None
) -> None:
    steps.submit(deadline_seconds=deadline_seconds)

    steps.run()

    assert not steps.redis.exists(keys.DEADLINES)


# --- bounds


def test_a_sweep_ends_only_so_many_jobs_and_the_next_one_goes_on(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SWEPT_AT_ONCE", 3)
    jobs = [steps.create() for _ in range(7)]
    for job_id in jobs:
        steps.make_due(keys.UPLOADS, job_id)

    done = [steps.sweep() for _ in range(4)]

    assert [len(what) for what in done] == [3, 3, 1, 0]
    assert {job_id for what in done for _, job_id in what} == set(jobs)


# --- expiry


def test_the_sweep_takes_an_expired_job_out_of_every_list(steps: JobSteps) -> None:
    job_id = steps.create(deadline_seconds=50)
    steps.append(job_id)
    steps.expire(job_id)

    assert steps.sweep() == [("expired", job_id)]

    for zset in (keys.JOBS, keys.EXPIRIES, keys.DEADLINES, keys.UPLOADS):
        assert not steps.redis.exists(zset)
    assert steps.backlog() == {"rows": 0}


def test_the_sweep_frees_what_the_server_has_not_yet_taken_for_expired(steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.run()
    steps.make_due(keys.EXPIRIES, job_id)

    steps.sweep()

    assert list(steps.redis.scan_iter("job:*")) == [keys.tombstone(job_id).encode()]


def test_nothing_is_left_in_the_server_when_all_jobs_have_expired(steps: JobSteps) -> None:
    """But for what belongs to the service and not to a job, and is bounded."""
    jobs = jobs_in_every_state(steps)
    assert len(steps.redis.keys("job:*")) > len(jobs)

    for job_id in jobs:
        steps.expire(job_id)
    everything_with_a_lifetime_is_over(steps)
    steps.sweep()
    steps.beat(alive=[])
    # Who comes to take something finds that nobody is in line, and lingers no more.
    assert [steps.take(process) for process in (1, 6)] == [None, None]
    steps.registry.leave(WORKER)
    steps.redis.delete(keys.SWEEP)

    kept = [b"backlog", b"comparisons", b"counters", b"losses", b"serving", b"usage"]
    assert sorted(steps.redis.keys()) == kept
    assert steps.backlog() == {"rows": 0, "bytes": 0}
    assert set(steps.redis.hkeys(keys.BACKLOG)) == {
        b"rows",
        b"bytes",
        b"done",
        b"rate",
        b"sampled_at_ms",
        b"sampled_done",
        b"used",
        b"most",
    }


def everything_with_a_lifetime_is_over(steps: JobSteps) -> None:
    for key in steps.redis.scan_iter():
        if steps.redis.ttl(key) >= 0:
            steps.redis.pexpire(key, 0)


def test_a_dead_worker_and_an_expired_job_at_once_are_no_trouble(steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.leased()
    steps.expire(job_id)
    steps.silence()

    assert steps.sweep() == [("dead", WORKER), ("expired", job_id)]
    assert not steps.redis.exists(keys.leases(WORKER))


def test_a_lease_of_a_worker_that_is_dead_and_overdue_is_lost_once(steps: JobSteps) -> None:
    job_id = steps.submit()
    lease = steps.leased()
    steps.overdue(lease)
    steps.silence()

    assert steps.sweep() == [("vanished", lease_field(lease)), ("dead", WORKER)]
    assert steps.store.get(job_id).attempts_lost == 1


def test_what_nobody_could_do_while_redis_was_away_is_held_against_none(steps: JobSteps) -> None:
    """Two workers and an upload were silent for the same time, and one of the workers is first."""
    receiving = steps.create()
    steps.append(receiving)
    steps.beat("a", alive=[1])
    steps.beat("b", alive=[1])
    leases = [steps.leased(worker="a")]
    steps.submit()
    leases.append(steps.leased(worker="b"))
    steps.sweep()
    pass_unswept(steps, seconds=60)

    steps.beat("a", alive=[1])
    assert steps.sweep() == []

    assert steps.store.get(receiving).status is JobStatus.RECEIVING
    assert [steps.commit(lease) for lease in leases] == [Outcome.COMMITTED] * 2
    assert steps.registry.counters() == {}


def test_who_is_silent_after_redis_has_come_back_is_dead_all_the_same(steps: JobSteps) -> None:
    steps.beat("a", alive=[1])
    steps.beat("b", alive=[1])
    steps.submit()
    steps.leased(worker="b")
    steps.sweep()
    pass_unswept(steps, seconds=60)
    steps.beat("a", alive=[1])
    steps.sweep()

    steps.silence("b")

    assert ("dead", "b") in steps.sweep()


def test_a_worker_is_dead_after_the_shortest_silence_that_may_be_set(steps: JobSteps) -> None:
    """Sweeps come a little later than every second."""
    hasty = WorkerRegistry(steps.redis, dead_after_seconds=2, max_job_losses=1)
    steps.beat("a", alive=[1])
    hasty.sweep()

    swept = []
    for _ in range(3):
        pass_unswept(steps, seconds=1.2)
        steps.redis.delete(keys.SWEEP)
        swept += hasty.sweep()

    assert swept == [("dead", "a")]


def pass_unswept(steps: JobSteps, *, seconds: float) -> None:
    """Let time go by in which nobody could reach the server: all that it noted is older."""
    redis, milliseconds = steps.redis, int(seconds * 1000)
    for worker, value in redis.hgetall(keys.WORKERS).items():
        at, _, rest = value.decode().partition(" ")
        redis.hset(keys.WORKERS, worker, f"{int(at) - milliseconds} {rest}")
    for key in redis.scan_iter(keys.leases("*")):
        for field, value in redis.hgetall(key).items():
            head, _, deadline = value.decode().rpartition(" ")
            redis.hset(key, field, f"{head} {int(deadline) - milliseconds}")
    for job_id, score in redis.zrange(keys.UPLOADS, 0, -1, withscores=True):
        redis.zadd(keys.UPLOADS, {job_id: score - milliseconds})
    redis.hincrby(keys.BACKLOG, "sampled_at_ms", -milliseconds)
