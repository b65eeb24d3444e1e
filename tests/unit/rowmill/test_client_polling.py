"""Waiting for a job: pauses, deadlines and patience, on a clock that only sleeping moves."""

import math

import pytest

from rowmill.errors import JobFailedError, ProblemError, TransportError, WaitTimeoutError
from rowmill.polling import PATIENCE_SECONDS, Sighting, wait_for_end

DOWN = TransportError("Can't reach a server.")


@pytest.fixture
def wait(fake_clock):
    """Waits through a list of happenings: sightings, or errors to raise; the last repeats."""

    def run(*happenings, timeout_seconds=math.inf):
        planned = list(happenings)

        def look() -> Sighting:
            happening = planned.pop(0) if len(planned) > 1 else planned[0]
            if isinstance(happening, Exception):
                raise happening
            return happening

        return wait_for_end(look, "job_1", clock=fake_clock.clock, timeout_seconds=timeout_seconds)

    return run


@pytest.fixture
def running(make_job):
    return Sighting(job=make_job("running"), pause_seconds=3)


@pytest.fixture
def ended(make_job):
    return Sighting(job=make_job("succeeded", succeeded=10))


def test_the_server_says_how_long_to_leave_it_alone(wait, running, ended, fake_clock):
    assert wait(running, running, ended) is ended.job
    assert fake_clock.pauses == [3, 3]


def test_a_server_that_asks_for_no_pause_makes_no_busy_loop(wait, make_job, ended, fake_clock):
    wait(Sighting(job=make_job("running"), pause_seconds=0), ended)

    assert fake_clock.pauses == [0.1]


def test_a_wait_ends_at_its_timeout_and_not_before_a_last_look(wait, running, fake_clock):
    with pytest.raises(WaitTimeoutError, match=r"job_1 hasn't ended in 7 s"):
        wait(running, timeout_seconds=7)

    assert fake_clock.pauses == [3, 3, 1]


def test_a_wait_timeout_is_a_timeout_error_for_those_who_catch_that():
    assert issubclass(WaitTimeoutError, TimeoutError)


def test_a_server_that_restarts_is_waited_for(wait, running, ended):
    overloaded = ProblemError(503, "store_unavailable", detail="")

    assert wait(running, DOWN, DOWN, overloaded, ended) is ended.job


def test_an_overloaded_server_is_left_alone_for_as_long_as_it_asks(wait, ended, fake_clock):
    wait(ProblemError(429, "store_full", detail="", retry_after_seconds=12), ended)

    assert fake_clock.pauses == [12]


def test_a_server_that_stays_away_is_given_up(wait, running, fake_clock):
    with pytest.raises(TransportError):
        wait(running, DOWN)

    assert PATIENCE_SECONDS < fake_clock.seconds < PATIENCE_SECONDS + 10


def test_a_job_that_is_gone_is_no_passing_trouble(wait, running, fake_clock):
    with pytest.raises(ProblemError, match="deleted"):
        wait(running, ProblemError(410, "job_gone", detail="It is deleted."))

    assert fake_clock.pauses == [3]


def test_wait_asks_the_server_to_hold_the_request(client, server, job_document, fake_clock):
    held = {"Preference-Applied": "wait=1", "Retry-After": "30"}
    server.say("GET", "/jobs/job_1", json_body=job_document("running"), headers=held)
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))

    assert client.wait("job_1").status == "succeeded"
    assert server.requests[0].headers["Prefer"] == "wait=1"
    assert fake_clock.pauses == [0.1]


def test_a_server_that_does_not_hold_the_request_is_asked_when_it_says(
    client, server, job_document, fake_clock
):
    retry = {"Retry-After": "30"}
    server.say("GET", "/jobs/job_1", json_body=job_document("running"), headers=retry)
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))

    client.wait("job_1")

    assert fake_clock.pauses == [30]


def test_every_sighting_is_told(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("queued"))
    server.say("GET", "/jobs/job_1", json_body=job_document("succeeded", succeeded=10))
    seen = []

    client.wait("job_1", on_progress=lambda job: seen.append(job.status))

    assert seen == ["queued", "succeeded"]


def test_a_failed_job_raises_with_its_own_reason(client, server, job_document):
    error = {"code": "model_load_failed", "detail": "The artifact is damaged."}
    server.say("GET", "/jobs/job_1", json_body=job_document("failed", error=error))

    with pytest.raises(JobFailedError, match=r"job_1 failed: The artifact is damaged\."):
        client.wait("job_1")


def test_a_cancelled_job_raises_and_says_so(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("cancelled"))

    with pytest.raises(JobFailedError, match="was cancelled"):
        client.wait("job_1")


def test_a_job_with_failed_rows_ends_well(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("partially_succeeded", failed=1))

    assert client.wait("job_1").failed == 1
