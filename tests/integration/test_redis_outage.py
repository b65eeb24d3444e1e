"""Redis goes away and comes back: accepted jobs are scored or known to be lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from tempfile import mkdtemp
from typing import Any

import pytest
import requests
from redis import Redis

from tests.live_stack import (
    Api,
    answers,
    api_process,
    environment,
    redis_server,
    worker_process,
)
from tests.server_sent_events import events_of, watched
from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class Stack:
    """API and worker on a server that a test kills and starts again."""

    api: Api
    worker: Popen[bytes]
    directory: Path
    url: str
    server: ExitStack

    def kill_server(self) -> None:
        """SIGKILL, as the system does when memory runs out."""
        with Redis.from_url(self.url) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
        self.server.close()

    def start_server(self, *, append_only: bool) -> None:
        self.server.enter_context(redis_server(self.directory, append_only=append_only))

    def submit_slow(self, rows: int) -> dict[str, Any]:
        """A job under way."""
        body = "x\n" + "\n".join(map(str, range(rows)))
        job = self.api.submit(body, model="slow", wait=0).json()
        path = job["urls"]["self"]
        wait_until(lambda: self.api.get(path).json()["progress"]["chunks_done"] >= 1)
        return dict(job)


@pytest.fixture
def stack(run_directory: Path, models_dir: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    append_only = request.param
    # One of its own: what Redis has written down would be the next one's work.
    directory = Path(mkdtemp(dir=run_directory))
    with ExitStack() as processes, ExitStack() as server:
        url = server.enter_context(redis_server(directory, append_only=append_only))
        env = environment(url, models_dir, stop_seconds="2")
        worker = processes.enter_context(worker_process(env, directory / "worker.log"))
        api = processes.enter_context(api_process(env, directory / "api.log"))
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)
        yield Stack(api=api, worker=worker, directory=directory, url=url, server=server)


def ended_job(api: Api, path: str) -> dict[str, Any] | None:
    """The job once it has ended; None while it has not, or nobody can tell."""
    job = api.get(path, Prefer="wait=5").json()
    return job if job.get("finished_at") else None


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", [True], indirect=True)
def test_a_job_survives_a_restart_of_redis(stack: Stack) -> None:
    job = stack.submit_slow(3_000)

    stack.kill_server()
    refused = stack.api.get(job["urls"]["self"])
    stack.start_server(append_only=True)
    ended = wait_until(lambda: ended_job(stack.api, job["urls"]["self"]), timeout=120)

    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert ended["status"] == "succeeded"
    lines = stack.api.get(job["urls"]["results"]).text.splitlines()[1:]
    assert lines == [f"{n + 1},{n * 10}," for n in range(3_000)]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", [True], indirect=True)
def test_who_follows_a_job_gets_all_rows_over_a_restart_of_redis(stack: Stack) -> None:
    job = stack.submit_slow(3_000)
    url = f"{stack.api.url}{job['urls']['results']}?follow=true"
    with requests.get(url, stream=True, timeout=60) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        first = [next(lines) for _ in range(2)]

        stack.kill_server()
        away = stack.api.get(job["urls"]["self"])
        stack.start_server(append_only=True)

        found = [*first, *lines]
    assert away.status_code == 503
    assert found == ["row,prediction,error", *(f"{n + 1},{n * 10}," for n in range(3_000))]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", [True], indirect=True)
def test_who_watches_a_job_sees_its_end_over_a_restart_of_redis(stack: Stack) -> None:
    job = stack.submit_slow(3_000)
    with watched(stack.api, job["urls"]["events"]) as answer:
        events = events_of(answer)
        first = next(events)

        stack.kill_server()
        away = stack.api.get(job["urls"]["events"])
        stack.start_server(append_only=True)

        *_, last = events
    assert (away.status_code, away.json()["code"]) == (503, "store_unavailable")
    assert (first.name, last.name) == ("progress", "completed")
    assert last.job["counts"]["succeeded"] == 3_000


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", [False], indirect=True)
def test_jobs_that_vanished_with_redis_are_not_found_and_new_ones_are_scored(
    stack: Stack,
) -> None:
    job = stack.submit_slow(3_000)

    stack.kill_server()
    stack.start_server(append_only=False)

    path = job["urls"]["self"]
    wait_until(lambda: stack.api.get(path).status_code != 503)
    for answer in (
        stack.api.get(path, Prefer="wait=30"),
        stack.api.get(f"{path}/results"),
        stack.api.post(f"{path}/cancel"),
        stack.api.delete(path),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    assert stack.api.get("/jobs").json()["jobs"] == []
    fresh = stack.api.submit("x\n1\n2\n", model="echo", wait=60).json()
    assert fresh["status"] == "succeeded"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_back", [True, False], ids=["back", "away"])
@pytest.mark.parametrize("stack", [True], indirect=True)
def test_a_worker_that_lost_redis_stops_in_time(stack: Stack, is_back: bool) -> None:
    if is_back:
        stack.kill_server()
        stack.start_server(append_only=True)
        wait_until(lambda: answers(f"{stack.api.url}/readyz"), timeout=60)
    job = stack.api.submit("x\n777\n", model="stuck", wait=0).json()
    path = job["urls"]["self"]
    wait_until(lambda: stack.api.get(path).json()["status"] == "running")
    if not is_back:
        stack.kill_server()

    began = time.monotonic()
    stack.worker.terminate()
    stack.worker.wait(timeout=30)

    assert time.monotonic() - began < 15
    if is_back:
        with Redis.from_url(stack.url) as redis:
            assert redis.keys("leases:*") == []


def too_few_replicas(broker: Redis) -> None:
    """What kombu begins a connection with is refused."""
    broker.config_set("min-replicas-to-write", 1)


def no_new_queues(broker: Redis) -> None:
    """What Celery does next, once it is connected, is refused."""
    broker.execute_command("ACL SETUSER", "default", "-sadd")
    broker.client_kill_filter(_type="normal")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("refuse", [too_few_replicas, no_new_queues])
def test_a_broker_that_takes_no_writes_costs_a_worker_nothing(
    run_directory: Path, few_models: Path, refuse: Callable[[Redis], None]
) -> None:
    directory = Path(mkdtemp(dir=run_directory))
    with ExitStack() as parts:
        url, broker_url = (parts.enter_context(redis_server(directory / name)) for name in "jb")
        redis, broker = (
            parts.enter_context(closing(Redis.from_url(where))) for where in (url, broker_url)
        )
        env = environment(url, few_models, broker_url=broker_url)
        worker = parts.enter_context(worker_process(env, directory / "worker.log"))
        api = parts.enter_context(api_process(env, directory / "api.log"))
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)

        refuse(broker)
        job = api.submit("x\n7\n", model="echo", wait=0).json()
        made = broker.info()["total_connections_received"]
        kept = []
        for tries in (10, 40):
            wait_until(lambda n=made + tries: broker.info()["total_connections_received"] >= n)
            kept.append(broker.info()["connected_clients"])
        beat = redis.hvals("workers")
        wait_until(lambda: redis.hvals("workers") != beat)
        broker.config_set("min-replicas-to-write", 0)
        broker.execute_command("ACL SETUSER", "default", "+sadd")

        assert kept[1] - kept[0] < 10
        assert api.ended(job)["status"] == "succeeded"
        assert worker.poll() is None
