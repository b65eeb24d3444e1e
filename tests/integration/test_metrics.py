"""Every metric of the docs moves when what it counts happens, and there is none beside them."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import requests

from shared.job_store.connection import connect
from shared.job_store.workers import WorkerRegistry
from tests.contract import documents
from tests.contract.documents import DOCS
from tests.live_stack import (
    Api,
    api_process,
    ask_to_stop,
    environment,
    free_port,
    has_processes,
    redis_server,
    worker_process,
)
from tests.receivers import SECRET, in_turn, receiver
from tests.scrapes import Scrape
from tests.waiting import wait_until

PAGE = DOCS / "reference/metrics.md"
TOKEN = "scraper"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A stack, and what it showed so far."""

    api: Api
    worker: psutil.Process
    worker_url: str
    directory: Path
    scrapes: list[Scrape] = field(default_factory=list)

    def look(self) -> Scrape:
        """What is shown now."""
        self.scrapes.append(Scrape.of(f"{self.api.url}/metrics", self.worker_url, **BEARER))
        return self.scrapes[-1]

    def until(self, is_so: Callable[[Scrape], bool]) -> Scrape:
        """What is shown as soon as this is so."""
        return wait_until(lambda: scrape if is_so(scrape := self.look()) else None, timeout=60)

    def seats(self, pid: int) -> int:
        """With how many seats a process and those that it has started count."""
        return len([*self.directory.glob(f"tmp/rowmill-metrics-{pid}-*/seat-*")])


@pytest.fixture(scope="module")
def watched(run_directory: Path, models_dir: Path) -> Iterator[Watched]:
    """A stack that counts; one of its models can't be opened."""
    directory = run_directory / "counted"
    models = directory / "models"  # few, so that the worker is ready soon
    for name in ("boosted", "deadly", "fussy", "line", "slow"):
        shutil.copytree(models_dir / name, models / name)
    corrupt = next(models.glob("boosted/1/model.*"))
    corrupt.write_bytes(corrupt.read_bytes()[:-1] + b"?")
    port = free_port()
    settings = {
        "metrics_token": TOKEN,
        "metrics_port": str(port),
        "webhook_secret": SECRET,
        "webhook_allow_private": "true",
        "webhook_retry_seconds": "0.2 0.2",
    }
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server(directory / "r"))
        (directory / "tmp").mkdir()
        env = environment(redis_url, models, **settings)
        env["TMPDIR"] = str(directory / "tmp")
        api = stack.enter_context(api_process(env, directory / "api.log"))
        before = Scrape.of(f"{api.url}/metrics", **BEARER)
        child = stack.enter_context(worker_process(env, directory / "worker.log"))
        stack.callback(ask_to_stop, child.pid, api.pid)
        wait_until(lambda: has_processes(api, 3), timeout=60)
        worker_url = f"http://127.0.0.1:{port}/metrics"
        wait_until(lambda: is_shown(worker_url), timeout=60)
        found = Watched(
            api=api,
            worker=psutil.Process(child.pid),
            worker_url=worker_url,
            directory=directory,
            scrapes=[before],
        )
        found.until(lambda scrape: scrape.value("rowmill_models_failed_total") > 0)
        yield found


@contextmanager
def out_of_reach(watched: Watched) -> Iterator[None]:
    """Redis can't be connected to, and whoever is connected no longer is."""
    socket = watched.directory / "r" / "s"
    with connect(watched.api.redis_url) as client:
        client.ping()
        socket.rename(socket.with_name("away"))
        client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        socket.with_name("away").rename(socket)


def rows(count: int) -> str:
    return "x\n" + "\n".join(str(number) for number in range(count))


# --- what happens to jobs


def score_small_jobs(watched: Watched) -> None:
    """Many at a time, so that some are scored together; one row fails."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(
            threads.map(lambda _: watched.api.predict("x\n1\n", model="line"), range(40))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert watched.api.submit("x\n1\n-1\n", model="fussy").json()["counts"]["failed"] == 1
    watched.api.get("/nothing/of/the/sort")


def watch_bulk_jobs(watched: Watched) -> None:
    """Look while chunks wait and run and their results are followed, then take one away."""
    table = rows(4_000)
    jobs = [watched.api.submit(table, model="slow", wait=0).json() for _ in range(2)]
    watched.until(lambda s: s.value("rowmill_busy_processes", lane="bulk") == 2)
    url = f"{watched.api.url}{jobs[0]['urls']['results']}?follow=true"
    with requests.get(url, stream=True, timeout=60):
        seen = watched.until(lambda s: s.value("rowmill_http_requests_in_progress") == 2)
    assert seen.value("rowmill_waiting_chunks", lane="bulk") > 0
    assert seen.value("rowmill_jobs", lane="bulk", status="running") > 0
    registry = WorkerRegistry(
        connect(watched.api.redis_url), dead_after_seconds=10, max_job_losses=9
    )
    for name in registry.live():
        assert registry.leave(name)
    watched.until(lambda s: s.value("rowmill_refused_commits_total") > 0)
    watched.api.post(jobs[0]["urls"]["cancel"])
    watched.api.delete(jobs[1]["urls"]["self"])
    after = watched.until(lambda s: s.value("rowmill_busy_processes") == 0)
    assert (after.value("rowmill_waiting_chunks"), after.value("rowmill_waiting_rows")) == (0, 0)
    assert after.value("rowmill_oldest_waiting_seconds") == 0


def lose_processes(watched: Watched) -> None:
    job = watched.api.submit("x\n1\n666\n", model="deadly").json()
    assert job["counts"]["failed"] == 1


def fail_to_load(watched: Watched) -> None:
    job = watched.api.submit("a,b,c\n1,2,3\n", model="boosted:1").json()
    assert job["error"]["code"] == "model_load_failed"


def tell_a_callback(watched: Watched) -> None:
    with receiver(in_turn((500,), (204,))) as listening:
        watched.api.submit("x\n1\n", model="line", callback_url=listening.url)
        listening.heard(2)
    watched.until(lambda s: s.value("rowmill_webhook_attempts_total", outcome="delivered") > 0)


def lose_redis(watched: Watched) -> None:
    """Bound its memory, too, which it was not."""
    with connect(watched.api.redis_url) as client:
        client.config_set("maxmemory", 2**30)
    watched.look()
    with out_of_reach(watched):
        watched.until(lambda s: s.value("rowmill_redis_up") == 0)
    watched.until(lambda s: s.value("rowmill_redis_up") == 1)


@pytest.fixture(scope="module")
def scrapes(watched: Watched) -> list[Scrape]:
    """What was shown while everything happened that is counted."""
    steps = (score_small_jobs, watch_bulk_jobs, lose_processes, fail_to_load, tell_a_callback)
    for step in (*steps, lose_redis):
        step(watched)
        watched.look()
    return list(watched.scrapes)  # whatever other tests look at afterwards


# --- what is shown


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels by name, as the page has them."""
    return {
        name.strip("`"): (kind, frozenset(labels.replace("–", "").replace(",", "").split()))
        for name, kind, labels, *_ in documents.rows(PAGE, "All metrics")
    }


@pytest.mark.timeout(300)
def test_every_metric_of_the_docs_moves(scrapes: list[Scrape]) -> None:
    still = [
        name for name in documented() if len({tuple(s.shown(name).items()) for s in scrapes}) == 1
    ]

    assert still == []


@pytest.mark.timeout(300)
def test_what_is_shown_is_what_the_docs_have(scrapes: list[Scrape]) -> None:
    shown = {
        name: (kind, frozenset(label for s in scrapes for label in s.labels.get(name, ())))
        for scrape in scrapes
        for name, kind in scrape.kinds.items()
    }

    assert shown == documented()


@pytest.mark.timeout(300)
def test_what_happened_is_counted_once(scrapes: list[Scrape]) -> None:
    last = scrapes[-1]

    def value(name: str, **labels: str) -> float:
        return last.value(f"rowmill_{name}", **labels)

    # Forty at a time, one that was told to a callback.
    of_line = {"model": "line", "lane": "small"}
    assert value("jobs_created_total", model="line", version="1") == 41
    assert value("rows_total", model="line", outcome="succeeded") == 41
    assert value("chunk_wait_seconds_count", **of_line) == 41
    assert value("chunk_run_seconds_count", **of_line) == 41
    assert value("job_seconds_count", **of_line) == 41
    assert value("http_requests_total", route="/predict", method="POST", status="200") == 40
    assert value("http_requests_total", route="unknown", status="404") == 1
    assert value("rows_total", model="fussy", outcome="failed") == 1
    # Of all small attempts; those of other models were alone.
    assert value("coalesced_jobs_sum") > value("coalesced_jobs_count")
    assert value("attempts_total", outcome="stale") == value("refused_commits_total") >= 1
    assert value("attempts_total", outcome="model_failed") == 1
    assert value("lost_attempts_total", reason="died") > 1
    assert value("model_loads_total", model="boosted", outcome="failed") >= 1
    assert value("webhook_attempts_total", outcome="pending") == 1
    assert value("webhook_attempts_total", outcome="delivered") == 1


@pytest.mark.timeout(300)
def test_waiting_for_jobs_is_not_in_the_time_of_requests(scrapes: list[Scrape]) -> None:
    """The slow jobs were waited for by nobody; others in `POST /jobs`, longer than it took."""
    last = scrapes[-1]
    took = last.value("rowmill_http_request_seconds_sum", route="/jobs")
    waited = sum(
        last.value("rowmill_job_seconds_sum", model=model) for model in ("deadly", "fussy")
    )

    assert took < waited


# --- processes that die


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not process.is_running(), timeout=10)


def scoring(worker: psutil.Process) -> list[psutil.Process]:
    """The processes of a worker's pool: those beside it have a program of their own."""
    return [child for child in worker.children() if "worker.app" in " ".join(child.cmdline())]


@pytest.mark.timeout(300)
def test_nothing_that_was_counted_is_lost_with_a_process(
    watched: Watched, scrapes: list[Scrape]
) -> None:
    before = watched.look()
    gunicorn = psutil.Process(watched.api.pid)
    for _ in range(2):
        kill(gunicorn.children()[0])
        kill(scoring(watched.worker)[0])
        wait_until(lambda: has_processes(watched.api, 3), timeout=60)
        wait_until(lambda: len(gunicorn.children()) == 2, timeout=60)
        score_small_jobs(watched)
    after = watched.look()

    assert [s for s, value in before.counts().items() if after.samples.get(s, 0) < value] == []
    made = after.value("rowmill_jobs_created_total", model="line")
    assert made == before.value("rowmill_jobs_created_total", model="line") + 80
    # No more than there were processes at a time: the API's own and two, the worker's own, three
    # that score and one that tells callbacks.
    assert 0 < watched.seats(watched.api.pid) <= 3
    assert 0 < watched.seats(watched.worker.pid) <= 5
    # Who is answered may know it before the thread has done with it; that of the scrape is there.
    watched.until(lambda seen: seen.value("rowmill_http_requests_in_progress") == 1)


# --- who may look


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer other"}, {"Authorization": TOKEN}])
def test_only_who_has_the_token_is_shown_any(watched: Watched, sent: dict[str, str]) -> None:
    answers = [requests.get(url, headers=sent, timeout=30) for url in
               (f"{watched.api.url}/metrics", watched.worker_url)]  # fmt: skip

    assert [answer.status_code for answer in answers] == [401, 401]
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {"Bearer"}
    assert answers[0].json()["code"] == "metrics_token_required"
    assert not any("rowmill_" in answer.text for answer in answers[1:])


def test_without_a_token_or_a_port_the_api_shows_its_own_and_the_worker_none(api: Api) -> None:
    api.get("/healthz")

    scrape = Scrape.of(f"{api.url}/metrics")

    assert scrape.value("rowmill_http_requests_total", route="/healthz") > 0
    assert scrape.value("rowmill_redis_up") == 1
    assert not [name for name in scrape.kinds if not name.startswith("rowmill_")]


def test_what_shows_a_worker_ends_with_it_and_is_begun_anew(watched: Watched) -> None:
    [shown_by] = [c for c in watched.worker.children() if "metrics_server" in " ".join(c.cmdline())]

    kill(shown_by)

    assert requests.get(f"{watched.api.url}/healthz", timeout=5).ok
    wait_until(lambda: is_shown(watched.worker_url), timeout=30)
    assert os.getpid() not in {child.pid for child in watched.worker.children()}


def is_shown(url: str) -> bool:
    try:
        return requests.get(url, headers=BEARER, timeout=5).ok
    except requests.ConnectionError:
        return False
