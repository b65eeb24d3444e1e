"""Workers that are woken by RabbitMQ: jobs are in Redis, messages are not, and either may go."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared.dispatch import Dispatcher, make_celery
from shared.errors import StoreUnavailableError
from shared.job_store import keys
from shared.settings import Settings
from tests.live_stack import (
    Api,
    answers,
    api_process,
    ask_to_stop,
    environment,
    fixed_ports,
    redis_server,
    worker_process,
)
from tests.rabbitmq import RabbitMq, is_installed, rabbitmq
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not is_installed() and "CI" not in os.environ, reason="rabbitmq-server is not installed"
)

ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class Stack:
    """API and worker, with jobs in Redis and messages in RabbitMQ."""

    api: Api
    broker: RabbitMq
    redis: Redis
    worker: subprocess.Popen[bytes]
    log: Path

    def submit(self, body: str, model: str) -> dict[str, Any]:
        answer = self.api.submit(body, model=model, wait=0)
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def submit_slow(self) -> dict[str, Any]:
        """A job of six chunks of 0.7 s that is under way."""
        self.redis.hset(keys.SPEEDS, "slow/1", 500)
        job = self.submit("x\n" + "\n".join(map(str, range(ROWS))), "slow")
        path = job["urls"]["self"]
        wait_until(lambda: self.api.get(path).json()["progress"]["chunks_done"] >= 1)
        return job

    def last_beat_ms(self) -> int:
        """When the worker was last heard of."""
        (told,) = self.redis.hvals("workers")
        return int(told.split()[0])

    def told(self, event: str) -> int:
        """How often the worker has told of something."""
        return self.log.read_text().count(event)

    def lines(self, job: dict[str, Any]) -> list[str]:
        assert self.api.ended(job)["status"] == "succeeded"
        return self.api.get(job["urls"]["results"]).text.splitlines()[1:]


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path) -> Iterator[Stack]:
    directory = run_directory / "rabbit"
    with ExitStack() as parts:
        url = parts.enter_context(redis_server(directory / "r"))
        broker = parts.enter_context(rabbitmq(directory / "b"))
        env = environment(url, few_models, broker_url=broker.url)
        log = directory / "worker.log"
        worker = parts.enter_context(worker_process(env, log))
        api = parts.enter_context(api_process(env, directory / "api.log"))
        parts.callback(ask_to_stop, worker.pid, api.pid)
        redis = parts.enter_context(Redis(unix_socket_path=str(directory / "r" / "s")))
        # Not before: it takes as long as the worker, and that waits for it.
        broker.boot()
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=60)
        yield Stack(api=api, broker=broker, redis=redis, worker=worker, log=log)


def slow_lines() -> list[str]:
    return [f"{n + 1},{n * 10}," for n in range(ROWS)]


def test_small_and_bulk_jobs_are_scored_once_and_one_is_cancelled(stack: Stack) -> None:
    doomed = stack.submit_slow()
    cancelled = stack.api.post(doomed["urls"]["cancel"])
    bulk = stack.submit_slow()
    small = [stack.submit(f"x\n{n}\n", "echo") for n in range(5)]

    assert cancelled.status_code == 202
    assert stack.api.ended(doomed)["status"] == "cancelled"
    assert [stack.lines(job) for job in small] == [[f"1,{n * 10},"] for n in range(5)]
    assert stack.lines(bulk) == slow_lines()


def test_no_message_goes_through_redis(stack: Stack) -> None:
    assert stack.lines(stack.submit("x\n1\n", "echo")) == ["1,10,"]

    names = {key.decode() for key in stack.redis.scan_iter()}

    assert not {name for name in names if "kombu" in name or name.startswith(("work:", "unacked"))}
    assert "score_chunks" in stack.log.read_text()


def test_a_node_that_is_away_is_passed_over(stack: Stack) -> None:
    (away,) = fixed_ports(1)
    nodes = f"amqp://guest:guest@127.0.0.1:{away}//;{stack.broker.url}"
    settings = Settings(redis_url="unix:///nowhere", broker_url=nodes)

    with closing(make_celery(settings)) as celery:
        Dispatcher(celery).wake()


@pytest.mark.timeout(180)
def test_jobs_outlast_a_broker_that_is_killed_and_its_return(stack: Stack) -> None:
    slow = stack.submit_slow()
    known, connected = (stack.told(event) for event in ("broker out of reach", "Connected to amqp"))

    stack.broker.kill()
    meanwhile = [stack.submit(f"x\n{n}\n", "echo") for n in range(3)]
    wait_until(lambda: stack.told("broker out of reach") > known)
    away_ms = stack.last_beat_ms()
    wait_until(lambda: stack.last_beat_ms() > away_ms + 2_000)
    is_ready = answers(f"{stack.api.url}/readyz")
    first = stack.lines(slow)
    stack.broker.start()

    # What runs goes on, and the worker does not fall silent: it is its broker that is away.
    assert first == slow_lines()
    assert is_ready
    assert [stack.lines(job) for job in meanwhile] == [[f"1,{n * 10},"] for n in range(3)]
    wait_until(lambda: stack.told("Connected to amqp") == connected + 1)
    assert stack.lines(stack.submit("x\n1\n", "echo")) == ["1,10,"]
    assert stack.worker.poll() is None


def test_a_broker_that_is_silent_is_given_up_and_jobs_are_taken_all_the_same(
    stack: Stack,
) -> None:
    settings = Settings(redis_url="unix:///nowhere", broker_url=stack.broker.url)
    with closing(make_celery(settings)) as celery:
        stack.broker.freeze()
        try:
            with pytest.raises(StoreUnavailableError):
                Dispatcher(celery).wake()
            job = stack.submit("x\n4\n", "echo")
        finally:
            stack.broker.thaw()

    assert stack.lines(job) == ["1,40,"]
