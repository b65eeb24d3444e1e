"""A request that waits, step by step: what it holds is given back, and nothing told is missed."""

import time
from collections.abc import Iterator

import pytest
from flask import Request, Response
from redis import Redis
from werkzeug.test import EnvironBuilder

from api import waiting
from api.deferral import MAY_DEFER, Deferred, Later
from api.waiting import MakeAnswer, WaitingRoom
from shared.errors import JobGoneError, StoreUnavailableError, TooManyWaitingError
from shared.job_store.connection import connect
from shared.job_store.ends import LOOK_SECONDS, Ends, Seen
from shared.job_store.store import JobStore
from shared.jobs import Job, JobStatus
from tests.job_steps import JobSteps
from tests.listening import listeners, listening
from tests.live_stack import free_port
from tests.waiting import wait_until


@pytest.fixture
def ends(redis: Redis) -> Iterator[Ends]:
    with listening(redis) as ends:
        ends.channel()
        yield ends


@pytest.fixture
def room(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> WaitingRoom:
    """Has one seat and one thread for those who wait, which don't do it for long."""
    monkeypatch.setattr(waiting, "MOMENT_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "WAITING_THREADS", 1)
    return WaitingRoom(ends, max_seconds=60, seats=1)


def request(*, seconds: float = 60, may_defer: bool = True) -> Request:
    environ = EnvironBuilder(headers={"Prefer": f"wait={seconds}"}).get_environ()
    return Request(environ | {MAY_DEFER: True} if may_defer else environ)


def status_of(seen: Seen) -> Response:
    return Response(seen.job.status)


def failing(seen: Seen) -> Response:
    raise ZeroDivisionError(seen.job.id)


def later(
    room: WaitingRoom, job: Job, make_answer: MakeAnswer = status_of, *, seconds: float = 60
) -> Later:
    """What waits for the end of a job that does not come soon."""
    with pytest.raises(Deferred) as deferred, room.wait(request(seconds=seconds)) as wait:
        wait.answered(job, make_answer)
    return deferred.value.later


def resumed(later: Later, *, is_over: bool = False) -> str:
    """The status of the job in the answer."""
    return later.resume(is_over=is_over).get_data(as_text=True)


def again(later: Later) -> Later:
    """What waits on after a look that found nothing new."""
    with pytest.raises(Deferred) as deferred:
        later.resume(is_over=False)
    return deferred.value.later


def assert_is_free(room: WaitingRoom, ends: Ends) -> None:
    """Seat and threads are there, and nobody hears anything any more."""
    room.follow()()
    with room.thread() as may_wait:
        assert may_wait
    assert not ends._waiting


def queued(steps: JobSteps) -> Job:
    return steps.store.get(steps.submit_small())


def heard(later: Later) -> list[int]:
    """Grows when it is time to resume."""
    calls: list[int] = []
    later.listen(lambda: calls.append(1))
    return calls


def test_a_job_that_ends_soon_is_answered_at_once(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    job = queued(steps)
    steps.run()

    with room.wait(request()) as wait:
        answer = wait.answered(job, status_of)

    assert (answer.get_data(as_text=True), wait.applied) == ("succeeded", "wait=60")
    assert_is_free(room, ends)


def test_who_hears_nothing_yet_does_not_wait_for_that() -> None:
    """The store may be there all the same: this is for it to say."""
    redis = connect(f"redis://127.0.0.1:{free_port()}")
    ends = Ends(redis, JobStore(redis))
    wait = WaitingRoom(ends, max_seconds=60, seats=1).wait(request())

    assert wait.channel == ""

    ends.close()
    wait_until(lambda: not listeners(ends))
    redis.close()


def test_what_waits_has_the_seat_and_no_thread(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    waits = later(room, queued(steps))

    with room.thread() as may_wait:
        assert may_wait
    with pytest.raises(TooManyWaitingError):
        room.follow()
    assert room.wait(request()).seconds is None
    steps.run()
    assert resumed(waits) == "succeeded"
    assert_is_free(room, ends)


def test_an_end_between_the_moment_and_listening_is_heard(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    job = queued(steps)
    waits = later(room, job)
    steps.run()
    wait_until(lambda: not ends._waiting[job.id][0]._told.empty())

    assert heard(waits) == [1]
    assert resumed(waits) == "succeeded"


def test_an_end_is_heard_while_listening(room: WaitingRoom, steps: JobSteps) -> None:
    waits = again(later(room, queued(steps)))
    calls = heard(waits)
    assert not calls
    steps.run()

    assert wait_until(lambda: calls) == [1]
    # Nothing has to be asked: the end was told with all there is to know.
    steps.redis.flushdb()
    assert resumed(waits) == "succeeded"


def test_a_look_comes_even_if_nothing_is_heard(room: WaitingRoom, steps: JobSteps) -> None:
    waits = later(room, queued(steps))
    assert 0 < waits.resume_at - time.monotonic() <= LOOK_SECONDS
    resumed(waits, is_over=True)

    short = later(room, queued(steps), seconds=1)
    assert 0 < short.resume_at - time.monotonic() <= 1


def test_a_doubt_is_looked_into_and_the_wait_goes_on(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    waits = later(room, queued(steps))
    calls = heard(waits)
    steps.redis.client_kill_filter(_type="pubsub")
    wait_until(lambda: calls)

    waits = again(waits)
    ends.channel()
    waits = again(waits)
    calls = heard(waits)
    steps.run()

    wait_until(lambda: calls)
    assert resumed(waits) == "succeeded"
    assert_is_free(room, ends)


def test_who_finds_no_thread_looks_a_little_later(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    job = queued(steps)
    with room.thread():
        waits = again(later(room, job))
        assert waits.resume_at - time.monotonic() <= waiting.RETRY_SECONDS
    steps.run()

    assert resumed(waits) == "succeeded"
    assert_is_free(room, ends)


def test_who_finds_no_thread_for_too_long_is_refused(
    room: WaitingRoom, ends: Ends, steps: JobSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LATE_SECONDS", -50.0)
    with room.thread(), pytest.raises(StoreUnavailableError), room.wait(request(seconds=1)) as wait:
        wait.answered(queued(steps), status_of)
    assert_is_free(room, ends)


def test_when_it_is_over_the_job_is_shown_as_it_was(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    job = queued(steps)
    applied: list[str | None] = []
    with pytest.raises(Deferred) as deferred, room.wait(request()) as wait:
        wait.answered(job, lambda seen: applied.append(wait.applied) or status_of(seen))
    steps.redis.flushdb()

    assert resumed(deferred.value.later, is_over=True) == JobStatus.QUEUED
    assert applied == [None]
    assert_is_free(room, ends)


def test_an_error_gives_all_back(room: WaitingRoom, ends: Ends, steps: JobSteps) -> None:
    job = queued(steps)
    waits = later(room, job, failing)
    steps.run()
    with pytest.raises(ZeroDivisionError):
        waits.resume(is_over=False)
    assert_is_free(room, ends)

    job = queued(steps)
    waits = later(room, job)
    steps.store.delete(job.id)
    with pytest.raises(JobGoneError):
        waits.resume(is_over=False)
    assert_is_free(room, ends)


def test_where_nothing_can_be_deferred_the_thread_waits(
    room: WaitingRoom, ends: Ends, steps: JobSteps
) -> None:
    with room.wait(request(seconds=1, may_defer=False)) as wait:
        began = time.monotonic()
        answer = wait.answered(queued(steps), status_of)

    assert (answer.get_data(as_text=True), time.monotonic() - began >= 1) == ("queued", True)
    assert_is_free(room, ends)
