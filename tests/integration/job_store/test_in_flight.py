"""How many jobs of an owner have not ended is known at any moment, and none is counted for ever."""

import re
from collections.abc import Callable

import pytest

from shared.errors import TooManyJobsError
from shared.job_store import keys
from shared.jobs import JobStatus, JobTerms, Lane, new_job_id
from tests.factories import make_body, make_plan, make_spec
from tests.job_steps import JobSteps, submit_whole

OWNER = "0123456789ab"


def in_flight(steps: JobSteps, owner: str = OWNER) -> int:
    return int(steps.redis.scard(keys.FOR_SCRIPTS["IN_FLIGHT"] % owner))


def owned(steps: JobSteps, *, most: int = 0) -> str:
    """A job of the owner that is receiving its first chunk."""
    job_id, _ = steps.request(owner=OWNER, most_in_flight=most)
    steps.append(job_id)
    return job_id


def scored(steps: JobSteps, job_id: str) -> None:
    steps.close(job_id)
    lease = steps.take()
    assert lease
    assert lease.job_id == job_id
    steps.commit_all([lease])


def deleted(steps: JobSteps, job_id: str) -> None:
    steps.store.delete(job_id)


def cancelled(steps: JobSteps, job_id: str) -> None:
    steps.store.cancel(job_id)


def broken_off(steps: JobSteps, job_id: str) -> None:
    steps.make_due(keys.UPLOADS, job_id)
    steps.sweep()


def expired(steps: JobSteps, job_id: str) -> None:
    steps.make_due(keys.EXPIRIES, job_id)
    steps.sweep()


def gone_before_the_sweep(steps: JobSteps, job_id: str) -> None:
    steps.redis.hset(keys.API_KEYS, OWNER, b"{}")
    steps.redis.delete(keys.record(job_id), keys.tombstone(job_id))
    expired(steps, job_id)


@pytest.mark.parametrize(
    "end", [scored, deleted, cancelled, broken_off, expired, gone_before_the_sweep]
)
def test_a_job_is_counted_until_it_ends_in_any_way(
    steps: JobSteps, end: Callable[[JobSteps, str], None]
) -> None:
    job_id = owned(steps)
    assert in_flight(steps) == 1

    end(steps, job_id)

    assert in_flight(steps) == 0


def test_one_too_many_leaves_nothing_behind(steps: JobSteps) -> None:
    owned(steps, most=1)
    before = steps.everything()

    with pytest.raises(TooManyJobsError, match="1 jobs at a time"):
        steps.request(owner=OWNER, most_in_flight=1)

    assert steps.everything() == before
    other, _ = steps.request(owner="another", most_in_flight=1)
    assert steps.store.get(other).status is JobStatus.RECEIVING


def test_small_jobs_of_one_call_are_counted_one_by_one(steps: JobSteps) -> None:
    terms = JobTerms(lane=Lane.SMALL, owner=OWNER, most_in_flight=1)
    body = make_body(make_plan())
    submit_whole(steps.intake, new_job_id(), make_spec(), terms, body)

    with pytest.raises(TooManyJobsError):
        submit_whole(steps.intake, new_job_id(), make_spec(), terms, body)

    assert in_flight(steps) == 1


def test_who_has_no_key_is_not_counted(steps: JobSteps) -> None:
    steps.request(most_in_flight=0)
    assert list(steps.redis.scan_iter("in_flight:*")) == []


def test_terms_are_as_workers_of_the_version_before_read_them(steps: JobSteps) -> None:
    """Or they would keep the job for a day, whatever its retention is."""
    terms = steps.redis.hget(keys.record(owned(steps, most=2)), "terms")

    assert re.fullmatch(rb"\d+ \d+ \d+ \d+ -?\d+", terms)
