"""Who waits for the end of a job is told of it, also when the connection breaks meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from shared.errors import JobError, JobGoneError, JobNotFoundError, StoreUnavailableError
from shared.job_store import ends as ends_module
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.job_store.ends import Awaited, Ends, Seen
from shared.job_store.store import JobStore
from shared.jobs import JobStatus, JobTerms, Lane, new_job_id
from tests.factories import make_body, make_intake, make_result, make_spec
from tests.job_steps import JobSteps, submit_whole
from tests.listening import listeners, listening
from tests.live_stack import redis_server
from tests.waiting import wait_until

LONG = 60
"""Seconds that a wait may take in these tests; what it waits for comes sooner."""


@pytest.fixture
def ends(redis: Redis) -> Iterator[Ends]:
    with listening(redis) as ends:
        yield ends


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


TOLD_ON: dict[str, str] = {}
"""Channels that jobs were submitted with."""


def wait(ends: Ends, job_id: str, *, timeout_seconds: float, told_on: str = "") -> Seen:
    """As the API waits for a job of `make_spec(deadline_seconds=50)`."""
    awaited = Awaited(job_id=job_id, spec=make_spec(deadline_seconds=50), told_on=told_on)
    with closing(ends.hear(awaited)) as hearing:
        return hearing.wait(timeout_seconds=timeout_seconds)


def submit_told(steps: JobSteps, ends: Ends) -> str:
    """A small job whose end is told to this API process since it was submitted."""
    job_id = new_job_id()
    TOLD_ON[job_id] = ends.channel()
    terms = JobTerms(lane=Lane.SMALL, awaited_by=TOLD_ON[job_id])
    submit_whole(steps.intake, job_id, make_spec(deadline_seconds=50), terms, make_body())
    return job_id


def waiting(
    pool: ThreadPoolExecutor, ends: Ends, job_id: str, *, is_told: bool = False
) -> "Future[Seen]":
    """Somebody who waits for a job's end, and is known to do so."""
    before = len(ends._waiting.get(job_id, ()))
    told_on = TOLD_ON[job_id] if is_told else ""
    future = pool.submit(wait, ends, job_id, timeout_seconds=LONG, told_on=told_on)
    wait_until(lambda: len(ends._waiting.get(job_id, ())) > before or future.done())
    return future


def is_awaited(steps: JobSteps, job_id: str) -> bool:
    return bool(steps.redis.hexists(keys.record(job_id), "awaited_by"))


def cut_and_cancel(steps: JobSteps, job_id: str) -> None:
    """End a job at the moment at which all subscriptions break."""
    sha = steps.store._scripts._shas["end_job"]
    assert steps.redis.script_load(steps.store._scripts._sources["end_job"]) == sha
    with steps.redis.pipeline(transaction=True) as pipe:
        pipe.client_kill_filter(_type="pubsub")
        pipe.evalsha(sha, 0, job_id, "cancelled", "", "")
        killed, _ = pipe.execute()
    assert killed


# --- told


@pytest.mark.parametrize("is_told", [True, False], ids=["at submit", "later"])
@pytest.mark.parametrize(
    "end",
    [
        lambda steps, _: steps.run(),
        lambda steps, job_id: steps.store.cancel(job_id),
        lambda steps, job_id: steps.store.delete(job_id),
        lambda steps, job_id: (steps.make_due("deadlines", job_id), steps.sweep()),
    ],
    ids=["run", "cancel", "delete", "deadline"],
)
def test_who_waits_is_told_when_the_job_ends(
    steps: JobSteps,
    ends: Ends,
    pool: ThreadPoolExecutor,
    end: Callable[[JobSteps, str], object],
    *,
    is_told: bool,
) -> None:
    job_id = submit_told(steps, ends) if is_told else steps.submit(deadline_seconds=50)
    someone = waiting(pool, ends, job_id, is_told=is_told)
    wait_until(lambda: is_awaited(steps, job_id))

    end(steps, job_id)

    found = someone.exception(timeout=8) or someone.result()
    assert isinstance(found, JobError) or found.job.has_ended


def test_who_is_told_of_the_end_gets_the_job_as_the_store_has_it_and_its_results(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor
) -> None:
    job_id = submit_told(steps, ends)
    someone = waiting(pool, ends, job_id, is_told=True)

    lease = steps.leased()
    results = 'ä,"1\n2",\\,\x00\x7f\n'.encode()
    steps.leases.commit(lease, make_result(succeeded=8, failed=2, results=results))

    seen = someone.result(timeout=8)
    job = steps.store.get(job_id)
    assert seen.results == results == b"".join(steps.store.results(job))
    assert job.status is JobStatus.PARTIALLY_SUCCEEDED
    assert 0 <= job.read_at_ms - seen.job.read_at_ms < 10_000
    assert (seen.job.spec, seen.job.finished_at_ms) == (job.spec, job.finished_at_ms)
    assert (seen.job.succeeded, seen.job.failed, seen.job.expires_at_ms) == (
        8,
        2,
        job.expires_at_ms,
    )


def test_an_end_that_was_told_before_anybody_waited_is_not_missed(
    steps: JobSteps, ends: Ends
) -> None:
    job_id = submit_told(steps, ends)
    steps.run()
    wait_until(lambda: job_id in ends._unclaimed)

    seen = wait(ends, job_id, timeout_seconds=LONG, told_on=TOLD_ON.get(job_id, ends.channel()))

    assert (seen.job.status, seen.results) == (JobStatus.SUCCEEDED, b"chunk 0\n")
    assert ends._unclaimed == {}


def test_many_results_are_left_in_the_store(steps: JobSteps, ends: Ends) -> None:
    job_id = submit_told(steps, ends)
    lease = steps.leased()
    steps.leases.commit(lease, make_result(results=b"1234567\n" * 2049))

    seen = wait(ends, job_id, timeout_seconds=LONG, told_on=TOLD_ON.get(job_id, ends.channel()))

    assert (seen.job.status, seen.results) == (JobStatus.SUCCEEDED, b"")


def test_results_of_several_chunks_are_left_in_the_store(steps: JobSteps, ends: Ends) -> None:
    job_id = steps.submit(chunks=2)
    steps.store.await_end(job_id, ends.channel())
    steps.run_all()

    seen = wait(ends, job_id, timeout_seconds=LONG, told_on=TOLD_ON.get(job_id, ends.channel()))

    assert (seen.job.status, seen.results) == (JobStatus.SUCCEEDED, b"")


def test_a_job_deleted_before_anybody_waited_is_gone(steps: JobSteps, ends: Ends) -> None:
    job_id = submit_told(steps, ends)
    steps.store.delete(job_id)

    with pytest.raises(JobGoneError):
        wait(ends, job_id, timeout_seconds=LONG, told_on=TOLD_ON.get(job_id, ends.channel()))


def test_who_may_look_takes_no_end_from_who_was_promised_it(ends: Ends, steps: JobSteps) -> None:
    job_id = submit_told(steps, ends)
    steps.run()
    wait_until(lambda: job_id in ends._unclaimed)

    looked = wait(ends, job_id, timeout_seconds=0)
    told = wait(ends, job_id, timeout_seconds=0, told_on=TOLD_ON[job_id])

    assert (looked.results, told.results) == (b"", steps.results(job_id)[0])
    assert looked.job.status is told.job.status is JobStatus.SUCCEEDED


def test_a_job_that_was_deleted_after_its_end_is_gone_whatever_was_told(
    steps: JobSteps, ends: Ends
) -> None:
    job_id = submit_told(steps, ends)
    steps.run()
    wait_until(lambda: job_id in ends._unclaimed)
    steps.store.delete(job_id)

    with pytest.raises(JobGoneError):
        wait(ends, job_id, timeout_seconds=LONG)


def test_each_of_many_who_wait_gets_their_own_job_over_one_connection(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor
) -> None:
    told = [submit_told(steps, ends) for _ in range(10)]
    others = [steps.submit() for _ in range(10)]
    people = [
        (job_id, waiting(pool, ends, job_id, is_told=job_id in told))
        for job_id in (told + others) * 3
    ]
    for job_id in others:
        wait_until(lambda job_id=job_id: is_awaited(steps, job_id))
    assert len(steps.redis.client_list(_type="pubsub")) == 1

    steps.run_all()

    for job_id, someone in people:
        seen = someone.result(timeout=20)
        assert (seen.job.id, seen.job.status) == (job_id, JobStatus.SUCCEEDED)
        assert seen.results == b"chunk 0\n"
    assert ends._waiting == {}


def test_all_api_processes_that_wait_for_a_job_are_told(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor
) -> None:
    with listening(steps.redis) as other:
        job_id = submit_told(steps, ends)
        people = [
            waiting(pool, ends, job_id, is_told=True),
            *(waiting(pool, place, job_id) for place in (ends, other, other)),
        ]
        channels = f"{ends.channel()} {other.channel()}".encode()
        wait_until(lambda: steps.redis.hget(keys.record(job_id), "awaited_by") == channels)

        steps.run()

        seen = [someone.result(timeout=8) for someone in people]
        assert {each.job.status for each in seen} == {JobStatus.SUCCEEDED}
        assert seen[0].results == b"chunk 0\n"
        # The last of them may have come when the job had ended.
        assert {each.results for each in seen} <= {b"chunk 0\n", b""}


def test_only_so_many_ends_are_kept_for_those_who_never_ask(
    steps: JobSteps, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends_module, "UNCLAIMED", 3)
    jobs = [submit_told(steps, ends) for _ in range(10)]

    steps.run_all()

    wait_until(lambda: jobs[-1] in ends._unclaimed)
    assert list(ends._unclaimed) == jobs[-3:]


def test_all_whose_jobs_end_in_one_commit_are_told_in_one_message(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []
    tell = ends._tell
    monkeypatch.setattr(ends, "_tell", lambda message: (messages.append(message), tell(message)))
    job_ids = [submit_told(steps, ends) for _ in range(5)]
    waits = [waiting(pool, ends, job_id, is_told=True) for job_id in job_ids]

    steps.commit_all(steps.take_together().leases)

    assert [wait.result(timeout=8).job.id for wait in waits] == job_ids
    assert len(messages) == 1


def test_a_message_that_is_not_understood_makes_all_look(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor, redis: Redis
) -> None:
    job_id = submit_told(steps, ends)
    someone = waiting(pool, ends, job_id, is_told=True)
    with steps.redis.pipeline(transaction=True) as pipe:
        pipe.hdel(keys.record(job_id), "awaited_by")
        pipe.publish(TOLD_ON[job_id], b'["job_1",{}]')
        pipe.publish(TOLD_ON[job_id], b"\xff")
        pipe.execute()
    wait_until(lambda: is_awaited(steps, job_id))

    steps.run()

    assert someone.result(timeout=8).job.has_ended


# --- not told


def test_who_waits_too_short_gets_the_job_as_it_is(steps: JobSteps, ends: Ends) -> None:
    for job_id, is_told in ((steps.submit(), False), (submit_told(steps, ends), True)):
        for timeout_seconds in (0.05, 0):
            seen = wait(
                ends,
                job_id,
                timeout_seconds=timeout_seconds,
                told_on=TOLD_ON[job_id] if is_told else "",
            )
            assert (seen.job.id, seen.job.status) == (job_id, JobStatus.QUEUED)
    assert ends._waiting == {}


def test_waiting_for_an_ended_job_takes_no_time(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor
) -> None:
    job_id = steps.submit()
    steps.run()

    seen = pool.submit(wait, ends, job_id, timeout_seconds=LONG).result(timeout=8)

    assert seen.job.has_ended


def test_nobody_waits_for_a_job_that_never_was(steps: JobSteps, ends: Ends) -> None:
    with pytest.raises(JobNotFoundError):
        wait(ends, new_job_id(), timeout_seconds=LONG)

    assert steps.redis.keys() == []


def test_a_wait_may_be_longer_than_the_connection_waits_for_an_answer(
    steps: JobSteps, redis_url: str
) -> None:
    impatient = Redis.from_url(redis_url, socket_timeout=1)
    job_id = steps.submit()

    with listening(impatient) as ends:
        job = wait(ends, job_id, timeout_seconds=1.5).job

    assert job.status is JobStatus.QUEUED
    assert job.read_at_ms - job.created_at_ms >= 1450
    impatient.close()


# --- connections that break


@pytest.mark.parametrize("is_told", [True, False], ids=["at submit", "later"])
def test_an_end_that_was_told_while_the_subscription_was_cut_is_found(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor, *, is_told: bool
) -> None:
    job_id = submit_told(steps, ends) if is_told else steps.submit()
    people = [waiting(pool, ends, job_id, is_told=is_told) for _ in range(3)]
    wait_until(lambda: is_awaited(steps, job_id))

    cut_and_cancel(steps, job_id)

    # Sooner than somebody who looks for themselves now and then.
    for someone in people:
        assert someone.result(timeout=8).job.status is JobStatus.CANCELLED


def test_who_waits_is_told_over_a_new_subscription_when_one_was_cut(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor
) -> None:
    job_id = submit_told(steps, ends)
    someone = waiting(pool, ends, job_id, is_told=True)
    for _ in range(3):
        before = subscriptions(steps.redis)
        steps.redis.client_kill_filter(_type="pubsub")
        wait_until(lambda before=before: subscriptions(steps.redis) - before)

    steps.run()

    assert someone.result(timeout=8).job.status is JobStatus.SUCCEEDED


def subscriptions(redis: Redis) -> set[str]:
    """Connections that listen right now."""
    return {client["id"] for client in redis.client_list(_type="pubsub") if client["sub"] != "0"}


@pytest.mark.parametrize("end", [JobStore.cancel, JobStore.delete], ids=["cancel", "delete"])
def test_an_end_that_nobody_heard_before_anybody_waited_is_found(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor, end: Callable[[JobStore, str], None]
) -> None:
    job_id = submit_told(steps, ends)
    cut_and_cancel(steps, job_id)
    if end is JobStore.delete:
        steps.store.delete(job_id)
    wait_until(lambda: ends._channel != TOLD_ON[job_id])

    someone = waiting(pool, ends, job_id, is_told=True)

    # Sooner than somebody who looks for themselves now and then.
    found = someone.exception(timeout=8) or someone.result()
    assert isinstance(found, JobGoneError) or found.job.status is JobStatus.CANCELLED


def test_who_waits_looks_for_themselves_now_and_then(
    steps: JobSteps, ends: Ends, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is dead and nobody has noticed."""
    monkeypatch.setattr(ends_module, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(ends, "_pass_on", lambda *_: None)
    job_id = submit_told(steps, ends)
    someone = waiting(pool, ends, job_id, is_told=True)

    steps.run()

    assert someone.result(timeout=8).job.status is JobStatus.SUCCEEDED


def test_who_waits_is_told_by_a_server_that_was_restarted(
    run_directory: Path, pool: ThreadPoolExecutor
) -> None:
    directory, job_id = run_directory / "restarted", new_job_id()
    with redis_server(directory, append_only=True) as url:
        redis = connect(url)
        context = listening(redis)
        ends = context.__enter__()
        submit_whole(make_intake(redis), job_id, make_spec(), JobTerms(), make_body())
        someone = waiting(pool, ends, job_id)
        wait_until(lambda: redis.hexists(keys.record(job_id), "awaited_by"))

    with redis_server(directory, append_only=True):
        wait_until(lambda: redis.pubsub_channels("ends:*"))
        JobStore(redis).cancel(job_id)

        assert someone.result(timeout=20).job.status is JobStatus.CANCELLED
        context.__exit__(None, None, None)
        redis.close()


def test_who_can_hear_nothing_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends_module, "SUBSCRIBED_WITHIN_SECONDS", 0.2)
    nobody = connect(f"unix://{tmp_path / 'nobody'}")
    ends = Ends(nobody, JobStore(nobody))

    with pytest.raises(StoreUnavailableError):
        ends.channel()

    ends.close()
    wait_until(lambda: listeners(ends) == [])


def test_who_is_closed_listens_no_more(steps: JobSteps, redis: Redis) -> None:
    with listening(redis) as ends:
        channel = ends.channel()
        assert ends.channel() == channel
        assert redis.pubsub_channels("ends:*") == [channel.encode()]

    assert redis.pubsub_channels("ends:*") == []
    assert steps.redis.keys() == []
