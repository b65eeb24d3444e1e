"""A job from its creation to the end that its last commit gives it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.job_store.intake import JobIntake
from shared.job_store.leases import Lease, Outcome
from shared.jobs import JobStatus, JobTerms, new_job_id
from tests.factories import make_spec
from tests.job_steps import JobSteps

# Every example makes a job of its own in the one server.
SHARED_SERVER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)


def test_a_job_goes_from_receiving_to_succeeded(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)
    seen = [steps.store.get(job_id).status]
    steps.close(job_id)
    seen.append(steps.store.get(job_id).status)
    lease = steps.leased()
    seen.append(steps.store.get(job_id).status)
    steps.commit(lease)
    seen.append(steps.store.get(job_id).status)

    assert seen == ["receiving", "queued", "running", "succeeded"]


def test_a_job_that_is_scored_while_it_arrives_is_running_once_it_is_here(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id, 0)
    steps.append(job_id, 1)
    steps.run()
    assert steps.store.get(job_id).status is JobStatus.RECEIVING

    steps.close(job_id)

    assert steps.store.get(job_id).status is JobStatus.RUNNING


def test_closing_the_input_ends_a_job_whose_rows_are_all_scored(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)
    steps.run()

    steps.close(job_id)

    assert steps.store.get(job_id).status is JobStatus.SUCCEEDED


def test_a_job_holds_what_it_was_made_of(steps: JobSteps, intake: JobIntake) -> None:
    spec = make_spec(header=("größe", 'a "b"'), carried=("größe",), delimiter="\t")
    job_id = new_job_id()
    intake.create(job_id, spec, JobTerms(caller="me", idempotency_key="k", request="r"))
    steps.append(job_id)
    steps.close(job_id)

    job = steps.store.get(job_id)

    assert (job.id, job.spec, job.input_bytes, job.input_sha256) == (job_id, spec, 22, "a" * 64)
    assert job.created_at_ms <= job.read_at_ms < job.expires_at_ms
    assert (job.started_at_ms, job.finished_at_ms, job.attempts_lost) == (None, None, 0)


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
    steps: JobSteps, failed: tuple[int, int], status: JobStatus, code: str | None
) -> None:
    job_id = steps.submit(chunks=2)

    for number in failed:
        steps.run(failed=number)

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == (status, code)
    assert job.finished_at_ms is not None
    assert job.started_at_ms is not None


@pytest.mark.parametrize(
    ("threshold", "has_failed"), [(-1, False), (3, False), (2, True), (0, True)]
)
def test_more_failed_rows_than_allowed_end_the_job_at_once(
    steps: JobSteps, threshold: int, *, has_failed: bool
) -> None:
    job_id = steps.submit(chunks=2, error_threshold=threshold)

    steps.run(failed=3)

    job = steps.store.get(job_id)
    assert (job.status is JobStatus.FAILED) == has_failed
    assert job.error_code == ("error_threshold_exceeded" if has_failed else None)
    assert job.has_ended == has_failed


@SHARED_SERVER
@given(order=st.permutations(range(5)), failed=st.lists(st.integers(0, 10), min_size=5, max_size=5))
def test_commits_in_any_order_give_the_same_end(
    steps: JobSteps, order: list[int], failed: list[int]
) -> None:
    job_id = steps.submit(chunks=5)
    leases = {lease.plan.number: lease for lease in map(steps.leased, range(1, 6))}

    for chunk in order:
        steps.commit(leases[chunk], failed=failed[chunk])

    job = steps.store.get(job_id)
    ends = {0: JobStatus.SUCCEEDED, 50: JobStatus.FAILED}
    assert job.status is ends.get(sum(failed), JobStatus.PARTIALLY_SUCCEEDED)
    assert (job.failed, job.pending, job.chunks_done) == (sum(failed), 0, 5)
    assert steps.results(job) == [b"chunk %d\n" % number for number in range(5)]
    assert b"".join(steps.store.errors(job)) == b"bad\n" * sum(failed)


def test_rows_that_are_done_count_at_every_moment(steps: JobSteps) -> None:
    job_id = steps.create()
    seen = [steps.counts(job_id)]
    steps.append(job_id, 0)
    seen.append(steps.counts(job_id))
    steps.run(failed=3)
    seen.append(steps.counts(job_id))
    steps.append(job_id, 1)
    seen.append(steps.counts(job_id))

    assert seen == [(0, 0, 0, 0), (10, 0, 0, 10), (10, 7, 3, 0), (20, 7, 3, 10)]


# --- repeats after a lost answer


def test_a_repeated_commit_changes_nothing(steps: JobSteps) -> None:
    steps.submit(chunks=2)
    lease = steps.leased()
    first = steps.commit(lease)
    before = steps.everything()

    again = steps.commit(lease, failed=3)

    assert first is again is Outcome.COMMITTED
    assert steps.everything() == before


def test_a_repeat_of_the_commit_that_ended_the_job_changes_nothing(steps: JobSteps) -> None:
    steps.submit()
    lease = steps.leased()
    steps.commit(lease)
    before = steps.everything()

    assert steps.commit(lease, failed=3) is Outcome.COMMITTED
    assert steps.everything() == before


def test_a_chunk_given_back_twice_runs_once(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=2)
    lease = steps.leased()

    assert steps.leases.give_back(lease)
    before = steps.everything()
    assert not steps.leases.give_back(lease)

    assert steps.everything() == before
    assert numbers(steps.run_all()) == [0, 1]
    assert steps.store.get(job_id).status is JobStatus.SUCCEEDED


def numbers(leases: list[Lease]) -> list[int]:
    return [lease.plan.number for lease in leases]


def test_a_lease_holds_all_a_worker_needs(steps: JobSteps) -> None:
    changes: dict[str, Any] = {"header": ("x", "é"), "delimiter": ";"}
    job_id = steps.submit(**changes)

    lease = steps.leased()

    assert (lease.job_id, lease.spec) == (job_id, make_spec(**changes))
    assert (lease.plan.number, lease.plan.rows, lease.plan.first_line) == (0, 10, 2)
    assert (lease.input, lease.attempt) == (b"1\n" * 10, 1)
    assert (lease.losses, lease.parts_done) == ((), {})
