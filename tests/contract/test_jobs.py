"""The job: its object, waiting for it, listing."""

import gzip
import hashlib
import re
import time
from collections.abc import Iterator

import pytest

from shared.job_store import keys
from shared.job_store.connection import connect
from shared.jobs import JOB_ID_PATTERN
from tests.contract.answers import Document, accepted, assert_sound, shown
from tests.live_stack import Api
from tests.waiting import wait_until

KEYS = {
    "": ["id", "status", "model", "input", "counts", "progress", "created_at", "started_at",
         "finished_at", "expires_at", "error", "warnings", "retry_of",
         "validate_only", "callback_url", "urls"],
    "model": ["name", "version", "sha256"],
    "input": ["format", "bytes", "sha256"],
    "counts": ["total", "succeeded", "failed", "pending"],
    "progress": ["ratio", "rows_per_second", "eta_seconds", "chunks_done", "chunks_total"],
    "urls": ["self", "results", "errors", "features", "events", "deliveries", "cancel", "retry"],
}  # fmt: skip


# --- the job object


def test_the_job_object_has_these_members_in_this_order(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    assert list(job) == KEYS[""]
    assert {name: list(job[name]) for name in KEYS if name} == {n: k for n, k in KEYS.items() if n}
    assert re.fullmatch(JOB_ID_PATTERN, job["id"])
    path = f"/jobs/{job['id']}"
    parts = {name: f"{path}/{name}" for name in KEYS["urls"][1:]}
    assert job["urls"] == {"self": path} | parts
    assert (job["retry_of"], job["validate_only"]) == (None, False)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"x\n6\n7\n", {}), (gzip.compress(b"x\n6\n7\n"), {"Content-Encoding": "gzip"})],
    ids=["plain", "gzip"],
)
def test_a_job_tells_what_it_was_given_and_what_scored_it(
    api: Api, body: bytes, headers: dict[str, str]
) -> None:
    job = accepted(api.submit(body, model="line", headers=headers))

    digest = hashlib.sha256(b"x\n6\n7\n").hexdigest()
    model = api.get("/models/line").json()
    assert job["input"] == {"format": "csv", "bytes": 6, "sha256": digest}
    assert job["model"] == {
        "name": "line", "version": model["latest"], "sha256": model["artifact"]["sha256"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "counts"),
    [
        ("x\n6\n7\n", "succeeded", (2, 0)),
        ("x\n6\nbad\n", "partially_succeeded", (1, 1)),
        ("x\nbad\n", "failed", (0, 1)),
    ],
)
def test_an_ended_job_is_sound(api: Api, body: str, status: str, counts: tuple[int, int]) -> None:
    job = accepted(api.submit(body, model="line"))

    assert_sound(job)
    assert job["status"] == status
    assert (job["counts"]["succeeded"], job["counts"]["failed"]) == counts
    assert (job["progress"]["ratio"], job["progress"]["eta_seconds"]) == (1.0, None)
    assert job["progress"]["rows_per_second"] > 0
    assert job["warnings"] == []


def test_a_job_is_sound_at_every_moment(api: Api, slow: str) -> None:
    job = accepted(api.submit("x\n" + "3\n" * 1000, wait=0, model=slow))
    moments = [job]

    wait_until(lambda: moments.append(shown(api, job)) or moments[-1]["finished_at"])

    for moment in moments:
        assert_sound(moment)
    done = [moment["counts"]["succeeded"] for moment in moments]
    assert done == sorted(done)
    assert done[0] < done[-1] == 1000


# --- submitting and polling


def test_submit_says_where_the_job_is_and_when_to_look(api: Api, slow: str) -> None:
    answer = api.submit("x\n" + "3\n" * 300, wait=0, model=slow)

    job = accepted(answer)
    assert answer.headers["Location"] == job["urls"]["self"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert answer.headers["Content-Type"] == "application/json"


def test_retry_after_is_given_until_the_job_ends(api: Api, running: Document) -> None:
    before = api.get(running["urls"]["self"])
    api.post(running["urls"]["cancel"])
    after = api.get(running["urls"]["self"])

    assert int(before.headers["Retry-After"]) >= 1
    assert "Retry-After" not in after.headers


def test_a_job_that_did_not_change_is_not_sent_again(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    first = api.get(job["urls"]["self"])
    again = api.get(job["urls"]["self"], **{"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_a_job_that_changed_has_another_etag(api: Api, running: Document) -> None:
    first = api.get(running["urls"]["self"])
    api.post(running["urls"]["cancel"])

    again = api.get(running["urls"]["self"], **{"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=20", "wait=20"),
        ("respond-async, wait=5", "wait=5"),
        ('WAIT="7"; x=y', "wait=7"),
        ("wait=99999", "wait=60"),
        ("wait=0", "wait=0"),
        ("wait=soon", None),
        ("wait=-1", None),
        ("respond-async", None),
        ("", None),
    ],
)
def test_the_wait_that_is_applied_is_named(api: Api, prefer: str, applied: str | None) -> None:
    submitted = api.submit("x\n6\n", model="line", headers={"Prefer": prefer})
    polled = api.get(submitted.json()["urls"]["self"], Prefer=prefer)

    assert submitted.headers.get("Preference-Applied") == applied
    assert polled.headers.get("Preference-Applied") == applied
    assert (polled.json()["status"] == "succeeded") >= (applied not in {None, "wait=0"})


def test_a_wait_ends_with_the_job(api: Api, slow: str) -> None:
    job = accepted(api.submit("x\n" + "3\n" * 150, wait=0, model=slow))
    began = time.monotonic()

    answer = api.get(job["urls"]["self"], Prefer="wait=50")

    assert answer.json()["status"] == "succeeded"
    assert time.monotonic() - began < 40


def test_a_wait_ends_after_its_seconds(api: Api, running: Document) -> None:
    began = time.monotonic()

    answer = api.get(running["urls"]["self"], Prefer="wait=1")

    assert answer.json()["status"] == "running"
    assert 1 <= time.monotonic() - began < 10


# --- lists


def pages(api: Api, query: str) -> Iterator[Document]:
    """All pages of a list, found by `after` as a client would."""
    page = api.get(f"/jobs?{query}").json()
    yield page
    while page["has_more"]:
        page = api.get(f"/jobs?{query}&after={page['jobs'][-1]['id']}").json()
        yield page


def test_a_list_is_paged_newest_first_without_gap_or_repeat(api: Api) -> None:
    mine = [accepted(api.submit("x\n1\n", model="fussy", wait=0))["id"] for _ in range(5)]

    paged = [page["jobs"] for page in pages(api, "model=fussy&limit=2")]

    ids = [job["id"] for jobs in paged for job in jobs]
    assert ids[:5] == mine[::-1]
    assert ids == sorted(set(ids), reverse=True)
    assert {len(jobs) for jobs in paged[:-1]} == {2}


def test_a_list_shows_jobs_as_they_are_shown_alone(api: Api) -> None:
    job = accepted(api.submit("x\n6\n", model="line"))

    page = api.get("/jobs").json()

    assert list(page) == ["jobs", "has_more"]
    assert len(page["jobs"]) <= 20
    assert page["jobs"][0] == job == shown(api, job)


@pytest.mark.parametrize(
    ("body", "status"), [("x\n1\n", "succeeded"), ("x\n1\nbad\n", "partially_succeeded")]
)
def test_a_list_is_filtered_by_model_and_status(api: Api, body: str, status: str) -> None:
    job = accepted(api.submit(body, model="echo"))

    found = api.get(f"/jobs?model=echo&status={status}&limit=100").json()["jobs"]
    others = api.get(f"/jobs?model=line&status={status}&limit=100").json()["jobs"]

    assert found[0]["id"] == job["id"]
    assert {(j["model"]["name"], j["status"]) for j in found} == {("echo", status)}
    assert {(j["model"]["name"], j["status"]) for j in others} <= {("line", status)}


def test_a_list_of_an_unknown_model_is_empty(api: Api) -> None:
    assert api.get("/jobs?model=nope").json() == {"jobs": [], "has_more": False}


def test_a_caller_can_not_say_who_they_are(api: Api) -> None:
    """Where no proxy is trusted, who connects is who calls."""
    answer = api.submit("x\n1\n", model="echo", headers={"X-Forwarded-For": "10.1.1.1"})

    with connect(api.redis_url) as redis:
        caller = redis.hget(keys.record(answer.json()["id"]), "caller")
    assert caller == b"127.0.0.1"
