"""Connections that break off while a table is sent: it is sent again, and one job is there."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from rowmill.client import Client
from rowmill.errors import TransportError
from rowmill.jobs import JobStatus
from tests.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from tests.live_stack import (
    Api,
    api_process,
    environment,
    redis_server,
    worker_process,
)

SMALL = b"x\n" + b"6\n" * 10_000
LARGE = b"x\n" + b"6\n" * 6_000_000
"""Three chunks: the first is stored while the rest is on its way."""


@pytest.fixture
def proxy(api: Api) -> Iterator[CuttingProxy]:
    with cutting_proxy(api.url) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: CuttingProxy) -> Iterator[Client]:
    with Client(proxy.url) as client:
        yield client


def jobs_since(api: Api, job_id: str) -> list[str]:
    """Statuses of the jobs that are newer than another one."""
    jobs = api.get("/jobs?limit=100").json()["jobs"]
    return [job["status"] for job in jobs if job["id"] > job_id]


@pytest.fixture
def before(api: Api) -> str:
    """The newest job before the test."""
    return str(api.submit(SMALL, model="echo").json()["id"])


def test_a_lost_answer_makes_no_second_job(
    api: Api, client: Client, proxy: CuttingProxy, before: str
) -> None:
    proxy.cuts = [Cut(answer_bytes=0)]

    handle = client.submit(SMALL, model="echo")

    assert handle.wait(60).total == 10_000
    assert proxy.connections >= 2
    assert jobs_since(api, before) == ["succeeded"]


def test_a_small_upload_that_breaks_off_makes_one_job(
    api: Api, client: Client, proxy: CuttingProxy, before: str
) -> None:
    proxy.cuts = [Cut(after_bytes=100), Cut(after_bytes=10_000)]

    handle = client.submit(SMALL, model="echo")

    assert handle.wait(60).total == 10_000
    assert jobs_since(api, before) == ["succeeded"]


def test_a_large_upload_that_breaks_off_makes_one_job_that_lives(
    api: Api, client: Client, proxy: CuttingProxy, before: str, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_bytes(LARGE)
    proxy.cuts = [Cut(after_bytes=len(LARGE) * 3 // 4)]

    handle = client.submit(tmp_path / "in.csv", model="echo")

    assert handle.wait(100).total == 6_000_000
    assert sorted(jobs_since(api, before)) == ["failed", "succeeded"]
    (broken,) = [job for job in client.jobs(status="failed").jobs if job.id > before]
    assert broken.document["error"]["code"] == "upload_incomplete"  # type: ignore[index]


def test_a_pipe_that_breaks_off_is_not_sent_again_and_makes_no_job(
    api: Api, client: Client, proxy: CuttingProxy, before: str
) -> None:
    reader, writer = os.pipe()
    os.write(writer, SMALL)
    os.close(writer)
    proxy.cuts = [Cut(after_bytes=10_000)]

    with os.fdopen(reader, "rb") as pipe, pytest.raises(TransportError):
        client.submit(pipe, model="echo")

    assert JobStatus.SUCCEEDED not in jobs_since(api, before)


@pytest.mark.timeout(180)
def test_an_api_that_dies_in_the_middle_of_an_upload_is_waited_for(
    run_directory: Path, models_dir: Path
) -> None:
    directory = run_directory / "dying"
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(directory / "r"))
        env = environment(redis_url, models_dir)
        parts.enter_context(worker_process(env, directory / "worker.log", processes=1))
        doomed = parts.enter_context(api_process(env, directory / "doomed.log"))
        proxy = parts.enter_context(cutting_proxy(doomed.url))
        # A busy machine takes its time to start an API.
        client = parts.enter_context(Client(proxy.url, patience=120))

        def kill_and_start_another() -> None:
            main = psutil.Process(doomed.pid)
            for process in (*main.children(), main):
                process.kill()
            other = parts.enter_context(api_process(env, directory / "other.log"))
            proxy.target_url = other.url

        proxy.cuts = [Cut(after_bytes=len(LARGE) * 3 // 4, then=kill_and_start_another)]

        handle = client.submit(LARGE, model="echo")

        assert handle.wait(100).total == 6_000_000
        jobs = client.jobs().jobs
        assert sorted(job.status for job in jobs) == ["failed", "succeeded"]


def test_results_that_break_off_leave_no_file(
    client: Client, proxy: CuttingProxy, tmp_path: Path
) -> None:
    handle = client.submit(b"x\n" + b"6\n" * 300_000, model="echo")
    handle.wait(60)
    client.close()  # so that the download gets a connection of its own
    proxy.cuts = [Cut(answer_bytes=100_000)]

    with pytest.raises(TransportError, match="broke off"):
        handle.download(tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == []

    handle.download(tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_bytes().splitlines()) == 300_001
