"""Callbacks are told by a real stack, and whatever receivers do, jobs go on."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.callbacks import is_public
from shared.job_store.connection import connect
from tests.live_stack import (
    Api,
    api_process,
    environment,
    free_port,
    has_processes,
    live_stack,
    redis_server,
    worker_process,
)
from tests.receivers import (
    OTHER_SECRET,
    SECRET,
    Behaviour,
    answering,
    dribbling,
    in_turn,
    receiver,
    silent,
)
from tests.waiting import wait_until
from worker.receiver import addresses_of

TABLE = "x\n1\n2\n"

SETTINGS = {
    "webhook_secret": f"{SECRET} {OTHER_SECRET}",
    "webhook_allow_private": "true",
    "webhook_timeout_seconds": "2",
    "webhook_retry_seconds": "0.2 0.2",
}


@pytest.fixture(scope="module")
def stack(run_directory: Path, models_dir: Path) -> Iterator[Api]:
    with live_stack(run_directory / "hooks", models_dir, is_measured=True, **SETTINGS) as api:
        yield api


def log(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    return dict(api.get(job["urls"]["deliveries"]).json())


def final_log(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    """The log when there is nothing more to do."""

    def found() -> dict[str, Any] | None:
        document = log(api, job)
        return None if document["state"] == "pending" else document

    return wait_until(found, timeout=60)


@pytest.mark.parametrize("route", ["jobs", "predict"])
def test_the_end_of_a_job_is_told_and_signed(route: str, stack: Api) -> None:
    send = stack.submit if route == "jobs" else stack.predict
    with receiver(answering(204)) as listening:
        answer = send(TABLE, model="line", callback_url=listening.url)
        [request] = listening.heard()
        path = answer.headers.get("Location") or answer.headers["Content-Location"]
        job = stack.get(path.removesuffix("/results")).json()
        document = final_log(stack, job)

    told = request.verified(SECRET)
    assert request.verified(OTHER_SECRET) == told
    assert request.headers["webhook-id"] == job["id"]
    assert request.headers["user-agent"] == "Rowmill"
    assert (told["type"], told["timestamp"]) == ("job.succeeded", job["finished_at"])
    in_common = told["data"].keys() & job.keys()
    assert in_common == told["data"].keys()
    assert {name: told["data"][name] for name in in_common - {"urls"}} == {
        name: job[name] for name in in_common - {"urls"}
    }
    assert told["data"]["urls"].items() <= job["urls"].items()
    assert (document["state"], document["url"]) == ("delivered", listening.url)
    assert [(a["status"], a["error"]) for a in document["attempts"]] == [(204, None)]
    assert document["next_attempt_at"] is None


def test_every_kind_of_end_is_told(stack: Api) -> None:
    with receiver(answering(200)) as listening:
        url = listening.url
        stack.submit("x\n1\nbad\n", model="line", callback_url=url)
        stack.submit("x\nbad\n", model="line", callback_url=url)
        slow = stack.submit("x\n" + "1\n" * 5000, wait=0, model="slow", callback_url=url).json()
        stack.post(slow["urls"]["cancel"])
        requests = listening.heard(3)

    assert sorted(request.verified()["type"] for request in requests) == [
        "job.cancelled",
        "job.failed",
        "job.partially_succeeded",
    ]


def test_a_retry_is_told_where_the_first_job_was(stack: Api) -> None:
    with receiver(answering(200)) as listening:
        first = stack.submit("x\n1\nbad\n", model="line", callback_url=listening.url).json()
        child = stack.post(first["urls"]["retry"], json={"only": "failed"}, Prefer="wait=20").json()
        listening.heard(2)

    assert child["callback_url"] == listening.url
    assert sorted(listening.ids()) == sorted([first["id"], child["id"]])


def test_an_attempt_that_fails_is_made_again_by_the_schedule(stack: Api) -> None:
    with receiver(in_turn((500,), (503, "Retry-After: 1"), (200,))) as listening:
        job = stack.submit(TABLE, model="line", callback_url=listening.url).json()
        document = final_log(stack, job)

    assert document["state"] == "delivered"
    assert [a["status"] for a in document["attempts"]] == [500, 503, 200]
    assert listening.ids() == [job["id"]] * 3
    at = [float(request.headers["webhook-timestamp"]) for request in listening.requests]
    assert at == sorted(at)
    assert at[2] > at[0]  # it was asked to wait for a second


@pytest.mark.parametrize(
    ("behaviour", "state", "statuses", "error"),
    [
        (answering(410), "gone", [410], "wants no more"),
        (answering(307, "Location: http://127.0.0.1:1/"), "failed", [307] * 3, "redirects"),
        (silent, "failed", [None] * 3, "no answer within 2 s"),
        (dribbling, "failed", [None] * 3, "no answer within 2 s"),
    ],
    ids=["gone", "redirecting", "silent", "dribbling"],
)
def test_a_bad_receiver_delays_no_job_and_is_given_up(
    behaviour: Behaviour, state: str, statuses: list[int | None], error: str, stack: Api
) -> None:
    with receiver(behaviour) as listening:
        job = stack.submit(TABLE, model="line", callback_url=listening.url).json()
        assert job["status"] == "succeeded"
        while log(stack, job)["state"] == "pending":
            other = stack.submit(TABLE, model="line", wait=20).json()
            assert other["status"] == "succeeded"
        document = log(stack, job)

    assert document["state"] == state
    assert [a["status"] for a in document["attempts"]] == statuses
    assert error in document["attempts"][-1]["error"]


def test_a_receiver_that_never_answers_holds_up_no_other(stack: Api) -> None:
    with receiver(silent) as mute, receiver(answering(200)) as listening:
        ids = [
            stack.submit(TABLE, model="line", callback_url=mute.url).json()["id"] for _ in range(12)
        ]
        mute.heard()
        job = stack.submit(TABLE, model="line", callback_url=listening.url).json()
        listening.heard()
        told_first = len(set(mute.ids()))
        for job_id in ids:
            stack.delete(f"/jobs/{job_id}")

    assert listening.ids() == [job["id"]]
    assert told_first < len(ids)
    assert mute.most_at_once <= 2


def test_a_job_that_is_deleted_is_told_no_more(stack: Api) -> None:
    with receiver(answering(500, "Retry-After: 3600")) as listening:
        job = stack.submit(TABLE, model="line", callback_url=listening.url).json()
        wait_until(lambda: log(stack, job)["attempts"])
        assert log(stack, job)["next_attempt_at"] > job["finished_at"]
        stack.delete(job["urls"]["self"])

    redis = connect(stack.redis_url)
    assert not redis.exists(f"callbacks:127.0.0.1:{listening.port}")
    redis.close()


def test_a_private_address_that_a_name_stands_for_is_refused_when_it_is_called(
    run_directory: Path, models_dir: Path
) -> None:
    name = socket.gethostname()
    with suppress(OSError):
        if all(map(is_public, addresses_of(name, 443))):
            pytest.skip("this machine's name stands for no private address")
    settings = {"webhook_secret": SECRET, "webhook_retry_seconds": " "}
    with live_stack(run_directory / "refuse", models_dir, **settings) as api:
        job = api.submit(TABLE, model="line", callback_url=f"https://{name}/").json()
        document = final_log(api, job)

    assert document["state"] == "failed"
    assert "private or reserved" in document["attempts"][0]["error"]


# --- workers that die


@contextmanager
def two_workers(
    directory: Path, models_dir: Path, **settings: str
) -> Iterator[tuple[Api, int, ExitStack]]:
    """An API, the id of a worker's main process, and where to start a second worker."""
    with ExitStack() as parts:
        redis_url = parts.enter_context(redis_server(directory / "r"))
        env = environment(redis_url, models_dir, **SETTINGS | settings)
        worker = parts.enter_context(worker_process(env, directory / "first.log", name="first"))
        api = parts.enter_context(api_process(env, directory / "api.log"))
        wait_until(lambda: has_processes(api, 3), timeout=60)
        yield api, worker.pid, parts


def deliverers(worker: int) -> list[psutil.Process]:
    """Processes of a worker that tell callbacks."""
    found = []
    for child in psutil.Process(worker).children():
        with suppress(psutil.Error):  # one that has just died
            if "worker.webhooks" in child.cmdline():
                found.append(child)
    return found


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_what_a_killed_worker_had_to_tell_is_told_by_another(
    run_directory: Path, models_dir: Path
) -> None:
    directory = run_directory / "killed"
    with (
        receiver(in_turn((500, "Retry-After: 5"), (200,))) as listening,
        two_workers(directory, models_dir, webhook_retry_seconds="5") as (api, worker, parts),
    ):
        job = api.submit(TABLE, model="line", callback_url=listening.url).json()
        listening.heard()
        [deliverer] = deliverers(worker)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: has_ended(deliverer))
        assert log(api, job)["state"] == "pending"

        env = environment(api.redis_url, models_dir, **SETTINGS)
        parts.enter_context(worker_process(env, directory / "second.log", name="second"))
        document = final_log(api, job)

    assert document["state"] == "delivered"
    assert listening.ids() == [job["id"]] * 2


def test_an_attempt_that_dies_with_its_process_is_made_by_another(
    run_directory: Path, models_dir: Path
) -> None:
    with (
        receiver(in_turn((200,))) as listening,
        receiver(silent) as mute,
        two_workers(run_directory / "torn", models_dir) as (api, worker, _),
    ):
        job = api.submit(TABLE, model="line", callback_url=mute.url).json()
        mute.heard()
        [deliverer] = deliverers(worker)
        deliverer.kill()
        again = wait_until(lambda: [d for d in deliverers(worker) if d.pid != deliverer.pid])
        other = api.submit(TABLE, model="line", callback_url=listening.url).json()
        listening.heard()
        document = final_log(api, job)

    assert len(again) == 1
    assert listening.ids() == [other["id"]]
    # The first attempt was lost with its process; nothing is known of it but that it was begun.
    assert len(document["attempts"]) == 2
    assert len(mute.ids()) == 3


def test_a_stopped_worker_takes_its_deliverer_with_it(
    run_directory: Path, models_dir: Path
) -> None:
    with two_workers(run_directory / "stopped", models_dir) as (_, worker, _):
        [deliverer] = wait_until(lambda: deliverers(worker))
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: has_ended(deliverer), timeout=30)


def test_thousands_of_callbacks_to_a_dead_host_hold_up_nobody(stack: Api) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    redis = connect(stack.redis_url)
    with receiver(answering(200)) as listening:
        lines = [stack.submit(TABLE, wait=0, model="line", callback_url=dead) for _ in range(400)]
        job = stack.submit(TABLE, model="line", callback_url=listening.url, deadline="50").json()
        assert job["status"] == "succeeded"
        listening.heard()
        assert all(line.status_code == 202 for line in lines)
        before = redis.hget("backlog", "sampled_at_ms")
        # Sweeps go on while there is so much to tell.
        wait_until(lambda: redis.hget("backlog", "sampled_at_ms") != before, timeout=10)
        began = time.monotonic()
        document = final_log(stack, lines[-1].json())
        assert time.monotonic() - began < 60
    redis.close()

    assert document["state"] == "failed"
