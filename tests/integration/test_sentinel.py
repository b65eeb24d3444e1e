"""The master dies or hands over, and the stack goes on by itself: API, worker, messages and all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import TimeoutError

from shared.errors import StoreReadOnlyError, StoreUnavailableError
from shared.job_store.connection import connect, translated_errors
from shared.job_store.store import JobStore
from tests.connection_pools import PoolAt, pool_of_jobs, pool_of_messages
from tests.live_stack import (
    Api,
    answers,
    api_process,
    ask_to_stop,
    environment,
    fixed_ports,
    worker_process,
)
from tests.redis_sentinel import PASSWORD, RedisWithSentinel
from tests.waiting import wait_until

ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Stack:
    """API and worker that know nothing but sentinels."""

    api: Api
    servers: RedisWithSentinel
    directory: Path

    def submit_slow(self) -> dict[str, Any]:
        """A job under way, in several chunks."""
        body = "x\n" + "\n".join(map(str, range(ROWS)))
        job = self.api.submit(body, model="slow", wait=0).json()
        path = job["urls"]["self"]
        wait_until(lambda: self.api.get(path).json()["progress"]["chunks_done"] >= 1)
        return dict(job)

    def accepted(self, body: str) -> dict[str, Any]:
        """A job that is sent again until it is taken, as clients do after a 503."""

        def sent() -> dict[str, Any] | None:
            answer = self.api.submit(body, model="echo", wait=0)
            assert answer.status_code in (202, 503), answer.text
            assert answer.ok or "Retry-After" in answer.headers
            return dict(answer.json()) if answer.ok else None

        return wait_until(sent, timeout=60)

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job at its end, whatever the store says before."""

        def document() -> dict[str, Any] | None:
            found = self.api.get(job["urls"]["self"], Prefer="wait=5")
            return dict(found.json()) if found.ok and found.json()["finished_at"] else None

        return wait_until(document, timeout=60)

    def settle(self) -> None:
        """Return when the servers are ready for the next failover, and a job went through."""
        wait_until(self.servers.is_settled, timeout=40)
        job = self.accepted("x\n7\n")
        assert self.ended(job)["status"] == "succeeded"
        assert self.lines(job) == ["1,70,"]

    def lines(self, job: dict[str, Any]) -> list[str]:
        return self.api.get(job["urls"]["results"]).text.splitlines()[1:]


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path) -> Iterator[Stack]:
    directory = run_directory / "sentinel"
    with ExitStack() as parts:
        servers = RedisWithSentinel(directory / "r", parts.enter_context(ExitStack()))
        servers.start()
        # After so long a chunk is run again whose result was lost and whose process is idle.
        limit = {"chunk_time_limit_seconds": "20"}
        env = environment(servers.url, few_models, **limit)
        worker = parts.enter_context(worker_process(env, directory / "worker.log"))
        api = parts.enter_context(api_process(env, directory / "api.log"))
        parts.callback(ask_to_stop, worker.pid, api.pid)
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)
        yield Stack(api=api, servers=servers, directory=directory)


def slow_lines() -> list[str]:
    return [f"{n + 1},{n * 10}," for n in range(ROWS)]


@pytest.mark.timeout(180)
def test_jobs_outlast_a_master_that_is_killed_and_its_return(stack: Stack) -> None:
    slow = stack.submit_slow()
    early = [stack.accepted(f"x\n{n}\n") for n in range(5)]
    stack.servers.replicate()
    killed = stack.servers.master()

    stack.servers.kill(killed)
    refused = stack.api.get(slow["urls"]["self"])
    late = [stack.accepted(f"x\n{n}\n") for n in range(5)]
    successor = stack.servers.successor_of(killed)
    # It believes that it is the master still, until a sentinel tells it.
    stack.servers.start_server(killed)

    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert stack.ended(slow)["counts"]["succeeded"] == ROWS
    assert stack.lines(slow) == slow_lines()
    for jobs in (early, late):
        assert [stack.ended(job)["status"] for job in jobs] == ["succeeded"] * 5
        assert [stack.lines(job) for job in jobs] == [[f"1,{n * 10},"] for n in range(5)]
    stack.settle()
    assert (stack.servers.master(), stack.servers.role(killed)) == (successor, "slave")


@pytest.mark.timeout(180)
def test_who_follows_a_job_gets_each_row_once_over_a_failover_that_loses_results(
    stack: Stack,
) -> None:
    job = stack.submit_slow()
    before = stack.servers.master()
    url = f"{stack.api.url}{job['urls']['results']}?follow=true"
    with requests.get(url, stream=True, timeout=60) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        first = [next(lines) for _ in range(2)]
        stack.servers.replicate()

        stack.servers.fail_over()
        found = [*first, *lines]

    assert found == ["row,prediction,error", *slow_lines()]
    assert stack.servers.successor_of(before)
    stack.settle()


@pytest.mark.timeout(180)
def test_no_accepted_job_is_lost_when_the_master_hands_over(stack: Stack) -> None:
    before = stack.servers.master()
    jobs: list[dict[str, Any]] = []

    with ThreadPoolExecutor() as operators:
        handed_over = operators.submit(stack.servers.hand_over)
        while not handed_over.done():
            jobs.append(stack.accepted(f"x\n{len(jobs)}\n"))
        handed_over.result()

    assert stack.servers.successor_of(before)
    assert {stack.ended(job)["status"] for job in jobs} == {"succeeded"}
    assert [stack.lines(job) for job in jobs] == [[f"1,{n * 10},"] for n in range(len(jobs))]
    stack.settle()


def test_a_password_is_found_in_no_log(stack: Stack) -> None:
    for name in ("api.log", "worker.log"):
        assert PASSWORD not in (stack.directory / name).read_text()
    assert "sentinel://" in (stack.directory / "worker.log").read_text()


def test_a_server_that_is_a_replica_is_a_store_out_of_reach(stack: Stack) -> None:
    replica = next(p for p in stack.servers.ports if p != stack.servers.master())
    with closing(connect(stack.servers.url_of(replica))) as redis:
        with pytest.raises(StoreUnavailableError), translated_errors():
            redis.set("tests:key", 1)
        with pytest.raises(StoreUnavailableError):
            JobStore(redis).cancel("job_1")


@pytest.mark.parametrize("pool_at", [pool_of_jobs, pool_of_messages])
def test_a_connection_is_to_the_master_also_when_it_is_made_anew(
    stack: Stack, pool_at: PoolAt
) -> None:
    replica = next(p for p in stack.servers.ports if p != stack.servers.master())
    with pool_at(stack.servers.url) as pool:
        connection = pool.get_connection()
        connection.disconnect()

        # As a sentinel says that has not heard of a failover.
        with pytest.raises(LostConnectionError, match=f"{replica} is not the master"):
            connection.connect_to(("127.0.0.1", replica))
        connection.send_command("SET", "tests:key", 1)

        assert connection.read_response() == b"OK"
        assert connection.port == stack.servers.master()


def test_an_answer_that_came_too_late_is_nobody_elses(stack: Stack) -> None:
    with closing(connect(f"{stack.servers.url}&socket_timeout=2")) as redis:
        with pytest.raises(TimeoutError):
            redis.execute_command("BLPOP", "tests:nothing", 3)

        assert redis.echo("own") == b"own"


def test_a_master_that_lacks_replicas_is_not_spoken_to_again_unasked(stack: Stack) -> None:
    with closing(connect(stack.servers.url)) as redis, stack.servers.refused_writes():
        connection = redis.client_id()
        with pytest.raises(StoreReadOnlyError), translated_errors():
            redis.set("tests:key", 1)

        assert redis.client_id() != connection


def test_sentinels_that_are_away_are_a_store_out_of_reach() -> None:
    hosts = ",".join(f"127.0.0.1:{port}" for port in fixed_ports(2))
    client = closing(connect(f"redis+sentinel://{hosts}/mymaster"))
    with client as redis, pytest.raises(StoreUnavailableError), translated_errors():
        redis.ping()
