"""Waiting for a job: pauses, deadlines and patience, on a clock that only sleeping moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowmill.errors import (
    ConnectionFailedError,
    JobCancelledError,
    JobFailedError,
    ProblemError,
    WaitTimeoutError,
)
from rowmill.polling import PATIENCE_SECONDS, Sighting, Watch


@pytest.fixture
def watch(fake_clock, make_job):
    """A watch over a list of happenings: sightings, or errors to raise; the last repeats."""

    def make(*happenings, held_seconds=0.0, **options):
        planned = list(happenings)
        holds: list[int] = []

        def look(hold_seconds: int) -> Sighting:
            holds.append(hold_seconds)
            fake_clock.seconds += held_seconds
            happening = planned.pop(0) if len(planned) > 1 else planned[0]
            if isinstance(happening, Exception):
                raise happening
            return happening

        watch = Watch(look, job_id="job_1", clock=fake_clock.clock, **options)
        return watch, holds

    return make


@pytest.fixture
def running(make_job):
    return Sighting(job=make_job("running"), retry_after_seconds=3)


@pytest.fixture
def ended(make_job):
    return Sighting(job=make_job("succeeded", succeeded=10))


def test_retry_after_is_the_pause_between_looks(watch, running, ended, fake_clock):
    until, _ = watch(running, running, ended)

    assert until.until_end() is ended.job
    assert fake_clock.pauses == [3, 3]


def test_after_a_request_that_was_held_the_next_follows_at_once(watch, make_job, ended, fake_clock):
    held = Sighting(job=make_job("running"), granted_seconds=25, retry_after_seconds=30)
    until, holds = watch(held, held, ended, held_seconds=25)

    until.until_end()

    assert fake_clock.pauses == []
    assert holds == [25, 25, 25]


def test_a_server_that_says_it_held_but_did_not_makes_no_busy_loop(
    watch, make_job, ended, fake_clock
):
    liar = Sighting(job=make_job("running"), granted_seconds=25, retry_after_seconds=0)
    until, _ = watch(liar, liar, ended)

    until.until_end()

    assert fake_clock.pauses == [0.1, 0.1]


def test_while_someone_watches_the_looks_are_short(watch, running, ended):
    seen = []
    until, holds = watch(running, ended, on_progress=seen.append)

    until.until_end()

    assert holds == [1, 1]
    assert seen == [running.job, ended.job]


def test_a_wait_ends_at_its_timeout_and_not_before_a_last_look(watch, running, fake_clock):
    until, holds = watch(running, timeout_seconds=7)

    with pytest.raises(WaitTimeoutError, match=r"job_1 hasn't ended in 7 s"):
        until.until_end()

    assert fake_clock.pauses == [3, 3, 1]
    assert holds == [7, 4, 1, 0]


def test_a_wait_timeout_is_a_timeout_error_for_those_who_catch_that():
    assert issubclass(WaitTimeoutError, TimeoutError)


def test_a_server_that_restarts_is_waited_for(watch, running, ended):
    down = ConnectionFailedError("http://localhost", "Connection refused")
    overloaded = ProblemError(503, "store_unavailable", title="", detail="")
    until, _ = watch(running, down, down, overloaded, ended)

    assert until.until_end() is ended.job


def test_an_overloaded_server_is_left_alone_for_as_long_as_it_asks(watch, ended, fake_clock):
    busy = ProblemError(429, "queue_full", title="", detail="", retry_after_seconds=12)
    until, _ = watch(busy, ended)

    until.until_end()

    assert fake_clock.pauses == [12]


def test_a_server_that_stays_away_is_given_up(watch, running, fake_clock):
    down = ConnectionFailedError("http://localhost", "Connection refused")
    until, _ = watch(running, down)

    with pytest.raises(ConnectionFailedError):
        until.until_end()

    assert PATIENCE_SECONDS < fake_clock.seconds < PATIENCE_SECONDS + 10


def test_a_job_that_is_gone_is_no_passing_trouble(watch, running, fake_clock):
    until, _ = watch(running, ProblemError(410, "job_gone", title="Gone", detail="It is deleted."))

    with pytest.raises(ProblemError, match="deleted"):
        until.until_end()

    assert fake_clock.pauses == [3]


@given(
    granted=st.floats(0, 60),
    held=st.floats(0, 60),
    retry_after=st.none() | st.floats(0, 60),
)
def test_holding_and_pausing_together_never_make_a_busy_loop(granted, held, retry_after):
    sighting = Sighting(job=None, granted_seconds=granted, retry_after_seconds=retry_after)  # type: ignore[arg-type]

    pause = sighting.pause_seconds(held)

    assert pause >= 0.1 or held >= granted * 0.9 > 0


def test_wait_asks_the_server_to_hold_the_request(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("queued"))
    server.say(
        "GET",
        "/jobs/job_1",
        json_body=job_document("succeeded", succeeded=10),
        headers={"Preference-Applied": "wait=25"},
    )

    job = client.job("job_1").wait()

    assert job.status == "succeeded"
    assert server.requests[1].headers["Prefer"] == "wait=25"


def test_a_failed_job_raises_with_its_own_reason(client, server, job_document):
    error = {"code": "model_load_failed", "detail": "The artifact is damaged."}
    server.say("GET", "/jobs/job_1", json_body=job_document("failed", error=error))

    with pytest.raises(JobFailedError, match=r"job_1 failed: The artifact is damaged\.") as caught:
        client.job("job_1").wait()

    assert caught.value.code == "model_load_failed"


def test_a_cancelled_job_raises_an_error_of_its_own(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("cancelled"))

    with pytest.raises(JobCancelledError, match="was cancelled"):
        client.job("job_1").wait()


def test_a_job_with_failed_rows_ends_well(client, server, job_document):
    server.say("GET", "/jobs/job_1", json_body=job_document("partially_succeeded", failed=1))

    assert client.job("job_1").wait().job.counts.failed == 1
