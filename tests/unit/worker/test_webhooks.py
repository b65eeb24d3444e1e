"""When a callback is tried again, and what ends the attempts."""

from datetime import UTC, datetime

import pytest
from redis import Redis

from shared.job_store.deliveries import Deliveries, DeliveryState
from tests.job_steps import JobSteps
from tests.live_stack import free_port
from tests.receivers import SECRET, Behaviour, answering, garbling, in_turn, receiver
from worker.receiver import Answer, Caller
from worker.webhook_message import Signer
from worker.webhook_pauses import pause_after
from worker.webhooks import Deliverer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make_deliverer(redis: Redis, steps: JobSteps, *, pauses: tuple[float, ...]) -> Deliverer:
    return Deliverer(
        deliveries=Deliveries(redis),
        store=steps.store,
        caller=Caller(allow_private=True),
        signer=Signer([SECRET]),
        pauses_seconds=pauses,
        timeout_seconds=20,
    )


def deliver(
    redis: Redis, steps: JobSteps, job_id: str, *, pauses: tuple[float, ...] = (0.0, 0.0)
) -> list[int | None]:
    """Run a deliverer until there is nothing more to do about a job; statuses of its attempts."""
    deliveries = Deliveries(redis)
    job = steps.store.get(job_id)
    make_deliverer(redis, steps, pauses=pauses).run(
        lambda: deliveries.log(job).state is not DeliveryState.PENDING
    )
    return [attempt.status for attempt in deliveries.log(job).attempts]


@pytest.mark.parametrize(
    ("behaviour", "state", "statuses"),
    [
        (answering(200), DeliveryState.DELIVERED, [200]),
        (answering(299), DeliveryState.DELIVERED, [299]),
        (in_turn((500,), (429,), (204,)), DeliveryState.DELIVERED, [500, 429, 204]),
        (answering(410), DeliveryState.GONE, [410]),
        (in_turn((404,), (410,)), DeliveryState.GONE, [404, 410]),
        (answering(302, "Location: /"), DeliveryState.FAILED, [302, 302, 302]),
        (answering(400), DeliveryState.FAILED, [400, 400, 400]),
    ],
)
def test_attempts_go_on_until_the_receiver_has_it_or_wants_none_or_none_is_left(
    behaviour: Behaviour,
    state: DeliveryState,
    statuses: list[int],
    redis: Redis,
    steps: JobSteps,
) -> None:
    with receiver(behaviour) as listening:
        job_id = steps.ended_with_callback(listening.url)
        assert deliver(redis, steps, job_id) == statuses

    assert Deliveries(redis).log(steps.store.get(job_id)).state is state
    assert listening.ids() == [job_id] * len(statuses)
    assert len({request.body for request in listening.requests}) == 1
    assert all(request.verified()["data"]["id"] == job_id for request in listening.requests)


def test_a_receiver_that_is_down_is_told_when_it_is_up(redis: Redis, steps: JobSteps) -> None:
    port = free_port()
    job_id = steps.ended_with_callback(f"http://127.0.0.1:{port}/")
    assert deliver(redis, steps, job_id, pauses=(0.0,)) == [None, None]

    log = Deliveries(redis).log(steps.store.get(job_id))
    assert log.state is DeliveryState.FAILED
    assert "refused" in (log.attempts[0].error or "")


def test_what_a_receiver_sends_that_is_no_answer_is_not_repeated(
    redis: Redis, steps: JobSteps
) -> None:
    with receiver(garbling) as listening:
        job_id = steps.ended_with_callback(listening.url)
        deliver(redis, steps, job_id, pauses=())

    [attempt] = Deliveries(redis).log(steps.store.get(job_id)).attempts
    assert attempt.error == "the answer is not HTTP (BadStatusLine)"


def test_attempts_of_which_nothing_was_heard_count(redis: Redis, steps: JobSteps) -> None:
    with receiver(answering(200)) as listening:
        job_id = steps.ended_with_callback(listening.url)
        for _ in range(3):
            assert Deliveries(redis).claim(seconds=0)

        assert deliver(redis, steps, job_id) == []

    assert listening.requests == []
    assert Deliveries(redis).log(steps.store.get(job_id)).state is DeliveryState.FAILED


def test_a_private_address_is_noted_as_refused(redis: Redis, steps: JobSteps) -> None:
    job_id = steps.ended_with_callback("https://10.0.0.1/")
    deliverer = make_deliverer(redis, steps, pauses=())
    job = steps.store.get(job_id)
    refusing = Deliverer(**vars(deliverer) | {"caller": Caller(allow_private=False)})

    refusing.run(lambda: Deliveries(redis).log(job).state is not DeliveryState.PENDING)

    [attempt] = Deliveries(redis).log(job).attempts
    assert "private" in (attempt.error or "")


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        (None, 90, 110),
        ("3", 90, 110),
        ("500", 500, 500),
        ("9999999999", 86400, 86400),
        ("-5", 90, 110),
        ("soon", 90, 110),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", 90, 110),
        ("Thu, 01 Jan 2026 00:10:00 GMT", 600, 600),
        ("Thu, 01 Jan 2020 00:00:00 GMT", 90, 110),
        ("Thu, 01 Jan 2026 00:10:00", 600, 600),
    ],
)
def test_a_pause_is_that_of_the_schedule_or_longer_if_the_receiver_asks(
    retry_after: str | None, least: float, most: float
) -> None:
    answer = Answer(status=503, retry_after=retry_after)

    assert least <= pause_after(answer, 100, now=NOW) <= most
    assert 90 <= pause_after(None, 100, now=NOW) <= 110
