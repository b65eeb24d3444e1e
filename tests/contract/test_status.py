"""`GET /status`: what there is to do and who does it."""

import json

from tests.contract import documents
from tests.contract.answers import Document, accepted, assert_problem
from tests.contract.documents import HTTP
from tests.live_stack import Api
from tests.waiting import wait_until


def status_of(api: Api) -> Document:
    answer = api.get("/status")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.json())


def test_a_job_under_way_is_to_be_seen(api: Api, running: Document) -> None:
    queued = accepted(api.submit("x\n" + "3\n" * 3_000, wait=0, model="slow"))

    def busy() -> Document | None:
        status = status_of(api)
        return status if status["queue"]["bulk"]["running_chunks"] == 2 else None

    status = wait_until(busy)
    api.delete(queued["urls"]["self"])
    api.delete(running["urls"]["self"])

    [worker] = status["workers"]
    assert status.keys() == {"queue", "workers", "jobs", "redis"}
    assert status["jobs"].keys() == {"receiving", "queued", "running"}
    assert status["jobs"]["running"] >= 1
    assert sum(status["jobs"].values()) >= 2
    assert status["queue"]["waiting_rows"] > 3_000
    assert status["queue"]["max_waiting_rows"] == 100_000_000
    assert status["queue"]["rows_per_second"] > 0
    assert status["queue"]["small"].keys() == status["queue"]["bulk"].keys()
    assert worker["name"].startswith(f"{worker['host']}/")
    assert (worker["processes"], worker["bulk_processes"], worker["is_live"]) == (3, 2, True)
    assert worker["busy"] >= 2
    assert status["redis"]["used_bytes"] > 0

    wait_until(lambda: sum(status_of(api)["jobs"].values()) == 0)
    assert status_of(api)["queue"]["waiting_rows"] == 0


def test_an_unknown_parameter_is_refused(api: Api) -> None:
    assert_problem(api.get("/status?all=true"), 422, "invalid_parameter", "'all'")


def test_the_reference_shows_every_member_and_says_what_it_is(api: Api) -> None:
    shown = next(
        json.loads(text)
        for language, text in documents.blocks(HTTP)
        if language == "json" and '"waiting_rows"' in text
    )
    found = status_of(api)

    assert documents.member_paths(shown, depth=3) == documents.member_paths(found, depth=3)
    assert [worker.keys() for worker in shown["workers"]] == [found["workers"][0].keys()]
    explained = set(documents.names(HTTP, "`GET /status`"))
    leaves = documents.member_paths(found, depth=3) - {"workers"}
    assert leaves | found["workers"][0].keys() <= explained
