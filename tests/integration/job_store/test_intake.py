"""How a body comes in: chunk by chunk, bearing repeats, vouched for by its API."""

from collections.abc import Callable

import pytest

from shared.errors import JobEndedError, JobGoneError, JobNotFoundError
from shared.job_store import keys
from shared.job_store.intake import NOT_ADDED_SECONDS, UPLOAD_SECONDS, Appended
from shared.job_store.leases import Outcome
from shared.jobs import JobErrorCode, JobTerms, Lane, new_job_id
from tests.factories import make_plan, make_spec
from tests.job_steps import JobSteps


@pytest.mark.parametrize(
    "step",
    [
        lambda steps, job_id: steps.intake.create(job_id, make_spec(header=("y",)), JobTerms()),
        lambda steps, job_id: steps.append(job_id, 0),
        lambda steps, job_id: steps.close(job_id),
        lambda steps, job_id: steps.intake.vouch_for([job_id]),
        lambda steps, job_id: steps.store.cancel(job_id),
        lambda steps, job_id: steps.store.fail(job_id, JobErrorCode.INPUT_REFUSED, "Bad."),
    ],
    ids=["create", "append_chunk", "close_input", "vouch_for", "cancel", "fail"],
)
def test_a_step_repeated_changes_nothing(
    steps: JobSteps, step: Callable[[JobSteps, str], object]
) -> None:
    job_id = steps.create()
    steps.append(job_id)
    step(steps, job_id)
    steps.redis.delete(keys.UPLOADS)  # moments that every vouching moves
    before = steps.everything()

    step(steps, job_id)

    assert steps.everything() == before


def test_a_repeated_append_keeps_the_chunk_that_came_first(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)

    steps.append(job_id, plan=make_plan(rows=3))

    assert steps.lifetimes(job_id)[":input:0"] == pytest.approx(2000, abs=20)

    assert steps.counts(job_id) == (10, 0, 0, 10)
    assert steps.leased().input == b"1\n" * 10


def test_a_chunk_appended_again_after_its_commit_does_not_run_again(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)
    lease = steps.leased()
    steps.commit(lease)

    steps.append(job_id)

    assert steps.take() is None
    assert steps.counts(job_id) == (10, 10, 0, 0)
    assert ":input:0" not in steps.lifetimes(job_id)


# --- whom to wake


def test_a_worker_with_a_process_to_spare_should_be_woken(steps: JobSteps) -> None:
    steps.beat(processes=3)

    assert steps.append(steps.create()) is Appended.MESSAGE_NEEDED


def test_workers_that_are_busy_need_no_waking(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=2)
    job_id = steps.submit(chunks=2)
    steps.leased(1)
    steps.leased(2)

    assert steps.append(steps.create()) is Appended.TAKEN_IN

    steps.beat("other", processes=1, bulk=1)

    assert steps.append(steps.create()) is Appended.MESSAGE_NEEDED
    assert steps.store.get(job_id).status == "running"


def test_the_process_kept_for_small_jobs_is_not_to_spare_for_bulk(steps: JobSteps) -> None:
    steps.beat(processes=2, bulk=1)
    steps.submit()
    steps.leased()

    assert steps.append(steps.create(lane=Lane.BULK)) is Appended.TAKEN_IN
    assert steps.append(steps.create(lane=Lane.SMALL)) is Appended.MESSAGE_NEEDED


def test_without_workers_there_is_nobody_to_wake(steps: JobSteps) -> None:
    assert steps.append(steps.create()) is Appended.TAKEN_IN


# --- a job that ends while its body arrives


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (lambda steps, job_id: steps.store.cancel(job_id), JobEndedError),
        (lambda steps, job_id: steps.store.delete(job_id), JobGoneError),
        (lambda steps, _: steps.run(failed=10), JobEndedError),
    ],
    ids=["cancelled", "deleted", "threshold"],
)
def test_the_intake_learns_that_its_job_has_ended(
    steps: JobSteps, end: Callable[[JobSteps, str], object], error: type[Exception]
) -> None:
    job_id = steps.create(error_threshold=0)
    steps.append(job_id)

    end(steps, job_id)

    with pytest.raises(error):
        steps.append(job_id, 1)
    assert [key for key in steps.lifetimes(job_id) if key.startswith(":input:")] == []


@pytest.mark.parametrize("chunks", [0, 2])
@pytest.mark.parametrize("end", ["cancel", "delete", "upload"])
def test_an_input_that_nobody_said_belongs_to_the_job_goes_with_it(
    steps: JobSteps, chunks: int, end: str
) -> None:
    """The API, or its connection, was lost in the middle of an append."""
    job_id = steps.create()
    for number in range(chunks):
        steps.append(job_id, number)
    steps.redis.set(keys.input_of(job_id, chunks), b"1\n", ex=NOT_ADDED_SECONDS)
    assert f":input:{chunks}" in steps.lifetimes(job_id)

    if end == "upload":
        steps.make_due(keys.UPLOADS, job_id)
        steps.sweep()
    else:
        getattr(steps.store, end)(job_id)

    assert [key for key in steps.lifetimes(job_id) if key.startswith(":input:")] == []


def test_a_chunk_of_a_job_that_never_was_is_refused_and_leaves_nothing(steps: JobSteps) -> None:
    job_id = new_job_id()

    with pytest.raises(JobNotFoundError):
        steps.append(job_id)
    steps.close(job_id)
    steps.intake.vouch_for([job_id])

    assert steps.redis.keys() == []


# --- whether the API lives


def test_an_upload_that_is_vouched_for_goes_on(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.make_due(keys.UPLOADS, job_id)

    steps.intake.vouch_for([job_id])

    assert steps.sweep() == []
    due_in_ms = steps.redis.zscore(keys.UPLOADS, job_id) - steps.store.get(job_id).read_at_ms
    assert due_in_ms == pytest.approx(UPLOAD_SECONDS * 1000, abs=5000)


def test_an_upload_that_nobody_vouches_for_ends_its_job(steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)
    lease = steps.leased()
    steps.make_due(keys.UPLOADS, job_id)

    assert steps.sweep() == [("upload_incomplete", job_id)]

    job = steps.store.get(job_id)
    assert (job.status, job.error_code) == ("failed", "upload_incomplete")
    assert steps.commit(lease) is Outcome.ENDED


@pytest.mark.parametrize("ends", ["close", "cancel", "delete"])
def test_an_upload_that_is_over_is_watched_no_more(steps: JobSteps, ends: str) -> None:
    job_id = steps.create()
    steps.append(job_id)

    {"close": steps.close, "cancel": steps.store.cancel, "delete": steps.store.delete}[ends](job_id)
    steps.intake.vouch_for([job_id])

    assert not steps.redis.exists(keys.UPLOADS)


def test_who_has_no_uploads_vouches_for_nothing(steps: JobSteps) -> None:
    steps.intake.vouch_for([])

    assert steps.redis.keys() == []
