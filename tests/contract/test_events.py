"""`GET /jobs/{id}/events`: what happens to a job, told as it happens."""

import pytest
import requests

from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    assert_sound,
    newer_job,
    newest_job,
    shown,
)
from tests.contract.bodies import LONG, WIDE_ROW
from tests.live_stack import Api
from tests.raw_http import answer_on, connected, head
from tests.server_sent_events import events_of, watched
from tests.waiting import wait_until


@pytest.fixture
def ended(api: Api) -> Document:
    return accepted(api.submit("x\n6\nbad\n", model="line"))


def test_a_job_is_watched_to_its_end(api: Api, slow: str) -> None:
    job = accepted(api.submit("x\n" + "3\nbad\n" * 600, wait=0, model=slow))

    with watched(api, job["urls"]["events"]) as answer:
        found = list(events_of(answer))

    *progress, last = found
    assert answer.headers["Content-Type"].split(";")[0] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert progress
    assert {event.name for event in progress} == {"progress"}
    assert (last.name, last.job) == ("completed", shown(api, job))
    assert len({event.id for event in found}) == len(found)
    for event in found:
        assert_sound(event.job)
        assert event.job.keys() == job.keys()
    done = [event.job["counts"]["pending"] for event in found]
    assert done == sorted(done, reverse=True)


def test_a_job_whose_body_arrives_is_watched(api: Api) -> None:
    before = newest_job(api)
    with connected(api) as upload:
        upload.sendall(head(f"Content-Length: {len(LONG) + len(WIDE_ROW)}") + LONG)
        job = wait_until(lambda: newer_job(api, before))
        with watched(api, job["urls"]["events"]) as answer:
            events = events_of(answer)
            first = next(events)
            upload.sendall(WIDE_ROW)
            *_, last = [first, *events]
        answer_on(upload)

    assert (first.name, first.job["status"]) == ("progress", "receiving")
    assert (last.name, last.job["counts"]["total"]) == ("completed", 6001)


def test_a_job_that_has_ended_is_completed_at_once(api: Api, ended: Document) -> None:
    with watched(api, ended["urls"]["events"], **{"Last-Event-ID": "running-2-0-0"}) as answer:
        [event] = events_of(answer)

    assert (event.name, event.job) == ("completed", ended)
    assert answer.headers["Cache-Control"] == "no-store"


def test_who_has_seen_the_end_is_told_to_stay_away(api: Api, ended: Document) -> None:
    with watched(api, ended["urls"]["events"]) as answer:
        [event] = events_of(answer)

    again = api.get(ended["urls"]["events"], **{"Last-Event-ID": event.id})

    assert (again.status_code, again.content) == (204, b"")


def test_a_cancelled_job_is_completed(api: Api, running: Document) -> None:
    with watched(api, running["urls"]["events"]) as answer:
        events = events_of(answer)
        first = next(events)
        api.post(running["urls"]["cancel"])
        *_, last = events

    assert first.name == "progress"
    assert (last.name, last.job["status"]) == ("completed", "cancelled")


def test_the_stream_of_a_deleted_job_ends_and_says_why_to_who_comes_back(
    api: Api, running: Document
) -> None:
    with watched(api, running["urls"]["events"]) as answer:
        events = events_of(answer)
        first = next(events)
        api.delete(running["urls"]["self"])
        rest = list(events)

    assert "completed" not in {event.name for event in rest}
    again = api.get(running["urls"]["events"], **{"Last-Event-ID": first.id})
    assert_problem(again, 410, "job_gone")


def test_a_job_there_is_not_has_no_events(api: Api) -> None:
    assert_problem(api.get(f"/jobs/job_{'0' * 32}/events"), 404, "job_not_found")


@pytest.mark.parametrize("job", ["ended", "running"])
def test_an_unknown_parameter_is_refused(
    api: Api, job: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(job)["urls"]["events"]

    assert_problem(api.get(f"{path}?follow=true"), 422, "invalid_parameter", "'follow'")


def test_the_headers_can_be_asked_for_alone(api: Api, running: Document) -> None:
    answer = requests.head(f"{api.url}{running['urls']['events']}", timeout=30)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"].split(";")[0] == "text/event-stream"
