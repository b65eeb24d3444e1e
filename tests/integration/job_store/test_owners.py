"""Jobs that belong to an API key: whose they are, listed apart, as long as anything is known."""

import pytest

from shared.api_keys import NewKey, Scope
from shared.job_store import keys
from shared.job_store.api_keys import ApiKeys
from shared.job_store.intake import NewJob
from shared.job_store.store import JobFilter
from shared.jobs import JobTerms, Lane, new_job_id
from tests.factories import make_body, make_spec
from tests.job_steps import JobSteps


def owned(steps: JobSteps, owner: str) -> str:
    return steps.request(owner=owner)[0]


def submitted(steps: JobSteps, *owners: str) -> list[str]:
    """Small jobs of these owners, taken in as one group."""
    spec = make_spec()
    jobs = [
        NewJob(
            id=new_job_id(),
            spec=spec,
            terms=JobTerms(lane=Lane.SMALL, owner=owner),
            body=make_body(),
        )
        for owner in owners
    ]
    steps.intake.submit_all(jobs)
    return [job.id for job in jobs]


def listed(steps: JobSteps, owner: str | None) -> list[str]:
    jobs, _ = steps.store.page(JobFilter(owner=owner), limit=100)
    return [job.id for job in jobs]


def test_it_is_told_whose_a_job_is(steps: JobSteps) -> None:
    mine, nobodys = owned(steps, "me"), owned(steps, "")

    assert (steps.store.owner_of(mine), steps.store.get(mine).owner) == ("me", "me")
    assert (steps.store.owner_of(nobodys), steps.store.get(nobodys).owner) == ("", "")
    assert steps.store.owner_of(new_job_id()) is None


def test_jobs_that_are_taken_in_together_keep_their_owners(steps: JobSteps) -> None:
    owners = ["me", "you", "me", ""]

    jobs = submitted(steps, *owners)

    assert [steps.store.get(job_id).owner for job_id in jobs] == owners


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_it_is_still_told_when_nothing_but_the_tombstone_is_left(steps: JobSteps, how: str) -> None:
    mine, nobodys = owned(steps, "me"), owned(steps, "")
    for job_id in (mine, nobodys):
        if how == "deleted":
            steps.store.delete(job_id)
        else:
            steps.redis.delete(keys.record(job_id))

    assert steps.store.owner_of(mine) == "me"
    assert steps.store.owner_of(nobodys) == ""
    for job_id in (mine, nobodys):
        with pytest.raises(Exception, match=f"is {how}; its data"):
            steps.store.get(job_id)


def test_a_list_of_ones_own_has_these_jobs_and_no_other(steps: JobSteps) -> None:
    first, other, second = (owned(steps, owner) for owner in ("me", "you", "me"))
    third, none = submitted(steps, "me", "")

    assert listed(steps, "me") == sorted([first, second, third], reverse=True)
    assert listed(steps, "you") == [other]
    assert listed(steps, "nobody") == []
    assert listed(steps, None) == sorted([first, second, third, other, none], reverse=True)


@pytest.mark.parametrize("is_tombstone_gone", [False, True])
def test_a_job_that_expires_leaves_the_list_of_its_owner(
    steps: JobSteps, is_tombstone_gone: bool
) -> None:
    owner, _ = ApiKeys(steps.redis).create(NewKey(name="me", scopes=[Scope.SUBMIT]))
    job_id = owned(steps, owner.id)

    steps.expire(job_id)
    if is_tombstone_gone:
        steps.redis.delete(keys.tombstone(job_id))
    steps.sweep()

    assert steps.redis.exists(keys.jobs(owner.id)) == 0


def test_a_job_that_is_deleted_leaves_the_list_of_its_owner(steps: JobSteps) -> None:
    job_id = owned(steps, "me")

    steps.store.delete(job_id)

    assert steps.redis.exists(keys.jobs("me")) == 0
