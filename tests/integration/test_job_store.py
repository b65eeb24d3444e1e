"""Jobs in a real server: every step may be repeated, come late or come in any order."""

import inspect
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from shared.errors import (
    JobEndedError,
    JobError,
    JobGoneError,
    JobNotFoundError,
    StoreFullError,
    StoreUnavailableError,
)
from shared.job_store import keys, records
from shared.job_store.connection import connect
from shared.job_store.store import CommitOutcome, JobFilter, JobStore, Lease, LeaseRefusal
from shared.job_store.workers import WorkerRegistry
from shared.jobs import Job, JobErrorCode, JobStatus, new_job_id
from tests.factories import make_plan, make_result, make_spec
from tests.waiting import wait_until

OPERATIONS = st.sampled_from(["append", "close", "lease", "commit", "late", "cancel", "fail"])


def examples(number: int) -> settings:
    # Every example makes a job of its own in the one server.
    shared_server = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=number, deadline=None, suppress_health_check=shared_server)


def create(store: JobStore, **spec: Any) -> str:
    """A job that is receiving."""
    job_id = new_job_id()
    store.create(job_id, make_spec(**spec))
    return job_id


def append(store: JobStore, job_id: str, number: int = 0, *, window: int = 100) -> list[int]:
    """Add a chunk of ten rows."""
    return store.append_chunk(job_id, make_plan(number), b"1\n" * 10, window=window)


def close(store: JobStore, job_id: str) -> None:
    store.close_input(job_id, input_bytes=22, sha256="a" * 64)


def submit(store: JobStore, *, chunks: int = 1, window: int = 100, **spec: Any) -> str:
    """A job whose input is all there."""
    job_id = create(store, **spec)
    for number in range(chunks):
        append(store, job_id, number, window=window)
    close(store, job_id)
    return job_id


def lease(store: JobStore, job_id: str, chunk: int = 0, *, max_attempts: int = 9) -> Lease:
    found = store.lease(job_id, chunk, owner="worker/1", max_attempts=max_attempts)
    assert isinstance(found, Lease)
    return found


def commit(
    store: JobStore, held: Lease, *, failed: int = 0, window: int = 100
) -> tuple[CommitOutcome, list[int]]:
    """Commit ten rows, whose result names their chunk."""
    result = make_result(
        succeeded=10 - failed, failed=failed, results=b"chunk %d\n" % held.plan.number
    )
    return store.commit(held, result, window=window)


def run(store: JobStore, job_id: str, chunk: int = 0, *, failed: int = 0) -> CommitOutcome:
    return commit(store, lease(store, job_id, chunk), failed=failed)[0]


def counts(store: JobStore, job_id: str) -> tuple[int, int, int, int]:
    job = store.get(job_id)
    return job.total, job.succeeded, job.failed, job.pending


def everything(redis: Redis) -> dict[bytes, Any]:
    """All that the server holds but the moments at which jobs expire."""
    found: dict[bytes, Any] = {}
    for key in redis.scan_iter():
        found[key] = redis.hgetall(key) if redis.type(key) == b"hash" else redis.dump(key)
        if isinstance(found[key], dict):
            found[key].pop(b"expires_at_ms", None)
    return found


# --- a job's life


def test_a_job_goes_from_receiving_to_succeeded(store: JobStore) -> None:
    job_id = create(store)
    append(store, job_id)
    seen = [store.get(job_id).status]
    close(store, job_id)
    seen.append(store.get(job_id).status)
    held = lease(store, job_id)
    seen.append(store.get(job_id).status)
    commit(store, held)
    seen.append(store.get(job_id).status)

    assert seen == ["receiving", "queued", "running", "succeeded"]


def test_a_job_that_is_scored_while_it_arrives_is_running_once_it_is_here(store: JobStore) -> None:
    job_id = create(store)
    append(store, job_id, 0)
    append(store, job_id, 1)
    run(store, job_id, 0)
    assert store.get(job_id).status is JobStatus.RECEIVING

    close(store, job_id)

    assert store.get(job_id).status is JobStatus.RUNNING


def test_closing_the_input_ends_a_job_whose_rows_are_all_scored(store: JobStore) -> None:
    job_id = create(store)
    append(store, job_id)
    run(store, job_id)

    close(store, job_id)

    assert store.get(job_id).status is JobStatus.SUCCEEDED


def test_a_job_holds_what_it_was_made_of(store: JobStore) -> None:
    spec = make_spec(header=("größe", 'a "b"'), carried=("größe",), delimiter="\t")
    job_id = new_job_id()
    store.create(job_id, spec)
    append(store, job_id)
    close(store, job_id)

    job = store.get(job_id)

    assert (job.id, job.spec, job.input_bytes, job.input_sha256) == (job_id, spec, 22, "a" * 64)
    assert job.created_at_ms <= job.read_at_ms < job.expires_at_ms
    assert (job.started_at_ms, job.finished_at_ms) == (None, None)


@pytest.mark.parametrize(
    ("failed", "status", "code"),
    [
        ((0, 0), JobStatus.SUCCEEDED, None),
        ((1, 0), JobStatus.PARTIALLY_SUCCEEDED, None),
        ((10, 0), JobStatus.PARTIALLY_SUCCEEDED, None),
        ((10, 10), JobStatus.FAILED, "all_rows_failed"),
    ],
)
def test_the_last_commit_ends_the_job_by_its_counts(
    store: JobStore, failed: tuple[int, int], status: JobStatus, code: str | None
) -> None:
    job_id = submit(store, chunks=2)

    for chunk, number in enumerate(failed):
        run(store, job_id, chunk, failed=number)

    job = store.get(job_id)
    assert (job.status, job.error_code) == (status, code)
    assert job.finished_at_ms is not None
    assert job.started_at_ms is not None


@pytest.mark.parametrize(
    ("threshold", "has_failed"), [(-1, False), (3, False), (2, True), (0, True)]
)
def test_more_failed_rows_than_allowed_end_the_job_at_once(
    store: JobStore, threshold: int, *, has_failed: bool
) -> None:
    job_id = submit(store, chunks=2, error_threshold=threshold)

    run(store, job_id, failed=3)

    job = store.get(job_id)
    assert (job.status is JobStatus.FAILED) == has_failed
    assert job.error_code == ("error_threshold_exceeded" if has_failed else None)
    assert job.has_ended == has_failed


@examples(25)
@given(order=st.permutations(range(5)), failed=st.lists(st.integers(0, 10), min_size=5, max_size=5))
def test_commits_in_any_order_give_the_same_end(
    store: JobStore, order: list[int], failed: list[int]
) -> None:
    job_id = submit(store, chunks=5)

    for chunk in order:
        run(store, job_id, chunk, failed=failed[chunk])

    job = store.get(job_id)
    ends = {0: JobStatus.SUCCEEDED, 50: JobStatus.FAILED}
    assert job.status is ends.get(sum(failed), JobStatus.PARTIALLY_SUCCEEDED)
    assert (job.failed, job.pending, job.chunks_done) == (sum(failed), 0, 5)
    assert list(store.results(job)) == [b"chunk %d\n" % number for number in range(5)]
    assert b"".join(store.errors(job)) == b"bad\n" * sum(failed)


@examples(40)
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_no_sequence_of_steps_breaks_a_job(
    store: JobStore, redis: Redis, operations: list[str]
) -> None:
    job_id = create(store)
    before = store.get(job_id)
    held: list[Lease] = []

    for operation in operations:
        take_step(store, job_id, operation, held)

        job = store.get(job_id)
        assert job.succeeded + job.failed + job.pending == job.total >= before.total
        assert 0 <= job.chunks_done <= job.chunks_total
        assert min(job.pending, job.succeeded, job.failed) >= 0
        assert not before.has_ended or same_end(before, job)
        assert_all_expire(redis)
        before = job


def take_step(store: JobStore, job_id: str, operation: str, held: list[Lease]) -> None:
    """One step of an API or a worker; refusals are answers, too."""
    job = store.get(job_id)
    chunk = max(0, job.chunks_total - 1)
    if operation == "append" and not job.has_ended and job.input_sha256 is None:
        append(store, job_id, job.chunks_total)
    elif operation == "lease":
        found = store.lease(job_id, chunk, owner="w", max_attempts=4)
        held += [found] if isinstance(found, Lease) else []
    elif operation in ("commit", "late") and held:
        commit(store, held[-1 if operation == "commit" else 0], failed=chunk % 3)
    elif operation == "fail":
        store.fail(job_id, JobErrorCode.UPLOAD_INCOMPLETE, "gone")
    elif operation == "cancel":
        store.cancel(job_id)
    elif operation == "close" and job.chunks_total:
        close(store, job_id)


def same_end(before: Job, after: Job) -> bool:
    """Whether nothing of an ended job has changed."""
    return {**vars(before), "read_at_ms": ANY} == vars(after)


def assert_all_expire(redis: Redis) -> None:
    """Every key of a job has a lifetime."""
    for key in redis.scan_iter("job:*"):
        assert redis.ttl(key) > 0, key


# --- repeats after a lost answer


@pytest.mark.parametrize(
    "step",
    [
        lambda store, job_id: store.create(job_id, make_spec(header=("other",))),
        lambda store, job_id: append(store, job_id, 0),
        close,
        lambda store, job_id: store.cancel(job_id),
        lambda store, job_id: store.fail(job_id, JobErrorCode.INPUT_REFUSED, "Bad."),
    ],
    ids=["create", "append_chunk", "close_input", "cancel", "fail"],
)
def test_a_step_repeated_changes_nothing(
    store: JobStore, redis: Redis, step: Callable[[JobStore, str], object]
) -> None:
    job_id = create(store)
    append(store, job_id)
    step(store, job_id)
    before = everything(redis)

    step_if_open(step, store, job_id)

    assert everything(redis) == before


def step_if_open(step: Callable[[JobStore, str], object], store: JobStore, job_id: str) -> None:
    try:
        step(store, job_id)
    except JobEndedError:
        assert store.get(job_id).has_ended


def test_a_repeated_append_tells_again_what_to_queue_until_a_worker_has_it(store: JobStore) -> None:
    job_id = create(store)
    assert append(store, job_id) == append(store, job_id) == [0]

    lease(store, job_id)

    assert append(store, job_id) == []


def test_a_repeated_commit_changes_nothing_and_tells_again_what_to_queue(
    store: JobStore, redis: Redis
) -> None:
    job_id = submit(store, chunks=3, window=1)
    held = lease(store, job_id)
    first = commit(store, held, window=1)
    before = everything(redis)

    again = commit(store, held, failed=3, window=1)

    assert first == again == (CommitOutcome.COMMITTED, [1])
    assert everything(redis) == before


# --- window


def test_no_more_chunks_are_queued_than_the_window_holds(store: JobStore) -> None:
    job_id = create(store)

    queued = [append(store, job_id, number, window=2) for number in range(4)]

    assert queued == [[0], [1], [], []]


def test_a_committed_chunk_releases_the_next_one(store: JobStore) -> None:
    job_id = submit(store, chunks=4, window=2)

    released = [commit(store, lease(store, job_id, n), window=2)[1] for n in (1, 0, 2, 3)]

    assert released == [[2], [3], [], []]


def test_a_window_that_has_grown_releases_several(store: JobStore) -> None:
    job_id = submit(store, chunks=5, window=1)

    assert commit(store, lease(store, job_id), window=3)[1] == [1, 2, 3]


# --- leases


def test_a_lease_holds_all_a_worker_needs(store: JobStore) -> None:
    job_id = submit(store)

    held = lease(store, job_id)

    assert (held.job_id, held.spec, held.plan) == (job_id, make_spec(), make_plan())
    assert held.input == b"1\n" * 10


def test_only_the_newest_lease_of_a_chunk_can_commit(store: JobStore) -> None:
    job_id = submit(store)
    old, new = lease(store, job_id), lease(store, job_id)

    assert commit(store, old) == (CommitOutcome.STALE, [])
    assert counts(store, job_id) == (10, 0, 0, 10)
    assert commit(store, new)[0] is CommitOutcome.COMMITTED
    assert commit(store, old)[0] is CommitOutcome.ENDED


def test_a_late_commit_leaves_the_results_of_the_newer_one(store: JobStore) -> None:
    job_id = submit(store, chunks=2)
    old = lease(store, job_id)
    run(store, job_id)

    outcome = commit(store, old, failed=10)[0]

    assert outcome is CommitOutcome.STALE
    assert counts(store, job_id) == (20, 10, 0, 10)


@pytest.mark.parametrize(
    ("end", "refusal", "outcome"),
    [
        (lambda store, job_id: store.cancel(job_id), LeaseRefusal.ENDED, CommitOutcome.ENDED),
        (lambda store, job_id: store.delete(job_id), LeaseRefusal.GONE, CommitOutcome.GONE),
        (run, LeaseRefusal.COMMITTED, CommitOutcome.STALE),
    ],
)
def test_a_worker_learns_that_nothing_is_left_to_do(
    store: JobStore,
    end: Callable[[JobStore, str], object],
    refusal: LeaseRefusal,
    outcome: CommitOutcome,
) -> None:
    job_id = submit(store, chunks=2)
    held = lease(store, job_id)

    end(store, job_id)

    assert commit(store, held)[0] is outcome
    assert store.lease(job_id, 0, owner="w", max_attempts=9) is refusal


def test_a_chunk_leased_too_often_ends_the_job(store: JobStore) -> None:
    job_id = submit(store, chunks=2)
    run(store, job_id, 1)
    for _ in range(3):
        lease(store, job_id, max_attempts=3)

    refusal = store.lease(job_id, 0, owner="w", max_attempts=3)

    job = store.get(job_id)
    assert refusal is LeaseRefusal.EXHAUSTED
    assert (job.status, job.error_code) == (JobStatus.FAILED, "attempts_exhausted")
    assert list(store.results(job)) == [b"chunk 1\n"]


# --- ends


def test_a_cancelled_job_keeps_what_is_finished_and_frees_its_inputs(
    store: JobStore, redis: Redis
) -> None:
    job_id = submit(store, chunks=2)
    run(store, job_id)

    store.cancel(job_id)

    job = store.get(job_id)
    assert (job.status, job.succeeded, job.pending) == (JobStatus.CANCELLED, 10, 10)
    assert list(store.results(job)) == [b"chunk 0\n"]
    assert not redis.exists(f"{keys.record(job_id)}:inputs")


def test_a_committed_chunk_frees_its_input(store: JobStore, redis: Redis) -> None:
    job_id = submit(store, chunks=2)

    run(store, job_id)

    assert redis.hkeys(f"{keys.record(job_id)}:inputs") == [b"1"]


@pytest.mark.parametrize("end", [JobStore.cancel, JobStore.delete])
def test_the_intake_learns_that_its_job_has_ended(
    store: JobStore, end: Callable[[JobStore, str], None]
) -> None:
    job_id = create(store)
    append(store, job_id)

    end(store, job_id)

    with pytest.raises((JobEndedError, JobGoneError)):
        append(store, job_id, 1)


def test_the_first_end_is_the_end(store: JobStore) -> None:
    job_id = submit(store)
    store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, "No model.")

    store.cancel(job_id)
    store.fail(job_id, JobErrorCode.UPLOAD_INCOMPLETE, "Gone.")
    close(store, job_id)

    job = store.get(job_id)
    assert (job.status, job.error_code) == (JobStatus.FAILED, "model_load_failed")
    assert job.error_detail == "No model."


def test_a_deleted_job_leaves_nothing_but_a_tombstone(store: JobStore, redis: Redis) -> None:
    job_id = submit(store, chunks=2)
    run(store, job_id)

    store.delete(job_id)

    assert redis.keys() == [keys.tombstone(job_id).encode()]
    assert 0 < redis.ttl(keys.tombstone(job_id)) <= 100
    for method in (store.get, store.delete):
        with pytest.raises(JobGoneError, match="deleted"):
            method(job_id)


def test_an_expired_job_leaves_a_tombstone_that_says_so(store: JobStore, redis: Redis) -> None:
    job_id = submit(store)
    run(store, job_id)

    expire_at_once(redis, job_id)

    with pytest.raises(JobGoneError, match="expired"):
        store.get(job_id)
    assert store.page(JobFilter(), limit=9) == ([], False)
    assert store.lease(job_id, 0, owner="w", max_attempts=1) is LeaseRefusal.GONE


def expire_at_once(redis: Redis, job_id: str) -> None:
    """Let all that the retention bounds reach its end."""
    for key in redis.scan_iter(f"{keys.record(job_id)}*"):
        if key != keys.tombstone(job_id).encode():
            redis.pexpire(key, 0)


def test_a_job_is_kept_for_its_retention_after_its_end_and_not_less_before(
    store: JobStore, redis: Redis
) -> None:
    job_id = submit(store, retention_seconds=50)
    before = redis.ttl(keys.record(job_id))

    run(store, job_id)

    assert before == pytest.approx(1000, abs=2)
    assert redis.ttl(keys.record(job_id)) == pytest.approx(50, abs=2)


def test_a_tombstone_outlives_its_job(store: JobStore, redis: Redis) -> None:
    job_id = submit(store)

    assert redis.ttl(keys.tombstone(job_id)) == redis.ttl(keys.record(job_id)) + 100


def test_who_reads_results_learns_that_their_job_was_deleted(store: JobStore) -> None:
    job_id = submit(store, chunks=2)
    run(store, job_id, 0)
    run(store, job_id, 1)
    texts = store.results(store.get(job_id))
    next(texts)

    store.delete(job_id)

    with pytest.raises(JobGoneError):
        next(texts)


@pytest.mark.parametrize(
    "method",
    [
        JobStore.get,
        JobStore.delete,
        lambda store, job_id: store.wait_until_ended(job_id, timeout_seconds=5),
        append,
    ],
)
def test_a_job_that_never_was_is_not_found(
    store: JobStore, method: Callable[[JobStore, str], object]
) -> None:
    with pytest.raises(JobNotFoundError):
        method(store, new_job_id())


def test_nothing_is_left_of_steps_on_a_job_that_never_was(store: JobStore, redis: Redis) -> None:
    job_id = new_job_id()

    store.cancel(job_id)
    store.fail(job_id, JobErrorCode.INPUT_REFUSED, "")
    close(store, job_id)
    store.lease(job_id, 0, owner="w", max_attempts=1)

    assert redis.keys() == []


# --- waiting


@pytest.mark.parametrize("end", [run, JobStore.cancel, JobStore.delete])
def test_who_waits_is_woken_when_the_job_ends(
    store: JobStore, redis: Redis, end: Callable[[JobStore, str], object]
) -> None:
    job_id = submit(store)
    before = records_read(redis)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.wait_until_ended, job_id, timeout_seconds=60)
        wait_until(lambda: records_read(redis) > before)  # it has seen that there is no end yet

        end(store, job_id)

        found = waiting.exception(timeout=10) or waiting.result()
    assert isinstance(found, JobError) or found.has_ended


def records_read(redis: Redis) -> int:
    """How often the server was asked for a whole record so far."""
    return int(redis.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"])


def test_who_waits_too_short_gets_the_job_as_it_is(store: JobStore) -> None:
    job_id = submit(store)

    assert store.wait_until_ended(job_id, timeout_seconds=0.05).status is JobStatus.QUEUED
    assert store.wait_until_ended(job_id, timeout_seconds=0).status is JobStatus.QUEUED


def test_waiting_for_an_ended_job_takes_no_time(store: JobStore) -> None:
    job_id = submit(store)
    run(store, job_id)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.wait_until_ended, job_id, timeout_seconds=60)

        assert waiting.result(timeout=10).has_ended


def test_a_wait_may_be_longer_than_the_connection_waits_for_an_answer(
    store: JobStore, redis_url: str
) -> None:
    impatient = Redis.from_url(redis_url, socket_timeout=0.1)
    patient = JobStore(impatient, tombstone_seconds=1, max_retention_seconds=1)
    job_id = submit(store)

    job = patient.wait_until_ended(job_id, timeout_seconds=0.5)

    assert job.status is JobStatus.QUEUED
    assert job.read_at_ms - job.created_at_ms >= 450
    impatient.close()


# --- lists


def ids(page: tuple[list[Job], bool]) -> list[str]:
    return [job.id for job in page[0]]


def create_at(store: JobStore, milliseconds: int, **spec: Any) -> str:
    """A job whose id says that it was created so long after a fixed moment of this year."""
    job_id = f"job_{new_job_id()[4:10]}ffff{milliseconds:02x}{'0' * 20}"
    store.create(job_id, make_spec(**spec))
    return job_id


def test_jobs_are_listed_newest_first_page_by_page(store: JobStore) -> None:
    created = [create_at(store, at) for at in (3, 1, 2, 5, 4)]
    newest_first = sorted(created, reverse=True)

    first = store.page(JobFilter(), limit=2)
    second = store.page(JobFilter(after=ids(first)[-1]), limit=2)
    third = store.page(JobFilter(after=ids(second)[-1]), limit=2)

    assert ids(first) + ids(second) + ids(third) == newest_first
    assert [has_more for _, has_more in (first, second, third)] == [True, True, False]


def test_a_list_shows_only_what_was_asked_for(store: JobStore) -> None:
    wanted = create_at(store, 1, model_name="line")
    for at, name in enumerate(("line", "echo"), start=2):
        store.cancel(create_at(store, at, model_name=name))

    found = store.page(JobFilter(status=JobStatus.RECEIVING, model="line"), limit=1)

    assert (ids(found), found[1]) == ([wanted], False)


def test_a_filter_finds_jobs_behind_many_others(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.job_store.store.LIST_BATCH", 2)
    wanted = [create_at(store, at, model_name="line") for at in (1, 2)]
    for at in range(3, 10):
        create_at(store, at)

    assert ids(store.page(JobFilter(model="line"), limit=9)) == wanted[::-1]


def test_a_page_goes_on_after_a_job_that_is_gone(store: JobStore) -> None:
    created = [create_at(store, at) for at in (1, 2, 3)]
    store.delete(created[1])

    assert ids(store.page(JobFilter(after=created[1]), limit=9)) == [created[0]]


def test_ids_of_jobs_long_expired_are_taken_off_the_list(store: JobStore, redis: Redis) -> None:
    redis.zadd(keys.JOBS, {f"job_000000000001{'0' * 20}": 0})

    job_id = create(store)

    assert redis.zrange(keys.JOBS, 0, -1) == [job_id.encode()]


# --- bounds


def test_a_server_that_is_full_refuses_new_work_but_takes_results(
    store: JobStore, redis: Redis
) -> None:
    job_id = submit(store)
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFullError):
            create(store)
        assert run(store, job_id) is CommitOutcome.COMMITTED
        store.delete(job_id)
    finally:
        redis.config_set("maxmemory", 0)


def test_a_server_that_takes_no_writes_is_out_of_reach(store: JobStore, redis: Redis) -> None:
    redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(StoreUnavailableError):
            create(store)
    finally:
        redis.replicaof("NO", "ONE")


def test_a_server_that_is_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    nobody = connect(f"unix://{tmp_path / 'nobody'}")
    store = JobStore(nobody, tombstone_seconds=1, max_retention_seconds=1)

    for method in (store.get, store.cancel, store.delete):
        with pytest.raises(StoreUnavailableError):
            method("job_1")


# --- what the legends promise


def table_rows(module: object) -> list[list[str]]:
    """Cells of the table in a module's docstring, a row each line, without head and rule."""
    lines = [line for line in str(inspect.getdoc(module)).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def run_everything(store: JobStore, redis: Redis) -> str:
    """A job that ends with results and errors, one that is queued, a worker and its speed."""
    finished = submit(store, chunks=2)
    run(store, finished, 0, failed=1)
    run(store, finished, 1, failed=10)
    lease(store, submit(store))
    failed = submit(store)
    store.fail(failed, JobErrorCode.UPLOAD_INCOMPLETE, "Gone.")
    WorkerRegistry(redis).beat("worker@host", processes=2)
    WorkerRegistry(redis).record_speed("echo/1", 100.0)
    return failed


def test_every_key_in_the_server_is_in_the_legend_with_its_type(
    store: JobStore, redis: Redis
) -> None:
    run_everything(store, redis)

    found = {
        (re.sub(r"\{job_\w+\}", "{id}", key.decode()), redis.type(key).decode())
        for key in redis.scan_iter()
    }

    legend = {(name, kind) for name, kind, *_ in table_rows(keys) if name and kind != "channel"}
    assert found == legend


def test_every_field_of_a_record_is_in_the_table(store: JobStore, redis: Redis) -> None:
    failed = run_everything(store, redis)

    names = ", ".join(row[0] for row in table_rows(records)).replace("…", "*")
    patterns = [name for name in re.split(r"[, ]+", names) if name]
    written = {
        field.decode() for key in redis.scan_iter("job:{*}") for field in redis.hkeys(key)
    } | {field.decode() for field in redis.hkeys(keys.record(failed))}
    assert [name for name in written if not any(fnmatch(name, p) for p in patterns)] == []
    assert [p for p in patterns if not any(fnmatch(name, p) for name in written)] == []


def test_every_key_expires_but_the_one_that_is_trimmed(store: JobStore, redis: Redis) -> None:
    run_everything(store, redis)

    lasting = {key.decode() for key in redis.scan_iter() if redis.ttl(key) < 0}

    lifetimes = {name: lifetime for name, _, _, lifetime, _ in table_rows(keys) if name}
    assert lasting == {keys.JOBS}
    assert lifetimes[keys.JOBS] == "trimmed by"


def test_all_keys_of_a_job_share_one_hash_tag() -> None:
    tags = {re.findall(r"\{(.*?)\}", key)[0] for key in keys.job_keys("job_1")}

    assert tags == {"job_1"}
