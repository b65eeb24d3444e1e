"""A request that is sent twice with one `Idempotency-Key` makes one job."""

import gzip
import hashlib
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from shared.job_store import keys
from shared.job_store.connection import connect
from tests.contract.answers import (
    Document,
    accepted,
    assert_problem,
    newer_job,
    newest_job,
    results,
    shown,
)
from tests.contract.bodies import FILE, FORM, GZIP, LONG, form, in_pieces
from tests.live_stack import Api
from tests.raw_http import answer_on, connected, head
from tests.waiting import wait_until

TABLE = b"x\n6\n7\n"
REPLAYED = "Idempotent-Replayed"


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def keyed(key: str, **headers: str) -> dict[str, str]:
    return {"Idempotency-Key": key, **headers}


def sent_again(api: Api, key: str, body: bytes = TABLE) -> requests.Response:
    """The answer to a client that sends again as long as it is told to."""

    def answer() -> requests.Response | None:
        found = api.submit(body, model="line", headers=keyed(key))
        return None if found.status_code == 409 else found

    return wait_until(answer)


def count_jobs_after(api: Api, before: Document | None) -> int:
    """How many jobs there are that are newer than another one."""
    jobs = api.get("/jobs?limit=100").json()["jobs"]
    return sum(before is None or job["id"] > before["id"] for job in jobs)


# --- the same request


def test_a_repeat_is_answered_with_the_first_job_as_it_is_now(api: Api, key: str) -> None:
    first = api.submit(TABLE, model="line", wait=0, headers=keyed(key))
    again = api.submit(TABLE, model="line", headers=keyed(key))

    assert again.status_code == first.status_code == 202
    assert accepted(again) == shown(api, accepted(first))
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Preference-Applied"] == "wait=50"
    assert (REPLAYED in first.headers, again.headers[REPLAYED]) == (False, "true")
    assert [line["prediction"] for line in results(api, again.json())] == ["15", "17"]


def test_without_a_key_every_request_makes_a_job(api: Api) -> None:
    first, second = (api.submit(TABLE, model="line") for _ in range(2))

    assert accepted(first)["id"] != accepted(second)["id"]
    assert REPLAYED not in second.headers


def test_another_key_makes_another_job(api: Api, key: str) -> None:
    jobs = [accepted(api.submit(TABLE, model="line", headers=keyed(key + x))) for x in "ab"]

    assert jobs[0]["id"] != jobs[1]["id"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(gzip.compress(TABLE), GZIP, id="gzip"),
        pytest.param(gzip.compress(TABLE, 0), GZIP, id="gzip of another level"),
        pytest.param(form((FILE, TABLE)), FORM, id="form"),
        pytest.param(gzip.compress(form((FILE, TABLE))), FORM | GZIP, id="form in gzip"),
        pytest.param([TABLE[:3], TABLE[3:]], {}, id="pieces"),
    ],
)
def test_the_payload_is_the_table_whatever_it_is_wrapped_in(
    api: Api, key: str, body: bytes | list[bytes], headers: dict[str, str]
) -> None:
    first = accepted(api.submit(TABLE, model="line", headers=keyed(key)))

    data = body if isinstance(body, bytes) else in_pieces(*body)
    again = api.submit(data, model="line", headers=keyed(key, **headers))  # type: ignore[arg-type]

    assert accepted(again)["id"] == first["id"]
    assert again.headers[REPLAYED] == "true"


@pytest.mark.parametrize("default", [{"output": "predict"}, {"join": "none"}, {"delimiter": ","}])
def test_an_option_that_is_spelled_out_is_the_same_as_its_default(
    api: Api, key: str, default: dict[str, str]
) -> None:
    first = accepted(api.submit(TABLE, model="line", headers=keyed(key)))

    again = api.submit(TABLE, model="line", headers=keyed(key), **default)

    assert accepted(again)["id"] == first["id"]


def test_a_large_table_is_known_again_and_its_rows_are_there_once(api: Api, key: str) -> None:
    first = accepted(api.submit(LONG, model="line", headers=keyed(key)))
    again = accepted(api.submit(LONG, model="line", headers=keyed(key)))

    assert again == first
    assert again["counts"] == {"total": 6000, "succeeded": 6000, "failed": 0, "pending": 0}
    assert [line["row"] for line in results(api, again)] == [str(n) for n in range(1, 6001)]


def test_a_failed_job_is_an_answer_like_any_other(api: Api, key: str) -> None:
    first = accepted(api.submit(b"x\nbad\n", model="line", headers=keyed(key)))

    again = api.submit(b"x\nbad\n", model="line", headers=keyed(key))

    assert (accepted(again), again.headers[REPLAYED]) == (first, "true")
    assert first["error"]["code"] == "all_rows_failed"


def test_a_cancelled_job_stays_cancelled_however_often_it_is_sent(
    api: Api, slow: str, key: str
) -> None:
    body = "x\n" + "3\n" * 20_000
    job = accepted(api.submit(body, wait=0, model=slow, headers=keyed(key)))
    api.post(job["urls"]["cancel"])

    again = accepted(api.submit(body, model=slow, headers=keyed(key)))

    assert (again["id"], again["status"]) == (job["id"], "cancelled")


# --- lost answers


@pytest.mark.parametrize(
    "request_bytes",
    [
        lambda key: head("Content-Length: 6", f"Idempotency-Key: {key}") + TABLE,
        lambda key: (
            head("Transfer-Encoding: chunked", f"Idempotency-Key: {key}")
            + b"6\r\n%b\r\n0\r\n\r\n" % TABLE
        ),
    ],
    ids=["Content-Length", "chunked"],
)
def test_a_request_whose_answer_was_lost_finds_its_job(
    api: Api, key: str, request_bytes: Callable[[str], bytes]
) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(request_bytes(key))
    wait_until(lambda: newer_job(api, before))

    answer = sent_again(api, key)

    job = accepted(answer)
    assert answer.headers[REPLAYED] == "true"
    assert job["counts"] == {"total": 2, "succeeded": 2, "failed": 0, "pending": 0}
    assert [line["row"] for line in results(api, job)] == ["1", "2"]
    assert count_jobs_after(api, before) == 1


def test_a_client_that_broke_off_within_its_body_may_send_it_again(api: Api, key: str) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(head("Content-Length: 60000000", f"Idempotency-Key: {key}") + LONG)
    broken = wait_until(lambda: newer_job(api, before))

    answer = sent_again(api, key, LONG)

    job = accepted(answer)
    assert REPLAYED not in answer.headers
    assert job["id"] != broken["id"]
    assert job["counts"]["succeeded"] == 6000
    assert shown(api, broken)["error"]["code"] == "upload_incomplete"
    assert accepted(sent_again(api, key, LONG))["id"] == job["id"]


def test_a_request_that_read_its_key_just_before_the_first_broke_off_may_be_sent_again(
    api: Api, key: str
) -> None:
    """The moment between two steps of a request is made to last."""
    before = newest_job(api)
    name = keys.idempotency(hashlib.sha256(key.encode()).hexdigest())
    with closing(connect(api.redis_url)) as redis:
        with connected(api) as connection:
            connection.sendall(head("Content-Length: 60000000", f"Idempotency-Key: {key}") + LONG)
            broken = wait_until(lambda: newer_job(api, before))
            as_read = redis.hgetall(name)
        wait_until(lambda: not redis.exists(name))
        redis.hset(name, mapping=as_read)

        answer = api.submit(LONG, model="line", headers=keyed(key))

        redis.delete(name)
    assert_problem(answer, 409, "idempotency_key_in_use", broken["id"], "send this one again")
    assert answer.headers["Retry-After"] == "1"


def test_a_body_that_was_refused_half_way_leaves_its_key_free(api: Api, key: str) -> None:
    bad = LONG + b'7,"never closed\n'
    assert_problem(
        api.submit(bad, model="line", headers=keyed(key)), 422, "unclosed_quote", "close it"
    )

    answer = api.submit(LONG, model="line", headers=keyed(key))

    assert accepted(answer)["status"] == "succeeded"
    assert REPLAYED not in answer.headers


def test_a_request_that_was_refused_at_once_leaves_its_key_free(api: Api, key: str) -> None:
    api.submit(b"y\n6\n", model="line", headers=keyed(key))

    answer = api.submit(TABLE, model="line", headers=keyed(key))

    assert accepted(answer)["status"] == "succeeded"
    assert REPLAYED not in answer.headers


# --- requests at the same time


def test_of_many_requests_at_once_one_makes_the_job(api: Api, key: str) -> None:
    before = newest_job(api)

    with ThreadPoolExecutor(12) as threads:
        answers = list(
            threads.map(lambda _: api.submit(TABLE, model="line", headers=keyed(key)), range(12))
        )

    taken = [answer for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer not in taken:
            assert_problem(answer, 409, "idempotency_key_in_use", "send this one again")
    assert len({answer.json()["id"] for answer in taken}) == 1
    assert len([answer for answer in taken if REPLAYED not in answer.headers]) == 1
    assert count_jobs_after(api, before) == 1
    assert accepted(sent_again(api, key))["counts"]["total"] == 2


def test_a_key_is_in_use_while_its_first_body_arrives(api: Api, key: str) -> None:
    before = newest_job(api)
    with connected(api) as connection:
        connection.sendall(head(f"Content-Length: {len(LONG) + 2}", f"Idempotency-Key: {key}"))
        connection.sendall(LONG)
        job = wait_until(lambda: newer_job(api, before))
        # As large as what a client would send again, and answered although nobody reads it.
        meanwhile = api.submit(LONG, model="line", headers=keyed(key))
        connection.sendall(b"7\n")
        status, first = answer_on(connection)

    assert_problem(meanwhile, 409, "idempotency_key_in_use", job["id"], "send this one again")
    assert int(meanwhile.headers["Retry-After"]) >= 1
    assert (status, first["id"]) == (202, job["id"])
    assert accepted(sent_again(api, key, LONG + b"7\n"))["id"] == job["id"]


# --- other requests with the same key


@pytest.mark.parametrize(
    ("body", "query"),
    [
        pytest.param(b"x\n6\n8\n", {"model": "line"}, id="another value"),
        pytest.param(TABLE + b"8\n", {"model": "line"}, id="a row more"),
        pytest.param(TABLE[:-2], {"model": "line"}, id="a row less"),
        pytest.param(LONG, {"model": "line"}, id="a large table"),
        pytest.param(TABLE, {"model": "echo"}, id="another model"),
        pytest.param(TABLE, {"model": "line", "join": "input"}, id="joined"),
        pytest.param(TABLE, {"model": "line", "error_threshold": "3"}, id="threshold"),
        pytest.param(TABLE, {"model": "line", "deadline": "60"}, id="deadline"),
        pytest.param(LONG, {"model": "line", "key": "t"}, id="both"),
    ],
)
def test_a_key_that_was_used_for_something_else_is_refused(
    api: Api, key: str, body: bytes, query: dict[str, str]
) -> None:
    job = accepted(api.submit(TABLE, model="line", headers=keyed(key)))

    answer = api.submit(body, headers=keyed(key), **query)

    assert_problem(answer, 422, "idempotency_key_reused", job["id"], "use a new key")
    assert shown(api, job) == job


def test_a_repeat_that_breaks_off_is_incomplete_and_not_another_payload(api: Api, key: str) -> None:
    job = accepted(api.submit(LONG, model="line", headers=keyed(key)))

    with connected(api) as connection:
        connection.sendall(head(f"Content-Length: {len(LONG)}", f"Idempotency-Key: {key}"))
        connection.sendall(LONG[:1000])
        connection.shutdown(socket.SHUT_WR)
        status, problem = answer_on(connection)

    assert (status, problem["code"]) == (400, "upload_incomplete")
    assert shown(api, job) == job


# --- keys


@pytest.mark.parametrize("value", ["", "k" * 256])
def test_a_key_has_a_length(api: Api, value: str) -> None:
    before = newest_job(api)

    answer = api.submit(TABLE, model="line", headers=keyed(value))

    assert_problem(answer, 400, "invalid_idempotency_key", "1 to 255", "UUID")
    assert newer_job(api, before) is None


def test_a_key_may_be_any_text(api: Api, key: str) -> None:
    for text in (key.ljust(255, "k"), f"{key} {{*}} %s", f"{key} é"):
        jobs = [accepted(api.submit(TABLE, model="line", headers=keyed(text))) for _ in range(2)]
        assert jobs[0]["id"] == jobs[1]["id"]


@pytest.mark.parametrize(("query", "reason"), [({}, "deleted"), ({"expires_in": "2"}, "expired")])
def test_the_key_of_a_job_that_is_gone_says_so(
    api: Api, key: str, query: dict[str, str], reason: str
) -> None:
    job = accepted(api.submit(TABLE, model="line", headers=keyed(key), **query))
    if reason == "deleted":
        api.delete(job["urls"]["self"])
    wait_until(lambda: api.get(job["urls"]["self"]).status_code == 410, timeout=5)

    answer = api.submit(TABLE, model="line", headers=keyed(key), **query)

    assert_problem(answer, 410, "job_gone", job["id"], reason)
