"""A key makes one job, until it turns out that the job's body was never taken in."""

import pytest

from shared.job_store import keys
from shared.job_store.intake import FirstRequest
from shared.jobs import JobErrorCode, JobTerms
from tests.job_steps import JobSteps

NEVER_TAKEN_IN = {JobErrorCode.UPLOAD_INCOMPLETE, JobErrorCode.INPUT_REFUSED}


def test_a_new_key_makes_a_job(steps: JobSteps) -> None:
    assert steps.intake.first_request("k") is None

    job_id, before = steps.request(idempotency_key="k", request="r")

    assert before is None
    assert steps.intake.first_request("k") == FirstRequest(job_id=job_id, request="r")


def test_a_key_used_again_leads_to_its_first_job(steps: JobSteps) -> None:
    first, _ = steps.request(idempotency_key="k", request="r")
    before = steps.everything()

    _, found = steps.request(idempotency_key="k", request="another")

    assert found == FirstRequest(job_id=first, request="r")
    assert steps.everything() == before


def test_requests_without_a_key_make_a_job_each(steps: JobSteps) -> None:
    found = [steps.request()[1] for _ in range(3)]

    assert found == [None, None, None]
    assert steps.redis.zcard(keys.JOBS) == 3
    assert list(steps.redis.scan_iter("idempotency:*")) == []


@pytest.mark.parametrize("code", [None, *sorted(set(JobErrorCode) - NEVER_TAKEN_IN)])
def test_a_key_stays_with_a_job_that_has_ended(steps: JobSteps, code: JobErrorCode | None) -> None:
    job_id, _ = steps.request(idempotency_key="k", request="r")
    if code is None:
        steps.store.cancel(job_id)
    else:
        steps.store.fail(job_id, code, "")

    found = steps.request(idempotency_key="k")[1]

    assert found == steps.intake.first_request("k") == FirstRequest(job_id=job_id, request="r")


@pytest.mark.parametrize("code", sorted(NEVER_TAKEN_IN))
def test_a_key_whose_body_was_never_taken_in_is_free_again(
    steps: JobSteps, code: JobErrorCode
) -> None:
    first, _ = steps.request(idempotency_key="k")
    steps.store.fail(first, code, "")
    assert steps.intake.first_request("k") is None

    second, before = steps.request(idempotency_key="k", request="r")

    assert before is None
    assert steps.intake.first_request("k") == FirstRequest(job_id=second, request="r")


@pytest.mark.parametrize("code", sorted(NEVER_TAKEN_IN))
@pytest.mark.parametrize("goes", ["delete", "expire"])
def test_a_key_that_is_free_again_stays_so_when_the_failed_job_goes(
    steps: JobSteps, code: JobErrorCode, goes: str
) -> None:
    first, _ = steps.request(idempotency_key="k")
    steps.store.fail(first, code, "")
    {"delete": steps.store.delete, "expire": steps.expire}[goes](first)

    assert steps.intake.first_request("k") is None
    assert steps.request(idempotency_key="k")[1] is None


def test_a_repeated_create_is_not_taken_for_a_second_request(steps: JobSteps) -> None:
    """The answer of the first was lost; the job is there and has the key."""
    first, _ = steps.request(idempotency_key="k")
    job = steps.store.get(first)
    before = steps.everything()

    again = steps.intake.create(first, job.spec, JobTerms(idempotency_key="k"))

    assert again is None
    assert steps.everything() == before


def test_a_key_lives_as_long_as_the_tombstone_of_its_job(steps: JobSteps) -> None:
    job_id, _ = steps.request(idempotency_key="k")
    steps.append(job_id)
    steps.close(job_id)
    while_open = steps.redis.ttl(keys.idempotency("k"))
    steps.run()

    ends_at_ms = steps.redis.pexpiretime(keys.idempotency("k"))
    assert while_open == pytest.approx(1000 + 100, abs=20)
    assert steps.redis.ttl(keys.idempotency("k")) == pytest.approx(60 + 100, abs=20)
    assert steps.redis.pexpiretime(keys.tombstone(job_id)) == ends_at_ms


def test_a_deleted_job_keeps_its_key(steps: JobSteps) -> None:
    """Who repeats the request learns that the job is gone, and does not run it again."""
    job_id, _ = steps.request(idempotency_key="k", request="r")

    steps.store.delete(job_id)

    assert steps.intake.first_request("k") == FirstRequest(job_id=job_id, request="r")
