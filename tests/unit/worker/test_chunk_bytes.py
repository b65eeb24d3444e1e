"""How long an attempt waits for an object store, and what becomes of records that are not there."""

from pathlib import Path

import pytest

from shared import payloads
from shared.job_store.leases import Outcome
from shared.jobs import JobErrorCode
from tests.factories import make_result
from tests.job_steps import JobSteps
from tests.s3_server import S3Server
from worker import chunk_bytes
from worker.chunk_bytes import AttemptOverError, ChunkBytes


def bytes_of_chunks(steps: JobSteps, *, patience_seconds: float = 60) -> ChunkBytes:
    return ChunkBytes(
        store=steps.store,
        leases=steps.leases,
        time_limit_seconds=10,
        patience_seconds=patience_seconds,
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/objects"


def test_records_in_redis_are_there_already(steps: JobSteps) -> None:
    steps.submit()
    lease = steps.leased()

    assert bytes_of_chunks(steps).fetched(lease) is lease


@pytest.mark.parametrize("step", ["fetch", "commit"])
def test_who_waited_for_long_enough_gives_the_chunk_back_and_nothing_is_held_against_it(
    steps: JobSteps, s3: S3Server, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(chunk_bytes, "STAND_BACK_SECONDS", 0)
    job_id = steps.submit(payload_url=s3.url)
    lease, found = steps.leased(), bytes_of_chunks(steps, patience_seconds=0)

    with s3.failing(403), pytest.raises(AttemptOverError) as caught:
        found.fetched(lease) if step == "fetch" else found.commit(lease, make_result())

    assert caught.value.outcome is Outcome.RETURNED
    again = steps.leased(2)
    assert (again.plan, again.losses) == (lease.plan, ())
    assert steps.store.get(job_id).attempts_lost == 0
    steps.store.delete(job_id)


def test_who_waits_learns_that_the_job_has_ended(steps: JobSteps, s3: S3Server) -> None:
    job_id = steps.submit(payload_url=s3.url)
    lease = steps.leased()
    steps.store.cancel(job_id)

    with s3.failing(403), pytest.raises(AttemptOverError) as caught:
        bytes_of_chunks(steps).fetched(lease)

    assert caught.value.outcome is Outcome.ENDED
    steps.store.delete(job_id)


def test_a_job_whose_records_are_lost_fails_and_says_so(steps: JobSteps, url: str) -> None:
    job_id = steps.submit(payload_url=url)
    lease = steps.leased()
    payloads.opened(url).clear(f"{job_id}/")

    with pytest.raises(AttemptOverError):
        bytes_of_chunks(steps).fetched(lease)

    job = steps.store.get(job_id)
    assert (job.error_code, job.attempts_lost) == (JobErrorCode.PAYLOAD_LOST, 0)


def test_records_of_a_chunk_that_is_another_attempts_by_now_are_not_lost(
    steps: JobSteps, url: str
) -> None:
    job_id = steps.submit(chunks=2, payload_url=url)
    late = steps.leased(1)
    steps.leases.give_back(late)
    steps.commit(steps.leased(2))
    payloads.opened(url).delete(f"{job_id}/input/{late.plan.number}")

    with pytest.raises(AttemptOverError) as caught:
        bytes_of_chunks(steps).fetched(late)

    assert caught.value.outcome is Outcome.STALE
    assert not steps.store.get(job_id).has_ended
