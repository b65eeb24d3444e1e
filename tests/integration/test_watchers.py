"""Who watches a job has one of the seats of those who wait, and keeps no server from stopping."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from shared.job_store.progress import PAUSE_SECONDS, Progress
from tests.job_steps import JobSteps, steps_on
from tests.live_stack import Api, api_process, environment, redis_server
from tests.server_sent_events import Event, events_of, watched
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def narrow(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    """An API with one seat; nobody works but the test."""
    with redis_server(run_directory / "w") as url:
        env = environment(url, models_dir, max_waiting_requests="1", api_processes="1")
        with api_process(env, run_directory / "narrow_watched.log") as api:
            yield api


@pytest.fixture
def steps(narrow: Api) -> Iterator[JobSteps]:
    """Steps on that API's server."""
    with steps_on(narrow.redis_url) as steps:
        yield steps


def answer_to(api: Api, job_id: str, **headers: str) -> requests.Response:
    """The beginning of the stream of a job's events, or why there is none."""
    url = f"{api.url}/jobs/{job_id}/events"
    return requests.get(url, headers=headers, stream=True, timeout=30)


@contextmanager
def watcher(api: Api, job_id: str, **headers: str) -> Iterator[Iterator[Event]]:
    """The events of a job, as soon as the seat is free."""

    def seated() -> requests.Response | None:
        answer = answer_to(api, job_id, **headers)
        return None if answer.status_code == 429 else answer

    with wait_until(seated, timeout=10) as answer:
        assert answer.ok, answer.text
        yield events_of(answer)


# --- what is told


def test_every_change_is_told_once(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.create()
    steps.append(job_id)
    with watcher(narrow, job_id) as events:
        seen = [next(events)]
        steps.append(job_id, 1)
        seen.append(next(events))
        steps.close(job_id)
        seen.append(next(events))
        lease = steps.leased()
        seen.append(next(events))
        steps.commit(lease, failed=2)
        seen.append(next(events))
        steps.run()
        seen += events

    assert [(event.job["status"], event.job["counts"]["total"]) for event in seen] == [
        ("receiving", 10),
        ("receiving", 20),
        ("queued", 20),
        ("running", 20),
        ("running", 20),
        ("partially_succeeded", 20),
    ]
    assert [event.name for event in seen] == ["progress"] * 5 + ["completed"]
    assert all(before.id != after.id for before, after in pairwise(seen))


def test_who_comes_back_is_told_only_what_is_new(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    steps.run()
    with watcher(narrow, job_id) as events:
        first = next(events)

    with watcher(narrow, job_id, **{"Last-Event-ID": first.id}) as events:
        # It has looked once before it hears of anything.
        wait_until(lambda: steps.redis.pubsub_numsub(f"job:{{{job_id}}}:progress")[0][1])
        steps.run()
        second = next(events)
        steps.run()
        [last] = events

    assert [event.job["counts"]["succeeded"] for event in (first, second, last)] == [10, 20, 30]
    assert last.name == "completed"


def test_what_changed_meanwhile_is_told_at_once(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit(chunks=3)
    with watcher(narrow, job_id) as events:
        first = next(events)
    steps.run()

    with watcher(narrow, job_id, **{"Last-Event-ID": first.id}) as events:
        assert next(events).job["counts"]["succeeded"] == 10


def test_a_fast_job_is_not_looked_at_for_every_chunk(steps: JobSteps) -> None:
    job_id = steps.submit(chunks=300)
    jobs = Progress(steps.redis, steps.store).watch(job_id)
    looks = [next(jobs)]
    for _ in range(299):
        steps.run()
    looks.append(next(jobs))
    steps.run()
    looks += jobs

    assert [job.chunks_done for job in looks if job] == [0, 299, 300]
    assert 0 < PAUSE_SECONDS <= 0.5


# --- seats


def test_who_finds_no_seat_is_told_to_come_back(narrow: Api, steps: JobSteps) -> None:
    job_id, ended = steps.submit(), steps.submit()
    with watcher(narrow, job_id) as events:
        next(events)
        second = answer_to(narrow, job_id)
        follower = narrow.get(f"/jobs/{job_id}/results?follow=true")
        steps.store.cancel(ended)

        assert (second.status_code, second.json()["code"]) == (429, "too_many_waiting")
        assert int(second.headers["Retry-After"]) >= 1
        assert follower.status_code == 429
        with answer_to(narrow, ended) as answer:
            assert [event.name for event in events_of(answer)] == ["completed"]


def assert_seat_is_left(api: Api, steps: JobSteps) -> None:
    with watcher(api, steps.submit()) as events:
        next(events)
        # Of all that were there before, nobody is any more.
        wait_until(lambda: len(steps.redis.client_list(_type="pubsub")) <= 1)


def test_the_end_of_a_job_leaves_the_seat(narrow: Api, steps: JobSteps) -> None:
    with watcher(narrow, steps.submit()) as events:
        next(events)
        steps.run_all()

        assert [event.name for event in events] == ["completed"]
        assert_seat_is_left(narrow, steps)


def test_a_client_that_goes_leaves_its_seat(narrow: Api, steps: JobSteps) -> None:
    with watcher(narrow, steps.submit()) as events:
        next(events)

    assert_seat_is_left(narrow, steps)


def test_the_deletion_of_a_job_leaves_the_seat(narrow: Api, steps: JobSteps) -> None:
    job_id = steps.submit()
    with watcher(narrow, job_id) as events:
        next(events)
        steps.store.delete(job_id)

        assert list(events) == []
        assert_seat_is_left(narrow, steps)


# --- the server


def test_a_server_that_stops_ends_its_streams(run_directory: Path, models_dir: Path) -> None:
    with redis_server(run_directory / "ws") as url, steps_on(url) as steps:
        job_id = steps.submit()
        env = environment(url, models_dir)
        with api_process(env, run_directory / "stopped_watched.log") as api:
            with watched(api, f"/jobs/{job_id}/events") as answer:
                events = events_of(answer)
                first = next(events)
                os.kill(api.pid, signal.SIGTERM)

                # One that was cut off would raise an error.
                assert list(events) == []
            assert first.name == "progress"
