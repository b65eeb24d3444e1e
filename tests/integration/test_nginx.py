"""nginx before two APIs: bytes come as they are sent, APIs come and go, bounds are the API's."""

import gzip
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from api.security_headers import OF_DOCUMENTS
from api.waiting import LATE_SECONDS
from shared.job_store import keys
from shared.job_store.connection import connect
from shared.settings import Settings
from tests.contract.answers import Document, assert_problem
from tests.live_stack import (
    ROOT,
    Api,
    api_process,
    ask_to_stop,
    environment,
    free_port,
    has_processes,
    redis_server,
    worker_process,
)
from tests.nginx import CONFIGURATION, directive, needs_nginx, running_nginx
from tests.raw_http import answer_on, connected, head
from tests.server_sent_events import events_of, watched
from tests.service_names import ServiceNames, service_names
from tests.waiting import wait_until

MAX_BODY_BYTES = 4 * 1024**2
ROWS, ROW = 40_000, b"1." + b"0" * 57 + b"\n"
"""Twice the block of a body that an API reads before it looks at it."""
FIRST_HOST, SECOND_HOST, THIRD_HOST = "127.0.0.2", "127.0.0.3", "127.0.0.4"
JOBS = 200
"""That are sent while an API goes."""
REQUEST_LINE = "GET /jobs?status={} HTTP/1.1\r\nHost: test\r\n\r\n"

pytestmark = needs_nginx


@dataclass(frozen=True, kw_only=True)
class Front:
    """What is behind nginx, and nginx as it is reached."""

    proxy: Api
    names: ServiceNames
    port: int
    """Where APIs listen, each on an address of its own."""
    env: dict[str, str]

    @contextmanager
    def only(self, *addresses: str) -> Iterator[None]:
        """Let the name of the service stand for these addresses, as soon as nginx has heard."""
        before, self.names.addresses = self.names.addresses, list(addresses)
        try:
            yield
        finally:
            self.names.addresses = before
            wait_until(lambda: self.proxy.get("/healthz").ok)

    @contextmanager
    def nobody(self) -> Iterator[None]:
        """Let the name stand for an address at which there is no API, yet."""
        with self.only(THIRD_HOST):
            wait_until(lambda: self.proxy.get("/healthz").status_code == 502)
            yield

    @contextmanager
    def another_api(self, log: Path) -> Iterator[Api]:
        """An API that comes later."""
        with api_process(self.env, log, host=THIRD_HOST, port=self.port) as api:
            yield api


@pytest.fixture(scope="module")
def front(run_directory: Path, few_models: Path) -> Iterator[Front]:
    directory = run_directory / "x"
    port = free_port()
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server(directory / "r"))
        env = environment(
            redis_url,
            few_models,
            max_body_bytes=str(MAX_BODY_BYTES),
            # However fast the model is, a body is several chunks.
            max_chunk_bytes=str(MAX_BODY_BYTES // 16),
            trusted_proxies="1",
            api_processes="1",
        )
        worker = stack.enter_context(worker_process(env, directory / "worker.log"))
        for host in (FIRST_HOST, SECOND_HOST):
            log = directory / f"{host}.log"
            api = stack.enter_context(api_process(env, log, host=host, port=port))
            stack.callback(ask_to_stop, worker.pid, api.pid)
        names = stack.enter_context(service_names())
        names.addresses = [FIRST_HOST, SECOND_HOST]
        url = stack.enter_context(
            running_nginx(directory / "n", api_port=port, names_port=names.port)
        )
        proxy = Api(url=url, pid=0, redis_url=redis_url)
        wait_until(lambda: has_processes(proxy, 3), timeout=60)
        yield Front(proxy=proxy, names=names, port=port, env=env)


# --- streams


def upload(front: Front, meanwhile: Callable[[Document], None]) -> Document:
    """The job of a body that is held back in the middle for as long as `meanwhile` takes, which
    is given the job. Fails if the first rows are not scored by then."""
    known = {job["id"] for job in front.proxy.get("/jobs").json()["jobs"]}

    def begun() -> Document | None:
        jobs = front.proxy.get("/jobs").json()["jobs"]
        found = [job for job in jobs if job["id"] not in known and job["counts"]["succeeded"]]
        return found[0] if found else None

    def body() -> Iterator[bytes]:
        yield b"x\n" + ROW * ROWS
        job = wait_until(begun, timeout=30)
        assert job["status"] == "receiving"
        meanwhile(job)
        yield b"2\n"

    answer = requests.post(
        f"{front.proxy.url}/jobs?model=echo",
        data=body(),
        headers={"Content-Type": "text/csv", "Prefer": "wait=50"},
        timeout=90,
    )
    job: Document = answer.json()
    assert (answer.status_code, job["status"]) == (202, "succeeded"), job
    assert job["counts"]["succeeded"] == ROWS + 1
    return job


def test_rows_are_scored_while_the_rest_of_them_is_still_being_sent(front: Front) -> None:
    assert upload(front, print)["counts"]["failed"] == 0


def test_results_are_followed_while_the_body_is_still_being_sent(front: Front) -> None:
    lines = []

    def follow(job: Document) -> None:
        url = f"{front.proxy.url}{job['urls']['results']}?follow=true"
        with requests.get(url, stream=True, timeout=30) as answer:
            found = answer.iter_lines(chunk_size=1)
            lines.extend([next(found), next(found)])

    upload(front, follow)

    assert lines == [b"row,prediction,error", b"1,10,"]


def test_events_come_while_the_body_is_still_being_sent(front: Front) -> None:
    names = []

    def watch(job: Document) -> None:
        with watched(front.proxy, job["urls"]["events"]) as answer:
            names.append(next(events_of(answer)).name)

    upload(front, watch)

    assert names == ["progress"]


def test_a_compressed_body_is_passed_on_as_it_is(front: Front) -> None:
    headers = {"Content-Encoding": "gzip"}

    answer = front.proxy.predict(gzip.compress(b"x\n4\n"), headers=headers, model="echo")

    assert answer.text == "row,prediction,error\n1,40,\n"


# --- bounds


def test_bounds_of_time_are_wider_than_those_of_the_api() -> None:
    settings = Settings.model_construct()
    seconds = {
        name: int(directive(name).removesuffix("s"))
        for name in ("client_body_timeout", "send_timeout", "proxy_send_timeout",
                     "proxy_read_timeout")
    }  # fmt: skip

    assert min(seconds.values()) >= 2 * settings.max_silence_seconds
    assert seconds["proxy_read_timeout"] > settings.max_wait_seconds + LATE_SECONDS
    # An API that is gone is noticed before a client gives up that waits as long as it may.
    assert int(directive("proxy_connect_timeout").removesuffix("s")) < settings.dead_after_seconds


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_beyond_the_bound_is_refused_by_the_api(front: Front, *, is_chunked: bool) -> None:
    body = b"x\n" + b"1\n" * (2 * MAX_BODY_BYTES)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))

    answer = requests.post(
        f"{front.proxy.url}/jobs?model=echo",
        data=pieces if is_chunked else body,
        headers={"Content-Type": "text/csv"},
        timeout=60,
    )

    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (REQUEST_LINE.format("x" * 8190), 414, "uri_too_long"),
        (REQUEST_LINE.format("x" * 20_000), 414, "uri_too_long"),
        ("GET /jobs HTTP/1.1\r\nHost: test\r\nX: " + "x" * 9_000 + "\r\n\r\n",
         431, "headers_too_large"),
        ("GET /jobs HTTP/1.1\r\nHost: test\r\nX: " + "x" * 20_000 + "\r\n\r\n",
         431, "headers_too_large"),
        ("nonsense\r\n\r\n", 400, "bad_request"),
        ("GET /jobs HTTP/1.1\r\n\r\n", 400, "bad_request"),
        ("TRACE /jobs HTTP/1.1\r\nHost: test\r\n\r\n", 405, "method_not_allowed"),
        ("POST /jobs HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: br\r\n\r\n",
         501, "unsupported_transfer_coding"),
        ("GET /jobs HTTP/3.0\r\nHost: test\r\n\r\n", 505, "http_version_not_supported"),
    ],
)  # fmt: skip
def test_what_is_no_request_gets_a_problem_whoever_refuses_it(
    front: Front, request_head: str, status: int, code: str
) -> None:
    with connected(front.proxy) as connection:
        connection.sendall(request_head.encode())
        answer = HTTPResponse(connection)
        answer.begin()
        document = json.loads(answer.read())

    assert (answer.status, document["status"], document["code"]) == (status, status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "/" not in answer.headers["Server"]


def test_every_problem_of_nginx_is_sound_and_in_the_reference() -> None:
    reference = (ROOT / "docs/reference/errors.md").read_text()
    found = re.findall(r"(\d{3}|default) '(\{.*\})';", CONFIGURATION.read_text())

    assert found
    for status, text in found:
        document = json.loads(text.replace("\\'", "'"))
        request_id = {"request_id"} if document["status"] >= 500 else set()
        assert document.keys() == {"type", "title", "status", "code", "detail"} | request_id
        assert str(document["status"]) == status.replace("default", "500")
        assert f"| `{document['code']}` | {document['status']} |" in reference


# --- who may see what


def test_metrics_are_not_for_the_outside(front: Front) -> None:
    """Not even asked for: there is no API that could answer."""
    with front.nobody():
        for path in ("/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics?a"):
            with connected(front.proxy) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
                status, document = answer_on(connection)
            assert (status, document["code"]) == (404, "not_found"), path


def test_callers_are_told_apart_by_the_address_that_reaches_nginx(front: Front) -> None:
    session = requests.Session()
    session.mount("http://", _From("127.0.0.9"))
    forged = {"X-Forwarded-For": "10.1.1.1", "Forwarded": "for=10.1.1.2", "X-Real-IP": "10.1.1.3"}
    with session:
        answer = session.post(
            f"{front.proxy.url}/jobs?model=echo",
            data="x\n1\n",
            headers=forged | {"Content-Type": "text/csv"},
            timeout=60,
        )

    with connect(front.proxy.redis_url) as redis:
        caller = redis.hget(keys.record(answer.json()["id"]), "caller")
    assert caller == b"127.0.0.9"


class _From(HTTPAdapter):
    """Connects from an address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **kwargs: object) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **kwargs)


# --- APIs that come and go


def test_without_an_api_the_answer_says_so_until_there_is_one(front: Front, tmp_path: Path) -> None:
    with front.nobody():
        answer = front.proxy.get("/healthz")
        with front.another_api(tmp_path / "api.log"):
            wait_until(lambda: front.proxy.get("/healthz").ok)

    assert_problem(answer, 502, "bad_gateway", "Idempotency-Key")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    assert answer.headers.items() >= OF_DOCUMENTS.items()
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_api_that_is_asked_to_stop_costs_no_request(front: Front, tmp_path: Path) -> None:
    """It finishes what it has, for which it has time, and is asked nothing new meanwhile."""
    with stopping(front, tmp_path) as (api, senders), connected(api) as held:
        held.sendall(head("Content-Length: 4", query="model=echo") + b"x\n")
        wait_until(lambda: len(senders.jobs) > 50, timeout=60)
        os.kill(api.pid, signal.SIGTERM)
        wait_until(lambda: len(senders.jobs) == JOBS, timeout=60)
        held.sendall(b"1\n")
        status, _ = answer_on(held)

    assert status == 202
    assert senders.refused == []
    senders.audit(others=1)


def test_an_api_that_dies_costs_no_job_and_doubles_none(front: Front, tmp_path: Path) -> None:
    with stopping(front, tmp_path) as (api, senders):
        wait_until(lambda: len(senders.jobs) > 50, timeout=60)
        os.killpg(api.pid, signal.SIGKILL)

    senders.audit()


@contextmanager
def stopping(front: Front, directory: Path) -> Iterator[tuple[Api, "_Senders"]]:
    """One of two APIs, to be stopped while jobs are sent to both; waits until all are taken in."""
    senders = _Senders(front.proxy, directory.name)
    with (
        front.another_api(directory / "api.log") as api,
        front.only(FIRST_HOST, THIRD_HOST),
        ThreadPoolExecutor(8) as pool,
    ):
        sent = pool.map(senders.send, range(JOBS))
        yield api, senders
        list(sent)


class _Senders:
    """Send one job each time, again under the same key for as long as it is refused."""

    def __init__(self, proxy: Api, name: str) -> None:
        self._proxy = proxy
        self._name = name
        self._before = self._jobs_created()
        self.jobs: dict[int, Document] = {}
        """By the only cell of their only row."""
        self.refused: list[str] = []

    def send(self, cell: int) -> None:
        self.jobs[cell] = wait_until(lambda: self._answer(cell), timeout=60)

    def _answer(self, cell: int) -> Document | None:
        try:
            answer = self._proxy.submit(
                f"x\n{cell}\n",
                wait=0,
                headers={"Idempotency-Key": f"{self._name}-{cell}"},
                model="echo",
            )
        # The latter where an API dies between the head of its answer and the body.
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            self.refused.append(str(error))
            return None
        if answer.status_code != 202:
            assert answer.status_code in {409, 502}, answer.text
            self.refused.append(answer.text)
            return None
        return dict(answer.json())

    def audit(self, *, others: int = 0) -> None:
        """Every job is there once, beside `others`, and was done."""
        documents = [self._proxy.ended(job) for job in self.jobs.values()]
        results = [self._proxy.get(job["urls"]["results"]).text for job in documents]

        assert {job["status"] for job in documents} == {"succeeded"}
        assert results == [f"row,prediction,error\n1,{cell * 10},\n" for cell in self.jobs]
        assert self._jobs_created() - self._before == len(self.jobs) + others == JOBS + others

    def _jobs_created(self) -> int:
        count, after = 0, {}
        while True:
            page = requests.get(
                f"{self._proxy.url}/jobs", params={"limit": "100"} | after, timeout=30
            ).json()
            count += len(page["jobs"])
            if not page["has_more"]:
                return count
            after = {"after": page["jobs"][-1]["id"]}
