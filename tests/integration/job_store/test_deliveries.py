"""No end of a job with a callback is lost, and hosts take turns."""

from collections.abc import Callable

import pytest
from redis import Redis

from shared.errors import JobGoneError
from shared.job_store import keys
from shared.job_store.deliveries import (
    Attempt,
    Deliveries,
    Delivery,
    DeliveryLog,
    DeliveryState,
)
from shared.jobs import JobErrorCode, JobTerms, Lane, new_job_id
from tests.factories import make_body, make_spec
from tests.job_steps import JobSteps, submit_whole

URL = "https://example.com/hook?a=1"
HOST = "example.com"
REFUSED = Attempt(at_ms=1_000, duration_seconds=0.5, error="connection refused")
TAKEN = Attempt(at_ms=2_000, duration_seconds=0.1, status=204)


@pytest.fixture
def deliveries(redis: Redis) -> Deliveries:
    return Deliveries(redis)


def make_due(steps: JobSteps, job_id: str, host: str = HOST) -> None:
    """Let the moment have come for which the delivery was put off."""
    for key, member in ((f"callbacks:{host}", job_id), (keys.CALLBACKS, host)):
        assert steps.redis.zadd(key, {member: 1}, xx=True, ch=True) == 1


def claimed(deliveries: Deliveries, *busy: str) -> Delivery:
    delivery = deliveries.claim(seconds=60, busy=busy)
    assert delivery is not None
    return delivery


# --- every end is due


def receiving(steps: JobSteps, **spec: int) -> str:
    job_id = new_job_id()
    steps.intake.create(job_id, make_spec(**spec), JobTerms(callback_url=URL))
    return job_id


def last_commit(steps: JobSteps) -> str:
    terms = JobTerms(lane=Lane.SMALL, callback_url=URL)
    job_id = new_job_id()
    submit_whole(steps.intake, job_id, make_spec(), terms, make_body())
    steps.run()
    return job_id


def too_many_failed(steps: JobSteps) -> str:
    job_id = receiving(steps, error_threshold=1)
    steps.append(job_id)
    steps.run(failed=5)
    return job_id


def closing_after_the_last_commit(steps: JobSteps) -> str:
    job_id = receiving(steps)
    steps.append(job_id)
    steps.run()
    steps.close(job_id)
    return job_id


def cancelled(steps: JobSteps) -> str:
    job_id = receiving(steps)
    steps.store.cancel(job_id)
    return job_id


def failed(steps: JobSteps) -> str:
    job_id = receiving(steps)
    steps.store.fail(job_id, JobErrorCode.MODEL_LOAD_FAILED, "No.")
    return job_id


def overdue(steps: JobSteps) -> str:
    job_id = receiving(steps, deadline_seconds=50)
    steps.make_due(keys.DEADLINES, job_id)
    steps.sweep()
    return job_id


def upload_broken(steps: JobSteps) -> str:
    job_id = receiving(steps)
    steps.make_due(keys.UPLOADS, job_id)
    steps.sweep()
    return job_id


@pytest.mark.parametrize(
    "end",
    [
        last_commit,
        too_many_failed,
        closing_after_the_last_commit,
        cancelled,
        failed,
        overdue,
        upload_broken,
    ],
)
def test_however_a_job_ends_its_callback_is_due_at_once(
    end: Callable[[JobSteps], str], steps: JobSteps, deliveries: Deliveries
) -> None:
    job_id = end(steps)

    assert steps.store.get(job_id).has_ended
    assert claimed(deliveries) == Delivery(job_id=job_id, host=HOST, number=1)
    assert deliveries.claim(seconds=60) is None


def test_nothing_is_due_before_the_end_or_without_a_callback(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    receiving(steps)
    steps.submit()
    steps.run_all()

    assert deliveries.claim(seconds=60) is None
    assert not steps.redis.exists(keys.CALLBACKS)


def test_a_job_that_is_deleted_is_not_told(steps: JobSteps, deliveries: Deliveries) -> None:
    steps.store.delete(receiving(steps))
    steps.store.delete(cancelled(steps))

    assert deliveries.claim(seconds=60) is None
    assert list(steps.redis.scan_iter("callbacks*")) == []


def test_jobs_taken_in_together_keep_callbacks_of_their_own(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    urls = ["https://a.example/", "https://b.example/", ""]
    for url in urls:
        terms = JobTerms(lane=Lane.SMALL, callback_url=url)
        submit_whole(steps.intake, new_job_id(), make_spec(), terms, make_body())
    together = steps.take_together()
    assert len(together.leases) == 3  # or a callback would cost what is scored together

    steps.commit_all(together.leases)

    assert {claimed(deliveries).host for _ in range(2)} == {"a.example", "b.example"}
    assert deliveries.claim(seconds=60) is None


# --- attempts


def test_who_claims_has_it_alone_until_the_claim_is_over(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    job_id = cancelled(steps)
    first = claimed(deliveries)
    assert deliveries.claim(seconds=60) is None

    make_due(steps, job_id)
    second = claimed(deliveries)
    deliveries.end(first, DeliveryState.DELIVERED, TAKEN)

    assert second.number == 2
    assert deliveries.log(steps.store.get(job_id)) == DeliveryLog(state=DeliveryState.PENDING)


def test_an_attempt_that_failed_is_noted_and_made_again_when_its_time_has_come(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    job_id = cancelled(steps)
    deliveries.try_again(claimed(deliveries), REFUSED, seconds=100)
    log = deliveries.log(job := steps.store.get(job_id))
    assert deliveries.claim(seconds=60) is None
    assert (log.state, log.attempts) == (DeliveryState.PENDING, (REFUSED,))
    assert abs((log.next_at_ms or 0) - job.read_at_ms - 100_000) < 10_000

    make_due(steps, job_id)
    again = claimed(deliveries)
    deliveries.end(again, DeliveryState.DELIVERED, TAKEN)

    assert again.number == 2
    assert deliveries.log(job) == DeliveryLog(
        state=DeliveryState.DELIVERED, attempts=(REFUSED, TAKEN)
    )
    assert list(steps.redis.scan_iter("callbacks*")) == []


def test_a_pause_is_kept_although_others_for_the_host_are_due(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    first = cancelled(steps)
    deliveries.try_again(claimed(deliveries), REFUSED, seconds=100)
    second = cancelled(steps)

    assert claimed(deliveries).job_id == second
    assert deliveries.claim(seconds=60) is None
    make_due(steps, first)
    assert claimed(deliveries).job_id == first


def test_settling_twice_changes_nothing(steps: JobSteps, deliveries: Deliveries) -> None:
    job_id = cancelled(steps)
    delivery = claimed(deliveries)
    deliveries.end(delivery, DeliveryState.GONE, TAKEN)
    before = steps.everything()

    deliveries.end(delivery, DeliveryState.GONE, TAKEN)

    assert steps.everything() == before
    assert deliveries.log(steps.store.get(job_id)).state is DeliveryState.GONE


def test_what_became_of_a_delivery_of_a_deleted_job_is_not_noted(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    job_id = cancelled(steps)
    delivery = claimed(deliveries)
    steps.store.delete(job_id)

    deliveries.try_again(delivery, REFUSED, seconds=1)

    assert steps.lifetimes(job_id).keys() == {":tombstone"}
    assert list(steps.redis.scan_iter("callbacks*")) == []
    with pytest.raises(JobGoneError):
        steps.store.get(job_id)


def test_a_job_that_expired_is_passed_over(steps: JobSteps, deliveries: Deliveries) -> None:
    expired, later = cancelled(steps), cancelled(steps)
    steps.expire(expired)
    steps.sweep()

    assert claimed(deliveries).job_id == later
    assert steps.redis.zrange(f"callbacks:{HOST}", 0, -1) == [later.encode()]


def test_the_log_of_a_job_without_a_callback_says_so(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    job_id = steps.submit()

    assert deliveries.log(steps.store.get(job_id)) == DeliveryLog(state=DeliveryState.NONE)


# --- what it costs others


def commands_of_a_sweep(steps: JobSteps) -> int:
    # The one before makes up for the time in which nobody swept.
    steps.beat()
    steps.sweep()
    steps.redis.config_resetstat()
    assert steps.sweep() == []
    return sum(command["calls"] for command in steps.redis.info("commandstats").values())


def test_a_sweep_does_no_more_however_many_callbacks_are_due(steps: JobSteps) -> None:
    before = commands_of_a_sweep(steps)
    for _ in range(4000):
        steps.ended_with_callback()

    assert steps.redis.zcard(f"callbacks:{HOST}") == 4000
    assert commands_of_a_sweep(steps) == before


# --- lifetimes


def test_attempts_are_kept_as_long_as_the_job(steps: JobSteps, deliveries: Deliveries) -> None:
    job_id = steps.ended_with_callback(retention_seconds=500)
    deliveries.try_again(claimed(deliveries), REFUSED, seconds=1000)

    lifetimes = steps.lifetimes(job_id)
    assert abs(lifetimes[":deliveries"] - lifetimes[""]) <= 1


def test_a_line_lasts_as_long_as_the_longest_of_its_jobs_is_kept(steps: JobSteps) -> None:
    for seconds in (100, 900, 50):
        steps.ended_with_callback(retention_seconds=seconds)

    for key in (keys.CALLBACKS, f"callbacks:{HOST}"):
        assert 890 <= steps.redis.ttl(key) <= 900


# --- hosts


def test_hosts_take_turns_however_much_one_has_to_be_told(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    for _ in range(20):
        steps.ended_with_callback("https://many.example/")
    steps.ended_with_callback("https://few.example:8443/")

    assert "few.example:8443" in [claimed(deliveries).host for _ in range(2)]


def test_busy_hosts_are_passed_over(steps: JobSteps, deliveries: Deliveries) -> None:
    busy = [f"h{number}.example" for number in range(12)]
    for host in busy:
        steps.ended_with_callback(f"https://{host}/")
    steps.ended_with_callback("https://idle.example/")

    assert claimed(deliveries, *busy).host == "idle.example"
    assert deliveries.claim(seconds=60, busy=busy) is None


def test_what_was_put_off_for_one_host_holds_up_no_other(
    steps: JobSteps, deliveries: Deliveries
) -> None:
    for number in range(30):
        steps.ended_with_callback(f"https://h{number}.example/")
        deliveries.try_again(claimed(deliveries), REFUSED, seconds=100)
    steps.ended_with_callback("https://idle.example/")

    assert claimed(deliveries).host == "idle.example"
