"""One id leads from a request through the lines of all processes that worked on it."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import requests

from api.app import create_app
from shared.job_store.connection import connect
from shared.settings import Settings
from tests.live_stack import Api, live_stack
from tests.raw_http import connected
from tests.receivers import SECRET, answering, receiver
from tests.waiting import wait_until

SMALL = "x\n6\n"
MADE = re.compile(r"[0-9a-f]{20}")

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def directory(run_directory: Path) -> Path:
    return run_directory / "ids"


@pytest.fixture(scope="module")
def stack(directory: Path, few_models: Path) -> Iterator[Api]:
    settings = {
        "access_log": "true",
        "max_chunk_bytes": "2000",
        "webhook_secret": SECRET,
        "webhook_allow_private": "true",
    }
    with live_stack(directory, few_models, **settings) as api:
        yield api


def lines(log: Path) -> Lines:
    """What a process has logged so far, apart from the banner that Celery prints."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def found(log: Path, count: int = 1, **fields: object) -> Lines:
    """Lines with these fields, once there are so many."""

    def matching() -> Lines:
        return [line for line in lines(log) if fields.items() <= line.items()]

    wait_until(lambda: len(matching()) >= count, timeout=30)
    return matching()


def test_the_id_of_a_request_is_in_the_lines_of_its_small_job(stack: Api, directory: Path) -> None:
    answer = stack.submit(SMALL, model="line", headers={"X-Request-ID": "small-1"})

    assert answer.headers["X-Request-ID"] == "small-1"
    job_id = answer.json()["id"]
    [sent] = found(directory / "api.log", event="request answered", request_id="small-1")
    assert (sent["job_id"], sent["method"], sent["route"]) == (job_id, "POST", "/jobs")
    assert (sent["status"], sent["bytes"]) == (202, len(answer.content))
    [run] = found(directory / "worker.log", event="chunk run", request_id="small-1")
    assert (run["job_id"], run["chunk"], run["attempt"]) == (job_id, 0, 1)


def test_the_id_of_a_request_is_in_the_lines_of_all_chunks(stack: Api, directory: Path) -> None:
    """They are scored by another thread than the one that takes them."""
    rows = 3000
    table = "x\n" + "1.5\n" * rows

    answer = stack.submit(table, model="echo", headers={"X-Request-ID": "bulk-1"})

    job = answer.json()
    chunks = job["progress"]["chunks_total"]
    assert chunks > 1
    runs = found(directory / "worker.log", chunks, event="chunk run", request_id="bulk-1")
    assert {run["job_id"] for run in runs} == {job["id"]}
    assert sorted(run["chunk"] for run in runs) == list(range(chunks))


def test_a_callback_is_told_under_the_id_of_the_request(stack: Api, directory: Path) -> None:
    with receiver(answering(204)) as hook:
        stack.submit(SMALL, model="line", callback_url=hook.url, headers={"X-Request-ID": "hook-1"})

        [told] = found(directory / "worker.log", event="callback told", request_id="hook-1")

    assert told["job_id"].startswith("job_")


def test_an_answer_that_was_put_aside_keeps_its_id(stack: Api, directory: Path) -> None:
    """The rest of such a request is served by another thread, with the same id: also one that was
    made here."""
    table = "x\n" + "1\n" * 600

    given = stack.submit(table, model="slow", headers={"X-Request-ID": "slow-1"})
    made = stack.submit(table, model="slow")

    assert given.headers["X-Request-ID"] == "slow-1"
    for answer in given, made:
        assert answer.json()["status"] == "succeeded"
        request_id = answer.headers["X-Request-ID"]
        [sent] = found(directory / "api.log", event="request answered", request_id=request_id)
        assert sent["job_id"] == answer.json()["id"]
        # It was away: 600 rows of 2 ms each.
        assert sent["seconds"] > 0.5


def test_a_stream_is_logged_when_it_is_over_with_all_that_was_sent(
    stack: Api, directory: Path
) -> None:
    job = stack.submit("x\n" + "1.5\n" * 2000, model="echo", wait=0).json()
    path = f"{job['urls']['results']}?follow=true"

    answer = stack.get(path, **{"X-Request-ID": "stream-1"})

    assert answer.headers["X-Request-ID"] == "stream-1"
    [sent] = found(directory / "api.log", event="request answered", request_id="stream-1")
    assert sent["bytes"] == len(answer.content) > 2000
    assert (sent["job_id"], sent["route"]) == (job["id"], "/jobs/{job_id}/results")


@pytest.mark.parametrize(
    "path", ["/healthz", "/", "/jobs/job_none", "/nowhere", "/openapi.json", "/models/none"]
)
def test_every_answer_has_an_id(stack: Api, path: str) -> None:
    answer = stack.get(path)

    assert MADE.fullmatch(answer.headers["X-Request-ID"])


HOSTILE = [
    b"",
    b"two words",
    b"a,b",
    b'"},{"level":"error',
    b"\xc3\xa9t\xc3\xa9",
    b"x" * 129,
    b"%0aevent",
    b"<script>",
    b"a\tb",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_id_that_is_not_sound_is_replaced(stack: Api, directory: Path, value: bytes) -> None:
    answer = requests.get(f"{stack.url}/models", headers={"X-Request-ID": value}, timeout=30)

    request_id = answer.headers["X-Request-ID"]
    assert answer.ok
    assert MADE.fullmatch(request_id)
    [sent] = found(directory / "api.log", event="request answered", request_id=request_id)
    assert sent["route"] == "/models"


def test_what_is_no_http_gets_an_id_that_is_in_the_log(stack: Api, directory: Path) -> None:
    """A line break in a header among it."""
    head = b"GET /models HTTP/1.1\r\nHost: test\r\nX-Request-ID: a\r\n level: error\r\n\r\n"

    with connected(stack) as connection:
        connection.settimeout(30)
        connection.sendall(head)
        answer = HTTPResponse(connection)
        answer.begin()

    assert answer.status == 400
    request_id = answer.getheader("X-Request-ID") or ""
    assert MADE.fullmatch(request_id)
    [line] = found(directory / "api.log", request_id=request_id)
    assert line["logger"] == "gunicorn.error"


def test_a_problem_of_ours_names_the_request() -> None:
    client = create_app(Settings(redis_url="unix:///nowhere")).test_client()

    answer = client.get("/jobs", headers={"X-Request-ID": "away-1"})

    assert answer.status_code == 503
    assert answer.headers["X-Request-ID"] == answer.get_json()["request_id"] == "away-1"
    assert "request_id" not in client.get("/jobs?limit=0").get_json()


def test_all_that_processes_log_is_json(stack: Api, directory: Path) -> None:
    """Gunicorn's and Celery's own lines, too. Celery prints its banner without logging it."""
    [listening] = found(directory / "api.log", logger="gunicorn.error")[:1]
    assert listening["level"] == "info"
    assert found(directory / "worker.log", logger="celery.apps.worker")

    api_lines = (directory / "api.log").read_text().splitlines()
    assert [line for line in api_lines if not line.startswith("{")] == []
    worker_lines = (directory / "worker.log").read_text().splitlines()
    first = next(n for n, line in enumerate(worker_lines) if '"ready' in line or "ready." in line)
    assert [line for line in worker_lines[first:] if not line.startswith("{")] == []


def test_the_store_keeps_the_id_no_longer_than_the_job(stack: Api) -> None:
    job = stack.submit(SMALL, model="line", headers={"X-Request-ID": "kept-1"}).json()
    redis = connect(stack.redis_url)

    assert redis.hget(f"job:{{{job['id']}}}", "trail") == b"kept-1"
    stack.delete(job["urls"]["self"])
    assert not redis.exists(f"job:{{{job['id']}}}")
    redis.close()
