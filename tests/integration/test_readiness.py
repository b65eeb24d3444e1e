"""What `/readyz` says of a real server that takes no writes, and of workers that can't score."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from werkzeug.test import TestResponse

from api.app import create_app
from api.readiness import Readiness
from shared.errors import NoLiveWorkerError
from shared.job_store.connection import connect
from shared.job_store.model_reports import ModelReports, VersionReport
from shared.job_store.workers import Capacity, WorkerRegistry
from shared.settings import Settings
from tests.live_stack import redis_server
from tests.waiting import wait_until

SOUND = VersionReport(sha256="1", is_tried=True)
BROKEN = VersionReport(sha256="2", is_tried=True, code="model_load_failed", detail="broken")


@contextmanager
def configured(redis: Redis, name: str, value: object) -> Iterator[None]:
    before = redis.config_get(name)[name]
    redis.config_set(name, str(value))
    try:
        yield
    finally:
        redis.config_set(name, before)


@contextmanager
def replica(redis: Redis) -> Iterator[None]:
    redis.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        redis.replicaof("NO", "ONE")


@contextmanager
def busy(redis: Redis) -> Iterator[None]:
    """A script that never ends."""

    def loop() -> None:
        path = redis.get_connection_kwargs()["path"]
        with closing(Redis(unix_socket_path=path)) as own, pytest.raises(ResponseError):
            own.eval("while true do end", 0)

    with configured(redis, "busy-reply-threshold", 1):
        script = threading.Thread(target=loop)
        script.start()
        try:
            wait_until(lambda: answer_of(redis.ping).startswith("BUSY"))
            yield
        finally:
            redis.script_kill()
            script.join()


def answer_of(command: Callable[[], object]) -> str:
    try:
        return str(command())
    except ResponseError as error:
        return str(error)


def work(redis: Redis, worker: str, *reports: VersionReport, processes: int = 3) -> None:
    """Tell what a worker tells."""
    registry = WorkerRegistry(redis, dead_after_seconds=10, max_job_losses=1)
    capacity = Capacity(processes=processes, bulk_processes=2, threads_per_process=1, cores=2)
    registry.beat(worker, capacity, alive=[])
    told = {f"model/{number}": report for number, report in enumerate(reports)}
    ModelReports(redis).tell(worker, told, serving={})


def ask(redis_url: str) -> TestResponse:
    return create_app(Settings(redis_url=redis_url)).test_client().get("/readyz")


def assert_not_ready(answer: TestResponse, code: str) -> None:
    document = answer.get_json()
    assert (answer.status_code, document["code"]) == (503, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


# --- the store


@pytest.mark.parametrize(
    ("disturbed", "code"),
    [
        (lambda redis: configured(redis, "maxmemory", 1), "store_full"),
        (lambda redis: configured(redis, "min-replicas-to-write", 1), "store_read_only"),
        (replica, "store_read_only"),
        (busy, "store_read_only"),
    ],
    ids=["full", "too few replicas", "replica", "busy"],
)
def test_a_store_that_takes_no_writes_is_not_ready(
    redis: Redis, redis_url: str, disturbed: Callable[[Redis], ExitStack], code: str
) -> None:
    work(redis, "a", SOUND)

    with disturbed(redis):
        assert_not_ready(ask(redis_url), code)

    assert ask(redis_url).get_json() == {"status": "ready", "worker_processes": 3}


def test_a_store_that_forbids_writes_is_not_ready(redis: Redis, redis_url: str) -> None:
    work(redis, "a", SOUND)
    redis.acl_setuser("reader", enabled=True, passwords=["+p"], keys=["*"], commands=["+@read"])

    answer = ask(redis_url.replace("unix://", "unix://reader:p@"))

    redis.acl_deluser("reader")
    assert_not_ready(answer, "store_read_only")
    assert "NOPERM" in answer.get_json()["detail"]


def test_a_store_that_is_gone_is_not_ready(run_directory: Path) -> None:
    with redis_server(run_directory / "leaving") as url:
        with closing(connect(url)) as redis:
            work(redis, "a", SOUND)
        client = create_app(Settings(redis_url=url)).test_client()

    assert_not_ready(client.get("/readyz"), "store_unavailable")


def test_asking_writes_nothing(redis: Redis, redis_url: str) -> None:
    work(redis, "a", SOUND)
    before = set(redis.scan_iter())
    changes = redis.info("persistence")["rdb_changes_since_last_save"]

    assert ask(redis_url).status_code == 200

    assert set(redis.scan_iter()) == before
    assert redis.info("persistence")["rdb_changes_since_last_save"] == changes


# --- the workers


def test_processes_are_those_of_workers_that_can_use_a_model(redis: Redis, redis_url: str) -> None:
    work(redis, "good", SOUND, BROKEN, processes=3)
    work(redis, "useless", BROKEN, processes=2)
    work(redis, "empty", processes=2)

    assert ask(redis_url).get_json()["worker_processes"] == 3


@pytest.mark.parametrize("reports", [[BROKEN], [VersionReport(sha256="3")], []])
def test_workers_that_can_use_no_model_are_not_ready(
    redis: Redis, redis_url: str, reports: list[VersionReport]
) -> None:
    work(redis, "a", *reports)

    assert_not_ready(ask(redis_url), "no_usable_model")


def test_a_worker_whose_processes_have_not_started_is_not_ready(
    redis: Redis, redis_url: str
) -> None:
    work(redis, "a", SOUND, processes=0)

    assert_not_ready(ask(redis_url), "no_live_worker")


def test_however_many_ask_the_store_is_asked_once_a_second(
    redis: Redis, registry: WorkerRegistry
) -> None:
    now = 0.0
    readiness = Readiness(registry, ModelReports(redis), clock=lambda: now)
    with pytest.raises(NoLiveWorkerError):
        readiness.processes()
    work(redis, "a", SOUND)

    with pytest.raises(NoLiveWorkerError):
        readiness.processes()
    now += 1
    assert readiness.processes() == 3
    redis.flushdb()
    assert readiness.processes() == 3
