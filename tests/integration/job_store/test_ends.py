"""Cancelled, failed, deleted, expired: the first end stays, and data is freed as promised."""

from collections.abc import Callable

import pytest

from shared.errors import JobGoneError, JobNotFoundError
from shared.job_store import keys
from shared.job_store.store import JobFilter, JobStore
from shared.jobs import JobErrorCode, JobStatus, new_job_id
from tests.job_steps import JobSteps


def test_a_cancelled_job_keeps_what_is_finished_and_frees_its_inputs(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    steps.run()
    steps.leases.give_back(steps.leased())

    steps.store.cancel(job_id)

    job = steps.store.get(job_id)
    assert (job.status, job.succeeded, job.pending) == (JobStatus.CANCELLED, 10, 20)
    assert steps.results(job) == [b"chunk 0\n"]
    assert suffixes(steps, job_id) == {"", ":chunks", ":results", ":tombstone"}


def suffixes(steps: JobSteps, job_id: str) -> set[str]:
    """Which keys a job has."""
    start = keys.record(job_id)
    return {key.decode().removeprefix(start) for key in steps.redis.scan_iter(f"{start}*")}


def test_a_committed_chunk_frees_its_input_and_what_was_noted_of_its_run(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)

    steps.run()

    start = f"{keys.record(job_id)}:input:"
    assert [key.decode() for key in steps.redis.scan_iter(f"{start}*")] == [f"{start}1"]
    kept = {field for field in steps.redis.hkeys(keys.chunks(job_id)) if field.startswith(b"0")}
    assert kept == {b"0", b"0:token", b"0:attempts", b"0:worker"}


def test_a_job_that_fails_keeps_what_is_finished(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)
    steps.run()

    steps.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, "No model.")

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "model_load_failed")
    assert (job.error_detail, steps.results(job)) == ("No model.", [b"chunk 0\n"])


def test_the_first_end_is_the_end(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2, deadline_seconds=50)
    lease = steps.leased()
    steps.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, "No model.")
    before = steps.everything()

    steps.store.cancel(job_id)
    steps.store.fail(job_id, JobErrorCode.UPLOAD_INCOMPLETE, "Gone.")
    steps.close(job_id)
    steps.sweep()
    steps.commit(lease)

    assert steps.everything()[keys.record(job_id).encode()] == before[keys.record(job_id).encode()]


def test_a_deleted_job_leaves_nothing_but_a_tombstone(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3, deadline_seconds=50)
    steps.run(failed=1)
    steps.leases.give_back(steps.leased())

    steps.store.delete(job_id)

    assert suffixes(steps, job_id) == {":tombstone"}
    assert 0 < steps.redis.ttl(keys.tombstone(job_id)) <= 100
    for zset in (keys.JOBS, keys.EXPIRIES, keys.DEADLINES, keys.UPLOADS):
        assert not steps.redis.exists(zset)
    for method in (steps.store.get, steps.store.delete):
        with pytest.raises(JobGoneError, match="deleted"):
            method(job_id)


def test_a_running_job_is_freed_at_once_when_it_is_deleted(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    held = [steps.leased(process) for process in (1, 2)]

    steps.store.delete(job_id)

    assert suffixes(steps, job_id) == {":tombstone"}
    assert [steps.commit(lease) for lease in held] == ["gone", "gone"]
    assert suffixes(steps, job_id) == {":tombstone"}


def test_an_expired_job_leaves_a_tombstone_that_says_so(steps: JobSteps) -> None:
    job_id = steps.submit()
    steps.run()

    steps.expire(job_id)

    for method in (steps.store.get, steps.store.delete):
        with pytest.raises(JobGoneError, match="expired"):
            method(job_id)
    assert steps.store.page(JobFilter(owner=None), limit=9) == ([], False)


def test_a_job_is_kept_for_its_retention_after_its_end_and_not_less_before(
    steps: JobSteps,
) -> None:
    job_id = steps.submit(retention_seconds=50)
    before = steps.redis.ttl(keys.record(job_id))

    steps.run()

    # The sweep must still find the record of a job that never ended.
    assert before == pytest.approx(1000 + 60, abs=20)
    assert steps.redis.ttl(keys.record(job_id)) == pytest.approx(50, abs=20)
    assert steps.redis.ttl(f"{keys.record(job_id)}:results") == pytest.approx(50, abs=20)


@pytest.mark.parametrize(
    "step",
    [
        lambda steps, lease: steps.append(lease.job_id, 5),
        lambda steps, lease: steps.commit(lease),
        lambda steps, lease: steps.leases.begin_part(lease, None, seconds=1),
        lambda steps, lease: steps.leases.give_back(lease),
        lambda steps, _: steps.leased(2),
    ],
    ids=["append", "commit", "begin_part", "give_back", "take"],
)
def test_every_change_to_a_job_counts_its_lifetime_anew(
    steps: JobSteps, step: Callable[..., object]
) -> None:
    job_id = steps.create()
    for number in range(3):
        steps.append(job_id, number)
    steps.run()
    lease = steps.leased()
    steps.age(job_id, seconds=990)
    steps.make_due(keys.EXPIRIES, job_id)

    step(steps, lease)

    assert steps.store.get(job_id).expires_at_ms == pytest.approx(now_ms(steps) + 1e6, abs=20_000)
    lifetimes = steps.lifetimes(job_id)
    assert lifetimes.pop("") == pytest.approx(1000 + 60, abs=20)
    assert lifetimes.pop(":tombstone") == pytest.approx(1000 + 100, abs=20)
    inputs = {suffix for suffix in lifetimes if suffix.startswith(":input:")}
    assert inputs
    assert min(lifetimes.pop(suffix) for suffix in inputs) >= 1000
    assert {":chunks", ":results"} <= lifetimes.keys()
    assert list(lifetimes.values()) == [pytest.approx(1000, abs=20)] * len(lifetimes)
    assert steps.sweep() == []


def now_ms(steps: JobSteps) -> int:
    seconds, microseconds = steps.redis.time()
    return int(seconds * 1000 + microseconds // 1000)


def test_what_happens_soon_after_a_change_costs_no_new_lifetimes(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    steps.age(job_id, seconds=5)
    before = steps.store.get(job_id).expires_at_ms

    steps.run(failed=1)

    assert steps.store.get(job_id).expires_at_ms == before
    lifetimes = steps.lifetimes(job_id)
    new = (":results", ":errors")
    assert [lifetimes[suffix] for suffix in new] == [pytest.approx(1000, abs=4)] * 2
    assert lifetimes[":chunks"] == pytest.approx(995, abs=4)


def test_no_queue_is_too_long_for_an_input(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=5)

    for _ in range(4):
        steps.age(job_id, seconds=990)
        steps.run()

    assert steps.leased().input == b"1\n" * 10


def test_a_tombstone_outlives_its_job(steps: JobSteps) -> None:
    job_id = steps.submit()

    lasts_until_ms = steps.redis.pexpiretime(keys.tombstone(job_id))

    expires_at_ms = steps.store.get(job_id).expires_at_ms
    assert lasts_until_ms == pytest.approx(expires_at_ms + 100_000, abs=2000)
    assert lasts_until_ms > steps.redis.pexpiretime(keys.record(job_id))


def test_who_reads_results_learns_that_their_job_was_deleted(
    steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_store.store.READ_BYTES", 1)
    job_id = steps.submit(chunks=2)
    steps.run_all()
    texts = steps.store.results(steps.store.get(job_id))
    next(texts)

    steps.store.delete(job_id)

    with pytest.raises(JobGoneError):
        next(texts)


@pytest.mark.parametrize(
    "method",
    [
        JobStore.get,
        JobStore.delete,
        lambda store, job_id: list(store.results(store.get(job_id))),
    ],
)
def test_a_job_that_never_was_is_not_found(
    store: JobStore, method: Callable[[JobStore, str], object]
) -> None:
    with pytest.raises(JobNotFoundError):
        method(store, new_job_id())


def test_nothing_is_left_of_ends_of_a_job_that_never_was(steps: JobSteps) -> None:
    job_id = new_job_id()

    steps.store.cancel(job_id)
    steps.store.fail(job_id, JobErrorCode.INPUT_REFUSED, "")

    assert steps.redis.keys() == []
