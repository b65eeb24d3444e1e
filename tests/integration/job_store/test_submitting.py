"""A small job that is taken in at once is the same as one whose chunk came later."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from shared.errors import JobTooLargeError, StoreFullError, TooMuchQueuedError
from shared.job_store import keys
from shared.job_store.intake import FirstRequest, JobIntake, NewJob, TakenIn, WholeBody
from shared.job_store.store import JobFilter
from shared.jobs import JobErrorCode, JobStatus, JobTerms, Lane, new_job_id
from shared.signature import Dtype, OutputColumn, OutputKind
from tests.factories import PREDICTION, make_body, make_intake, make_plan, make_spec
from tests.job_steps import JobSteps, submit_alone, submit_whole

MIB = 1024**2
ANY = JobFilter(owner=None)
RESULT_COLUMNS = (
    OutputColumn(name="row", dtype=Dtype.INT),
    *PREDICTION,
    OutputColumn(name="error", dtype=Dtype.STRING),
)
SPEC = make_spec(deadline_seconds=50, result_columns=RESULT_COLUMNS)


@pytest.fixture
def strict(redis: Redis) -> JobIntake:
    """Lets 25 rows wait."""
    return make_intake(redis, max_waiting_rows=25)


@pytest.fixture
def set_maxmemory(redis: Redis) -> Iterator[Callable[[int], None]]:
    """Bounds the server's memory until the end of the test."""
    yield lambda most: redis.config_set("maxmemory", most)
    redis.config_set("maxmemory", 0)


def submit(
    intake: JobIntake, job_id: str = "", *, rows: int = 10, **terms: Any
) -> TakenIn | FirstRequest:
    return submit_alone(intake, make_job(job_id or new_job_id(), rows=rows, **terms))[0]


def make_job(job_id: str, *, rows: int = 10, **terms: Any) -> NewJob:
    terms_of_job = JobTerms(lane=Lane.SMALL, **terms)
    return NewJob(id=job_id, spec=SPEC, terms=terms_of_job, body=make_body(make_plan(rows=rows)))


def taken_in(intake: JobIntake, job_id: str = "", **job: Any) -> TakenIn:
    found = submit(intake, job_id, **job)
    assert isinstance(found, TakenIn)
    return found


# --- what is taken in


def test_a_job_is_there_with_all_that_it_was_made_of(steps: JobSteps) -> None:
    job_id = new_job_id()
    spec = make_spec(header=("größe", 'a "b"'), delimiter="\t", output=OutputKind.PREDICT_PROBA)
    plan = make_plan(rows=3, first_line=7)
    body = WholeBody(plan=plan, data=b"1\n\xff\0\n", input_bytes=99, sha256="b" * 64)

    taken = submit_whole(steps.intake, job_id, spec, JobTerms(lane=Lane.SMALL, caller="me"), body)

    assert isinstance(taken, TakenIn)
    job = steps.store.get(job_id)
    assert (job.id, job.spec, job.status) == (job_id, spec, JobStatus.QUEUED)
    assert (job.input_bytes, job.input_sha256) == (99, "b" * 64)
    assert (job.total, job.pending, job.chunks_total, job.chunks_done) == (3, 3, 1, 0)
    lease = steps.leased()
    assert (lease.plan, lease.input, lease.lane) == (plan, b"1\n\xff\0\n", Lane.SMALL)


def test_the_job_is_answered_as_the_store_has_it(steps: JobSteps) -> None:
    job = taken_in(steps.intake).job

    found = steps.store.get(job.id)

    assert 0 <= found.read_at_ms - job.read_at_ms < 10_000
    assert job.created_at_ms == job.read_at_ms
    changed = {"read_at_ms": found.read_at_ms}
    assert vars(job) | changed == vars(found)


def test_it_is_kept_watched_and_owed_as_one_that_came_in_steps(steps: JobSteps) -> None:
    at_once, in_steps = taken_in(steps.intake).job.id, new_job_id()
    steps.intake.create(in_steps, SPEC, JobTerms(lane=Lane.SMALL))
    growth = SPEC.result_bytes(10, input_bytes=20)
    steps.append(in_steps, result_bytes=growth)
    steps.close(in_steps)

    def facts(job_id: str) -> dict[str, object]:
        record = steps.redis.hgetall(keys.record(job_id))
        moments = (b"created_at_ms", b"expires_at_ms", b"expected_rows", b"expected_bytes")
        return {
            "record": {name: value for name, value in record.items() if name not in moments},
            "chunks": steps.redis.hgetall(keys.chunks(job_id)),
            "owed": (steps.backlog()[f"rows:{job_id}"], steps.backlog()[f"bytes:{job_id}"]),
            "keys": steps.lifetimes(job_id).keys(),
            "due": steps.redis.zscore(keys.DEADLINES, job_id)
            - steps.store.get(job_id).created_at_ms,
            "listed": steps.redis.zscore(keys.JOBS, job_id),
            "watched": steps.redis.zscore(keys.UPLOADS, job_id),
        }

    assert facts(at_once) == facts(in_steps)
    assert facts(at_once)["owed"] == (10, growth)
    for suffix, seconds in steps.lifetimes(at_once).items():
        assert seconds == pytest.approx(steps.lifetimes(in_steps)[suffix], abs=20), suffix


def test_it_ends_by_its_only_commit(steps: JobSteps) -> None:
    job_id = taken_in(steps.intake).job.id

    steps.run(failed=3)

    assert steps.store.get(job_id).status is JobStatus.PARTIALLY_SUCCEEDED
    assert set(steps.backlog().values()) == {0}
    assert ":input:0" not in steps.lifetimes(job_id)


# --- repeats and keys


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda _: None,
        lambda steps: steps.leased(),
        lambda steps: steps.run(),
        lambda steps: steps.store.cancel(steps.store.page(ANY, limit=1)[0][0].id),
    ],
    ids=["nothing", "leased", "succeeded", "cancelled"],
)
@pytest.mark.parametrize("key", ["", "k"])
def test_a_repeat_after_a_lost_answer_changes_nothing(
    steps: JobSteps, meanwhile: Callable[[JobSteps], object], key: str
) -> None:
    job_id = new_job_id()
    steps.beat()
    submit(steps.intake, job_id, idempotency_key=key)
    meanwhile(steps)
    before = steps.everything()

    again, is_message_needed = submit_alone(steps.intake, make_job(job_id, idempotency_key=key))

    assert steps.everything() == before
    assert isinstance(again, TakenIn)
    assert again.job.status is steps.store.get(job_id).status
    assert not is_message_needed


def test_a_key_makes_one_job(steps: JobSteps) -> None:
    first = taken_in(steps.intake, idempotency_key="k", request="r").job
    before = steps.everything()

    found = submit(steps.intake, idempotency_key="k", request="another")

    assert found == steps.intake.first_request("k") == FirstRequest(job_id=first.id, request="r")
    assert steps.everything() == before
    # Whichever way it is asked for.
    assert steps.request(idempotency_key="k")[1] == found


def test_a_key_of_a_job_that_came_in_steps_is_found(steps: JobSteps) -> None:
    first, _ = steps.request(idempotency_key="k", request="r")

    assert submit(steps.intake, idempotency_key="k") == FirstRequest(job_id=first, request="r")


def test_a_key_stays_with_its_job_after_the_end(steps: JobSteps) -> None:
    job_id = taken_in(steps.intake, idempotency_key="k").job.id
    steps.run()

    assert submit(steps.intake, idempotency_key="k") == FirstRequest(job_id=job_id, request="")
    assert steps.redis.ttl(keys.idempotency("k")) == pytest.approx(60 + 100, abs=20)


def test_a_key_whose_body_was_never_taken_in_is_free(steps: JobSteps) -> None:
    first, _ = steps.request(idempotency_key="k")
    steps.store.fail(first, JobErrorCode.UPLOAD_INCOMPLETE, "")

    assert taken_in(steps.intake, idempotency_key="k").job.id != first


# --- refusals


def test_a_job_that_would_be_too_much_is_refused_and_leaves_nothing(
    steps: JobSteps, strict: JobIntake
) -> None:
    submit(strict, rows=20)
    steps.redis.hset(keys.BACKLOG, "rate", "2.0")
    before = steps.everything()

    with pytest.raises(TooMuchQueuedError) as refusal:
        submit(strict, rows=9, idempotency_key="k")

    assert refusal.value.retry_after_seconds == 2
    assert steps.everything() == before
    assert submit(strict, rows=5)


def test_a_service_with_nothing_to_do_takes_a_job_of_more_rows(strict: JobIntake) -> None:
    assert taken_in(strict, rows=100).job.total == 100


def test_a_job_is_admitted_only_as_far_as_memory_can_be_promised(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    set_maxmemory(100 * MIB)
    steps.intake.create(new_job_id(), make_spec(), JobTerms(expected_bytes=70 * MIB))
    submit(steps.intake)

    with pytest.raises(TooMuchQueuedError):
        submit(steps.intake, rows=500_000)


def test_a_job_that_would_be_too_much_for_an_empty_server_is_refused_for_good(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    set_maxmemory(16 * MIB)

    with pytest.raises(JobTooLargeError):
        submit(steps.intake, rows=500_000)
    assert not steps.redis.keys("job:*")


def test_a_server_that_is_full_takes_none_and_keeps_nothing_of_it(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    before = steps.everything()
    set_maxmemory(1)

    with pytest.raises(StoreFullError):
        submit(steps.intake, idempotency_key="k")

    assert steps.everything() == before
