"""New work is refused before there is too much of it, by rows and by memory; results never are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from shared.errors import JobTooLargeError, StoreFullError, TooMuchQueuedError
from shared.job_store import keys
from shared.job_store.intake import (
    DEFAULT_RETRY_SECONDS,
    MAX_RETRY_SECONDS,
    USABLE_SHARE,
    Appended,
    JobIntake,
)
from shared.job_store.leases import Outcome
from shared.jobs import JobErrorCode, JobStatus, JobTerms, new_job_id
from tests.factories import make_intake, make_plan, make_spec
from tests.job_steps import JobSteps

MIB = 1024**2


@pytest.fixture
def strict(redis: Redis) -> JobIntake:
    """Lets 25 rows wait."""
    return make_intake(redis, max_waiting_rows=25)


@pytest.fixture
def set_maxmemory(redis: Redis) -> Iterator[Callable[[int], None]]:
    """Bounds the server's memory until the end of the test."""
    yield lambda most: redis.config_set("maxmemory", most)
    redis.config_set("maxmemory", 0)


def ask(intake: JobIntake, *, rows: int = 0, bytes_: int = 0) -> str:
    job_id = new_job_id()
    intake.create(job_id, make_spec(), JobTerms(expected_rows=rows, expected_bytes=bytes_))
    return job_id


# --- rows


def test_a_job_is_admitted_up_to_the_rows_that_may_wait(steps: JobSteps, strict: JobIntake) -> None:
    steps.submit(chunks=2)

    ask(strict, rows=5)
    with pytest.raises(TooMuchQueuedError):
        ask(strict, rows=6)


def test_a_refused_job_leaves_nothing(steps: JobSteps, strict: JobIntake) -> None:
    steps.submit(chunks=2)
    before = steps.everything()

    with pytest.raises(TooMuchQueuedError):
        ask(strict, rows=6)

    assert steps.everything() == before


def test_a_service_with_nothing_to_do_takes_a_job_of_more_rows(
    steps: JobSteps, strict: JobIntake
) -> None:
    assert steps.store.get(ask(strict, rows=1000)).status is JobStatus.RECEIVING


def test_there_is_room_again_when_rows_are_done(steps: JobSteps, strict: JobIntake) -> None:
    steps.submit(chunks=2)

    steps.run()

    assert steps.store.get(ask(strict, rows=15)).status is JobStatus.RECEIVING


@pytest.mark.parametrize(
    ("rows_per_second", "seconds"),
    [("2.0", 3), ("0.001", MAX_RETRY_SECONDS), ("1e9", 1), ("0.0", DEFAULT_RETRY_SECONDS)],
)
def test_a_refusal_says_when_the_rows_too_many_will_be_done(
    steps: JobSteps, strict: JobIntake, rows_per_second: str, seconds: int
) -> None:
    steps.submit(chunks=2)
    steps.redis.hset(keys.BACKLOG, "rate", rows_per_second)

    with pytest.raises(TooMuchQueuedError) as refusal:
        ask(strict, rows=11)

    assert refusal.value.retry_after_seconds == seconds


def test_a_refusal_says_something_before_anything_was_measured(
    steps: JobSteps, strict: JobIntake
) -> None:
    steps.submit(chunks=2)

    with pytest.raises(TooMuchQueuedError) as refusal:
        ask(strict, rows=11)

    assert refusal.value.retry_after_seconds == DEFAULT_RETRY_SECONDS


def test_the_drain_rate_is_measured_from_sweep_to_sweep(steps: JobSteps) -> None:
    steps.submit(chunks=2)
    steps.sweep()
    assert drain_rate(steps) == 0
    steps.run_all()
    a_second_passes(steps)

    steps.sweep()

    # A tenth of what the last second gave, by a clock that goes on.
    assert drain_rate(steps) == pytest.approx(0.1 * 20, rel=0.2)


def test_a_lasting_drain_rate_is_found_within_half_a_minute(steps: JobSteps) -> None:
    steps.submit()
    steps.sweep()

    for _ in range(30):
        steps.redis.hincrby(keys.BACKLOG, "done", 50)
        a_second_passes(steps)
        steps.sweep()

    assert drain_rate(steps) == pytest.approx(50, rel=0.2)


def drain_rate(steps: JobSteps) -> float:
    return float(steps.redis.hget(keys.BACKLOG, "rate"))


def a_second_passes(steps: JobSteps) -> None:
    steps.redis.hincrby(keys.BACKLOG, "sampled_at_ms", -1000)


# --- memory


def test_jobs_are_admitted_only_as_far_as_memory_can_be_promised(
    intake: JobIntake, set_maxmemory: Callable[[int], None]
) -> None:
    set_maxmemory(100 * MIB)
    ask(intake, bytes_=50 * MIB)

    with pytest.raises(TooMuchQueuedError) as refusal:
        ask(intake, bytes_=50 * MIB)

    assert refusal.value.retry_after_seconds == DEFAULT_RETRY_SECONDS
    ask(intake, bytes_=10 * MIB)


def test_what_was_promised_to_a_job_is_free_when_it_has_ended(
    steps: JobSteps, intake: JobIntake, set_maxmemory: Callable[[int], None]
) -> None:
    set_maxmemory(100 * MIB)
    steps.store.cancel(ask(intake, bytes_=50 * MIB))

    assert steps.store.get(ask(intake, bytes_=50 * MIB)).status is JobStatus.RECEIVING


def test_a_job_that_would_be_too_much_for_an_empty_server_is_refused_for_good(
    intake: JobIntake, set_maxmemory: Callable[[int], None]
) -> None:
    set_maxmemory(100 * MIB)

    with pytest.raises(JobTooLargeError, match=str(75 * MIB)):
        ask(intake, bytes_=75 * MIB + 1)


def test_a_server_without_a_bound_takes_any_job(steps: JobSteps, intake: JobIntake) -> None:
    for _ in range(2):
        assert steps.store.get(ask(intake, bytes_=10**15)).status is JobStatus.RECEIVING


def test_a_chunk_is_reckoned_with_the_results_it_will_have(
    steps: JobSteps, intake: JobIntake, set_maxmemory: Callable[[int], None]
) -> None:
    """A body of unknown length, of rows that are shorter than their results."""
    set_maxmemory(100 * MIB)
    job_id = ask(intake)
    taken = [
        intake.append_chunk(job_id, make_plan(number), b"1\n" * 10, result_bytes=20 * MIB)
        for number in range(5)
    ]

    assert taken.index(Appended.NO_ROOM) in (3, 4)
    assert steps.backlog()["bytes"] <= 85 * MIB


def test_a_chunk_waits_outside_while_there_is_no_room(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    job_id = steps.create()
    plan = make_plan(rows=50_000)
    used = steps.redis.info("memory")["used_memory"]
    set_maxmemory(int((used + 50_000) / USABLE_SHARE))
    before = steps.everything()

    assert steps.append(job_id, plan=plan) is Appended.NO_ROOM
    assert steps.everything() == before

    set_maxmemory(used + 50 * MIB)
    assert steps.append(job_id, plan=plan) is not Appended.NO_ROOM
    assert steps.counts(job_id) == (50_000, 0, 0, 50_000)


def test_a_chunk_whose_input_was_the_last_that_fits_is_put_out_again(
    steps: JobSteps, set_maxmemory: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = steps.create()
    before = steps.everything()
    store_input = steps.redis.set

    def store_and_be_full(*args: Any, **kwargs: Any) -> None:
        store_input(*args, **kwargs)
        set_maxmemory(1)

    monkeypatch.setattr(steps.redis, "set", store_and_be_full)

    assert steps.append(job_id) is Appended.NO_ROOM

    assert steps.everything() == before


def test_a_chunk_that_is_there_is_confirmed_even_if_there_is_no_room(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    job_id = steps.create()
    plan = make_plan(rows=50_000)
    steps.append(job_id, plan=plan)
    used = steps.redis.info("memory")["used_memory"]

    set_maxmemory(int((used + 50_000) / USABLE_SHARE))

    assert steps.append(job_id, plan=plan) is not Appended.NO_ROOM


def test_a_server_that_is_full_refuses_new_work_but_leads_what_is_there_to_its_end(
    steps: JobSteps, set_maxmemory: Callable[[int], None]
) -> None:
    job_id, open_id = steps.submit(), steps.create()
    steps.beat()
    set_maxmemory(1)

    with pytest.raises(StoreFullError):
        steps.create()
    with pytest.raises(StoreFullError):
        steps.submit_small()
    assert steps.append(open_id) is Appended.NO_ROOM
    steps.beat()
    steps.sweep()
    steps.intake.vouch_for([open_id])
    lease = steps.leased()
    assert steps.leases.begin_part(lease, None, seconds=1) is None
    assert steps.leases.give_back(lease)
    assert steps.run() is Outcome.COMMITTED
    steps.close(open_id)
    steps.store.delete(job_id)
    steps.store.cancel(open_id)
    steps.registry.leave("host/1")


# --- what is owed


ENDS: dict[str, Callable[[JobSteps, str], object]] = {
    "succeeded": lambda steps, _: steps.run_all(),
    "over its threshold": lambda steps, _: steps.run(failed=10),
    "cancelled": lambda steps, job_id: steps.store.cancel(job_id),
    "failed": lambda steps, job_id: steps.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, ""),
    "deleted": lambda steps, job_id: steps.store.delete(job_id),
    "deadline": lambda steps, job_id: (steps.make_due(keys.DEADLINES, job_id), steps.sweep()),
    "expired": lambda steps, job_id: (steps.expire(job_id), steps.sweep()),
    "deleted after its end": lambda steps, job_id: (
        steps.store.cancel(job_id),
        steps.store.delete(job_id),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_owed_for_a_job_that_has_ended(steps: JobSteps, end: str) -> None:
    job_id = new_job_id()
    terms = JobTerms(expected_rows=30, expected_bytes=5000)
    steps.intake.create(job_id, make_spec(deadline_seconds=50, error_threshold=5), terms)
    for number in range(3):
        steps.append(job_id, number, result_bytes=400)
    steps.run(failed=1)
    steps.close(job_id)
    held = steps.leased(2)
    assert steps.backlog() == {
        "rows": 20,
        f"rows:{job_id}": 20,
        "bytes": 800,
        f"bytes:{job_id}": 800,
    }

    ENDS[end](steps, job_id)

    steps.commit(held)
    assert steps.backlog() == {"rows": 0, "bytes": 0}


def test_an_upload_that_breaks_off_owes_nothing(steps: JobSteps, intake: JobIntake) -> None:
    job_id = ask(intake, rows=30, bytes_=5000)
    steps.append(job_id, result_bytes=400)
    assert steps.backlog() == {
        "rows": 30,
        f"rows:{job_id}": 30,
        "bytes": 5000 - 20,
        f"bytes:{job_id}": 5000 - 20,
    }
    steps.make_due(keys.UPLOADS, job_id)

    steps.sweep()

    assert steps.backlog() == {"rows": 0, "bytes": 0}


def test_a_body_that_was_larger_than_expected_owes_what_is_there(
    steps: JobSteps, intake: JobIntake
) -> None:
    job_id = ask(intake, rows=1, bytes_=100)

    steps.append(job_id, result_bytes=400)
    steps.append(job_id, 1, result_bytes=300)

    assert steps.backlog()["bytes"] == 700
