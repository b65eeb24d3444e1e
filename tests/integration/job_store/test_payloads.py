"""Jobs whose bytes are in an object store: Redis has their state, and nothing of theirs is left."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from shared import payloads
from shared.chunks import RejectedRows
from shared.errors import (
    JobEndedError,
    JobGoneError,
    PayloadLostError,
    PayloadStoreUnavailableError,
)
from shared.job_store import keys
from shared.job_store.garbage import Garbage
from shared.job_store.job_chunks import JobChunks
from shared.job_store.leases import Outcome
from shared.jobs import CHUNK_BYTES, Job, JobStatus
from shared.row_range import RowRange
from tests.factories import make_plan, make_result
from tests.job_steps import JobSteps
from tests.s3_server import S3Server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def url(folder: Path) -> str:
    return f"file://{folder}"


@pytest.fixture
def garbage(redis: Redis) -> Garbage:
    return Garbage(redis)


def objects(folder: Path) -> set[str]:
    """Names of objects, without the job's id and without who wrote them."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        "/".join(path.parts[1:]).rpartition(".")[0] or "/".join(path.parts[1:]) for path in files
    }


def everything(redis: Redis) -> bytes:
    """All values of the server, one behind the other."""
    values = []
    for key in redis.scan_iter():
        kind = redis.type(key)
        if kind == b"string":
            values.append(redis.get(key))
        elif kind == b"hash":
            values += redis.hvals(key)
    return b"\n".join(values)


def run(steps: JobSteps, *, succeeded: int = 10, failed: int = 0) -> Outcome:
    """Take the next chunk and commit texts that name it."""
    lease = steps.leases.fetched(steps.leased())
    number = lease.plan.number
    lines = b"".join(b"result %d %d\n" % (number, row) for row in range(succeeded + failed))
    rejected = RejectedRows(rows=(number,) * failed, lines=(1,) * failed, records=lease.input)
    result = make_result(
        succeeded=succeeded,
        failed=failed,
        results=lines,
        errors=b"error %d\n" % number * failed,
        rejected=rejected if failed else RejectedRows(),
    )
    return steps.leases.commit(lease, result)


def done(steps: JobSteps, url: str, *, chunks: int = 3, failed: int = 2) -> Job:
    job_id = steps.submit(chunks=chunks, payload_url=url)
    for _ in range(chunks):
        assert run(steps, succeeded=10 - failed, failed=failed) is Outcome.COMMITTED
    return steps.store.get(job_id)


def make_due(redis: Redis) -> None:
    for note in redis.zrange(keys.GARBAGE, 0, -1):
        redis.zadd(keys.GARBAGE, {note: 1})


@pytest.fixture(params=["s3", "file"])
def any_url(request: pytest.FixtureRequest, url: str) -> Iterator[str]:
    found = url if request.param == "file" else request.getfixturevalue("s3").url
    yield found
    payloads.opened(found).clear("")


# --- texts


def test_texts_are_read_from_the_object_store_in_order(steps: JobSteps, url: str) -> None:
    job = done(steps, url)

    assert list(steps.store.results(job)) == [
        b"".join(b"result %d %d\n" % (chunk, row) for row in range(10)) for chunk in range(3)
    ]
    assert list(steps.store.errors(job)) == [b"error %d\n" % chunk * 2 for chunk in range(3)]
    assert [found.rows for found in steps.store.rejects(job)] == [(n, n) for n in range(3)]
    assert all(found.records == b"1\n" * 10 for found in steps.store.rejects(job))
    assert b"".join(steps.store.follow(job.id)) == b"".join(steps.store.results(job))
    _, texts = steps.store.get_with_results(job.id)
    assert list(texts) == list(steps.store.results(job))


@pytest.mark.parametrize(
    "rows", [RowRange(offset=7, limit=9), RowRange(offset=12), RowRange(limit=3)]
)
def test_some_rows_are_those_of_all(steps: JobSteps, url: str, rows: RowRange) -> None:
    job = done(steps, url, chunks=4)
    every = b"".join(steps.store.results(job)).splitlines()
    every_error = b"".join(steps.store.errors(job)).splitlines()
    behind = None if rows.limit is None else rows.offset + rows.limit

    assert b"".join(steps.store.results(job, rows)).splitlines() == every[rows.offset : behind]
    assert b"".join(steps.store.errors(job, rows)).splitlines() == every_error[rows.offset : behind]
    followed = b"".join(steps.store.follow(job.id, rows)).splitlines()
    assert followed == every[rows.offset : behind]


def test_a_job_of_one_chunk_is_read_like_any_other(steps: JobSteps, url: str) -> None:
    job = done(steps, url, chunks=1)

    found, texts = steps.store.get_with_results(job.id, RowRange(offset=9))

    assert found.status is JobStatus.PARTIALLY_SUCCEEDED
    assert list(texts) == [b"result 0 9\n"]


def test_heads_of_results_are_read_alone(steps: JobSteps, url: str, redis: Redis) -> None:
    job = done(steps, url)

    assert JobChunks(redis).result_heads(job, [0, 2], size_bytes=10) == [
        b"result 0 0",
        b"result 2 0",
    ]
    assert JobChunks(redis).result_heads(job, [], size_bytes=10) == []


def test_redis_has_nothing_of_what_was_sent_or_rendered(
    steps: JobSteps, url: str, redis: Redis
) -> None:
    job_id = steps.submit(chunks=2, payload_url=url)
    run(steps, failed=1, succeeded=9)

    assert b"1\n1\n1\n1\n" not in everything(redis)
    assert b"result 0" not in everything(redis)
    assert b"error 0" not in everything(redis)
    assert int(redis.memory_usage(keys.results(job_id)) or 0) < CHUNK_BYTES


def test_who_waits_for_the_end_is_not_told_a_reference(
    steps: JobSteps, url: str, redis: Redis
) -> None:
    job_id = steps.submit(payload_url=url)
    with redis.pubsub() as subscription:
        subscription.subscribe(keys.ends("api"))
        steps.store.await_end(job_id, keys.ends("api"))

        run(steps)
        told = [subscription.get_message(timeout=5) for _ in range(2)][-1]

    _, [[told_of, values, results]] = json.loads(told["data"])
    assert (told_of, results) == (job_id, "")
    assert JobStatus.SUCCEEDED in values


def test_a_job_of_before_the_setting_is_read_from_redis(steps: JobSteps, url: str) -> None:
    job_id = steps.submit()
    run(steps)

    assert b"".join(steps.results(job_id)).startswith(b"result 0 0\n")


# --- attempts


def test_a_late_attempt_changes_nothing_and_leaves_nothing(
    steps: JobSteps, url: str, folder: Path
) -> None:
    job_id = steps.submit(chunks=2, payload_url=url)
    late = steps.leases.fetched(steps.leased(1))
    steps.leases.give_back(late)

    assert run(steps) is Outcome.COMMITTED
    assert steps.leases.commit(late, make_result(results=b"late\n")) is Outcome.STALE

    assert b"late" not in b"".join(steps.results(job_id))
    assert {name for name in objects(folder) if name.startswith("results")} == {"results/0.3"}


def test_an_attempt_that_turns_stale_while_it_writes_takes_its_object_back(
    steps: JobSteps, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.submit(payload_url=url)
    late = steps.leases.fetched(steps.leased(1))
    put = payloads.PayloadStore.put

    def slow_put(self: payloads.PayloadStore, name: str, data: bytes) -> None:
        put(self, name, data)
        steps.leases.give_back(late)

    monkeypatch.setattr(payloads.PayloadStore, "put", slow_put)

    assert steps.leases.commit(late, make_result()) is Outcome.STALE
    assert objects(folder) == {"input/0"}


def test_two_holders_of_one_token_write_two_objects(steps: JobSteps, url: str) -> None:
    """A server that lost its last second gives a token out again."""
    job_id = steps.submit(chunks=2, payload_url=url)
    first = steps.leased(1)
    second = replace(first, holder=replace(first.holder, process=2))

    assert steps.leases.commit(first, make_result(results=b"first\n")) is Outcome.COMMITTED
    steps.leases.commit(second, make_result(results=b"the second\n"))

    assert steps.results(job_id) == [b"first\n"]


def test_a_commit_whose_answer_was_lost_is_repeated(steps: JobSteps, url: str) -> None:
    job_id = steps.submit(chunks=2, payload_url=url)
    lease = steps.leased(1)

    outcomes = [steps.leases.commit(lease, make_result(results=b"once\n")) for _ in range(2)]

    assert outcomes == [Outcome.COMMITTED, Outcome.COMMITTED]
    assert steps.results(job_id) == [b"once\n"]


def test_a_chunk_that_comes_when_the_job_has_ended_is_not_kept(
    steps: JobSteps, url: str, folder: Path
) -> None:
    job_id = steps.create(payload_url=url)
    steps.store.cancel(job_id)

    with pytest.raises(JobEndedError):
        steps.append(job_id, payload_url=url)

    assert objects(folder) == set()


# --- room


def test_only_what_goes_to_redis_is_promised(steps: JobSteps, url: str) -> None:
    spec_bytes = steps.store.get(steps.submit(payload_url=url)).spec.result_bytes(
        10**6, input_bytes=10**9
    )

    assert spec_bytes == CHUNK_BYTES


# --- what is left


def test_inputs_go_with_the_end_and_the_rest_stays(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, redis: Redis
) -> None:
    job = done(steps, url, chunks=2)
    garbage.work_off()
    # Redis may lose its last second, with the end in it.
    assert {"input/0", "input/1"} < objects(folder)

    make_due(redis)
    garbage.work_off()

    assert objects(folder) == {"results/0.1", "results/1.1"}
    assert len(list(steps.store.results(job))) == 2
    assert redis.zcard(keys.GARBAGE) == 0


def test_inputs_of_a_cancelled_job_go(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, redis: Redis
) -> None:
    job_id = steps.submit(chunks=3, payload_url=url)
    run(steps)
    steps.store.cancel(job_id)

    make_due(redis)
    garbage.work_off()

    assert objects(folder) == {"results/0.1"}
    assert len(steps.results(job_id)) == 1


@pytest.mark.parametrize("is_done", [True, False])
def test_deleting_a_job_leaves_no_object(
    steps: JobSteps, any_url: str, is_done: bool, redis: Redis
) -> None:
    job_id = steps.submit(chunks=2, payload_url=any_url)
    for _ in range(2 if is_done else 1):
        run(steps)

    steps.store.delete(job_id)

    assert payloads.opened(any_url).clear(f"{job_id}/") == 0
    assert redis.hlen(keys.PAYLOADS) == 0


def test_what_a_late_attempt_writes_after_the_deletion_is_found(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, redis: Redis
) -> None:
    """It was about to write when the job was deleted, and died then."""
    job_id = steps.submit(payload_url=url)
    steps.leased(1)
    steps.store.delete(job_id)
    payloads.opened(url).put(f"{job_id}/results/0.1.ff", b"late")
    garbage.work_off()
    assert objects(folder) == {"results/0.1"}

    make_due(redis)
    garbage.work_off()

    assert list(folder.iterdir()) == []
    assert redis.exists(keys.GARBAGE) == 0


def test_an_attempt_on_a_deleted_job_writes_nothing(
    steps: JobSteps, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = steps.submit(payload_url=url)
    lease = steps.leases.fetched(steps.leased(1))
    steps.store.delete(job_id)
    written: list[str] = []
    monkeypatch.setattr(payloads.PayloadStore, "put", lambda *args: written.append(args[1]))

    assert steps.leases.commit(lease, make_result()) is Outcome.GONE
    assert written == []


def test_a_job_that_expired_leaves_no_object(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, redis: Redis
) -> None:
    """Its record is gone when the sweep comes."""
    job = done(steps, url)
    steps.expire(job.id)

    assert ("expired", job.id) in steps.sweep()
    make_due(redis)
    garbage.work_off()

    assert list(folder.iterdir()) == []
    assert redis.exists(keys.GARBAGE, keys.PAYLOADS) == 0


def test_an_upload_whose_api_died_leaves_no_input(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, redis: Redis
) -> None:
    """It had written an object of which it had not told Redis."""
    job_id = steps.create(payload_url=url)
    steps.append(job_id, payload_url=url)
    payloads.opened(url).put(f"{job_id}/input/1", b"1\n")
    steps.make_due(keys.UPLOADS, job_id)

    assert steps.sweep() == [("upload_incomplete", job_id)]
    make_due(redis)
    garbage.work_off()

    assert objects(folder) == set()


def test_who_dies_while_deleting_is_made_up_for(
    steps: JobSteps, url: str, folder: Path, garbage: Garbage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = done(steps, url)
    clear = payloads.PayloadStore.clear

    def die(self: payloads.PayloadStore, prefix: str) -> int:
        raise PayloadStoreUnavailableError

    monkeypatch.setattr(payloads.PayloadStore, "clear", die)
    steps.store.delete(job.id)
    with pytest.raises(PayloadStoreUnavailableError):
        garbage.work_off()
    assert objects(folder)
    monkeypatch.setattr(payloads.PayloadStore, "clear", clear)

    garbage.work_off()
    assert objects(folder), "what was claimed is not anybody's yet"
    make_due(steps.redis)
    garbage.work_off()

    assert list(folder.iterdir()) == []


# --- what is not there


def test_an_object_that_is_lost_is_told_apart_from_a_job_that_is_gone(
    steps: JobSteps, url: str, folder: Path
) -> None:
    job = done(steps, url)
    reading = steps.store.results(job)
    payloads.opened(url).clear(f"{job.id}/results/")

    with pytest.raises(PayloadLostError, match=job.id):
        list(reading)

    steps.store.delete(job.id)
    with pytest.raises(JobGoneError):
        list(steps.store.results(job))


def test_a_reader_meets_the_deletion_of_its_job(
    steps: JobSteps, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "AHEAD_BYTES", 1)
    job = done(steps, url, chunks=3)
    reading = steps.store.results(job)
    next(reading)

    steps.store.delete(job.id)

    with pytest.raises(JobGoneError):
        list(reading)


def test_a_result_is_kept_whose_commit_ended_the_job_and_was_repeated(
    steps: JobSteps, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = steps.submit(payload_url=url)
    once = steps.redis.execute_command

    # As the client does that loses an answer.
    def twice(*command: object, **options: object) -> object:
        once(*command, **options)
        return once(*command, **options)

    monkeypatch.setattr(steps.redis, "execute_command", twice)

    assert run(steps, succeeded=1) is Outcome.COMMITTED
    assert steps.results(job_id) == [b"result 0 0\n"]


def test_records_that_are_lost_are_told(steps: JobSteps, url: str) -> None:
    job_id = steps.submit(payload_url=url)
    lease = steps.leased(1)
    payloads.opened(url).clear(f"{job_id}/")

    with pytest.raises(PayloadLostError):
        steps.leases.fetched(lease)


def test_a_store_that_is_away_is_told(steps: JobSteps, s3: S3Server) -> None:
    job = done(steps, s3.url)
    other = steps.submit(payload_url=s3.url)
    lease = steps.leased(1)
    assert lease.job_id == other

    with s3.failing(403):
        for step in (
            lambda: list(steps.store.results(job)),
            lambda: list(steps.store.follow(job.id)),
            lambda: steps.leases.fetched(lease),
            lambda: steps.leases.commit(lease, make_result()),
            lambda: steps.append(other, 1, plan=make_plan(1), payload_url=s3.url),
        ):
            with pytest.raises(PayloadStoreUnavailableError):
                step()

    # The process asks anew, which gives back what it held.
    assert run(steps) is Outcome.COMMITTED
    for job_id in (job.id, other):
        steps.store.delete(job_id)
    assert s3.names() == []


def test_a_deletion_while_the_store_is_away_is_made_up_for(
    steps: JobSteps, s3: S3Server, garbage: Garbage
) -> None:
    job = done(steps, s3.url)
    with s3.failing(503):
        steps.store.delete(job.id)
    assert s3.names()

    make_due(steps.redis)
    garbage.work_off()

    assert s3.names() == []
