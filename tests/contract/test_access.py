"""Who may call what: every route there is is called without a key, with a wrong one, and for the
job of another key. A route that is added is walked, too."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from redis import Redis

from api.access import ROUTES
from api.app import create_app
from shared.api_keys import Scope
from shared.job_store import keys
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.jobs import new_job_id
from shared.settings import Settings
from tests.contract.answers import Document, accepted, assert_problem, shown
from tests.live_stack import ROOT, Api, environment, free_port, live_stack, new_token, redis_server
from tests.waiting import wait_until

OPEN = {
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /docs",
    "GET /static/<path:name>",
    "GET /ui/sign-in",
    "POST /ui/sign-in",
    "POST /ui/sign-out",
}
"""All that may be called without a key."""

PARAMETERS = {"job_id", "reference", "path:name"}
"""All that may stand in a path. Only the first is looked at by the guard."""

REVOKED_WITHIN_SECONDS = 2.0


def all_routes() -> set[str]:
    """Method and rule of all that the application answers."""
    app = create_app(Settings(redis_url="unix:///nowhere"))
    return {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


@pytest.fixture(scope="module")
def routes() -> set[str]:
    return all_routes()


@pytest.fixture(scope="module")
def directory(run_directory: Path) -> Path:
    return run_directory / "access"


@pytest.fixture(scope="module")
def admin(directory: Path, few_models: Path) -> Iterator[Api]:
    """A stack that takes keys, spoken to with one that may do everything."""
    with live_stack(directory, few_models, auth="required") as api:
        yield api


@pytest.fixture(scope="module")
def mine(admin: Api) -> Api:
    return with_scopes(admin, Scope.SUBMIT, Scope.READ)


@pytest.fixture(scope="module")
def yours(admin: Api) -> Api:
    return with_scopes(admin, Scope.SUBMIT, Scope.READ)


@pytest.fixture(scope="module")
def redis(admin: Api) -> Iterator[Redis]:
    client = connect(admin.redis_url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def running(mine: Api) -> Iterator[Document]:
    """A job of mine that has work left for as long as these tests may take."""
    accepted(mine.submit("x\n" + "1\n" * 60, model="slow"))
    job = accepted(mine.submit("x\n" + "3\n" * 60_000, wait=0, model="slow"))
    wait_until(lambda: shown(mine, job)["counts"]["succeeded"])
    yield job
    mine.delete(job["urls"]["self"])


def with_scopes(api: Api, *scopes: Scope) -> Api:
    return api.sent_with(new_token(api.redis_url, *scopes))


def call(api: Api, route: str, job_id: str = "") -> requests.Response:
    """Call a route for a job, by default one that never was."""
    method, rule = route.split(" ")
    path = rule.replace("<job_id>", job_id or new_job_id())
    path = path.replace("<reference>", "line").replace("<path:name>", "style.css")
    json_order = {"only": "failed"} if rule.endswith("/retry") else None
    return api.request(method, path, json=json_order, allow_redirects=False)


def finished(api: Api) -> Document:
    return accepted(api.submit("x\n6\nsix\n", model="line"))


def deleted(api: Api) -> Document:
    job = finished(api)
    assert api.delete(job["urls"]["self"]).status_code == 204
    return job


# --- every route


def test_every_route_says_who_may_call_it(routes: set[str]) -> None:
    assert routes <= ROUTES.keys()
    assert ROUTES.keys() <= routes
    assert {route for route in routes if ROUTES[route].is_open} == OPEN


def test_a_route_that_does_not_say_so_answers_nobody() -> None:
    app = create_app(Settings(redis_url="unix:///nowhere"))
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")

    answer = app.test_client().get("/forgotten")

    assert (answer.status_code, "secret" in answer.text) == (500, False)


def test_every_write_takes_the_scope_to_submit_and_is_audited(routes: set[str]) -> None:
    for route in routes - OPEN:
        access, writes = ROUTES[route], not route.startswith("GET ")
        assert (Scope.SUBMIT in access.scopes, bool(access.action)) == (writes, writes), route


def test_the_guard_knows_all_that_a_path_may_name(routes: set[str]) -> None:
    named = {name for route in routes for name in re.findall(r"<(.+?)>", route)}

    assert named == PARAMETERS


def test_without_a_key_only_open_routes_answer(admin: Api, routes: set[str]) -> None:
    nobody = admin.sent_with("")
    for route in routes - OPEN:
        assert_refused(call(nobody, route), 401, "unauthorized", "Bearer")
        path = str(call(nobody, route).request.path_url)
        head = nobody.request("HEAD", path, allow_redirects=False)
        assert is_turned_away(head) or head.status_code == 405
    for route in OPEN:
        assert not route.startswith("GET") or call(nobody, route).status_code == 200, route


def is_turned_away(answer: requests.Response) -> bool:
    """Whether a key is asked for; a browser is led to where it can show one."""
    led_to = answer.headers.get("Location", "")
    return answer.status_code == 401 or led_to.startswith("/ui/sign-in?")


def test_with_a_key_for_other_things_no_route_answers(admin: Api, routes: set[str]) -> None:
    apis = {scope: with_scopes(admin, *(set(Scope) - {scope, Scope.ADMIN})) for scope in Scope}
    for route in routes - OPEN:
        for scope in ROUTES[route].scopes:
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            answer = call(apis[scope], route)
            assert_refused(answer, 403, "insufficient_scope", challenge)
            assert f"'{scope}'" in answer.text or f"&#39;{scope}&#39;" in answer.text


def assert_refused(answer: requests.Response, status: int, code: str, challenge: str) -> None:
    route = f"{answer.request.method} {answer.request.path_url}"
    found = 401 if is_turned_away(answer) else answer.status_code
    assert (found, answer.headers["WWW-Authenticate"]) == (status, challenge), route
    if answer.headers.get("Content-Type") == "application/problem+json":
        assert_problem(answer, status, code)


def test_another_key_finds_no_job_by_any_route(
    mine: Api, yours: Api, running: Document, redis: Redis, routes: set[str]
) -> None:
    jobs = {"finished": finished(mine), "deleted": deleted(mine), "running": running}
    before = {state: traces(redis, job["id"]) for state, job in jobs.items()}

    for route in [route for route in routes if "<job_id>" in route]:
        unknown = new_job_id()
        expected = told(call(yours, route, unknown), unknown)
        assert expected[0] == 404
        for state, job in jobs.items():
            assert told(call(yours, route, job["id"]), job["id"]) == expected, (route, state)

    assert {state: traces(redis, job["id"]) for state, job in jobs.items()} == before
    assert shown(mine, running)["status"] == "running"


def told(answer: requests.Response, job_id: str) -> tuple[object, ...]:
    """All of an answer but what differs between any two, with the same id in all."""
    own = ("Date", "X-Request-ID")
    headers = {name: value for name, value in answer.headers.items() if name not in own}
    return answer.status_code, headers, answer.text.replace(job_id, "ID")


def traces(redis: Redis, job_id: str) -> tuple[object, ...]:
    """What lies in the store of a job and does not change while it runs."""
    record = redis.hgetall(keys.record(job_id))
    lasting = (b"spec", b"owner", b"created_at_ms", b"finished_at_ms", b"is_received")
    children = [
        name for name in redis.scan_iter("job:*") if job_id.encode() in _parent(redis, name)
    ]
    return {f: record.get(f) for f in lasting}, redis.get(keys.tombstone(job_id)), children


def _parent(redis: Redis, name: bytes) -> bytes:
    """The specification of a record, which names the job that it is a retry of."""
    is_record = name.endswith(b"}")
    return redis.hget(name, "spec") or b"" if is_record else b""


def test_who_has_the_key_is_told_what_became_of_a_job(mine: Api, admin: Api) -> None:
    job = deleted(mine)

    for api in (mine, admin):
        assert_problem(api.get(job["urls"]["self"]), 410, "job_gone")


def test_an_admin_may_do_everything_with_everybodys_jobs(admin: Api, mine: Api) -> None:
    job = finished(mine)

    child = accepted(admin.post(job["urls"]["retry"], json={"only": "failed"}, Prefer="wait=20"))

    # The child is the admin's own.
    assert mine.get(child["urls"]["self"]).status_code == 404
    assert child["id"] not in mine.get("/jobs").text
    assert admin.delete(job["urls"]["self"]).status_code == 204
    assert mine.get(job["urls"]["self"]).status_code == 410


# --- keys


@pytest.mark.parametrize(
    "changed",
    [
        lambda _: "",
        lambda _: "rowmill_",
        lambda token: token.upper(),
        lambda token: token[:-1],
        lambda token: token + "0",
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token.replace(token.split("_")[1], "0" * 12),
        lambda token: token.split("_")[2],
    ],
)
def test_a_token_that_is_none_is_refused(mine: Api, changed: Callable[[str], str]) -> None:
    answer = mine.sent_with("").get("/jobs", Authorization=f"Bearer {changed(mine.token)}")

    assert answer.status_code == 401
    assert mine.token[-20:] not in answer.text


def test_no_other_scheme_lets_anybody_in(mine: Api) -> None:
    nobody = mine.sent_with("")

    for header in (f"Basic {mine.token}", mine.token, f"Token {mine.token}"):
        assert_problem(nobody.get("/jobs", Authorization=header), 401, "unauthorized")
    assert_problem(nobody.get("/jobs", Authorization="Bearer"), 401, "invalid_api_key")
    assert nobody.get("/jobs", Authorization=f"bearer {mine.token}").status_code == 200


def test_a_revoked_key_stops_at_every_route_within_two_seconds(
    admin: Api, redis: Redis, routes: set[str]
) -> None:
    api = with_scopes(admin, *Scope)
    # All processes have seen it before.
    for route in routes - OPEN - {"GET /jobs/<job_id>/events"}:
        answer = call(api, route)
        assert not is_turned_away(answer), route
        assert answer.status_code != 403, route
    ApiKeys(redis).revoke(api.token.split("_")[1])
    revoked_at = time.monotonic()

    def is_refused(route: str) -> bool:
        sent_at = time.monotonic()
        is_refused = is_turned_away(call(api, route))
        assert is_refused or sent_at - revoked_at <= REVOKED_WITHIN_SECONDS, route
        return is_refused

    for route in routes - OPEN:
        wait_until(lambda route=route: is_refused(route))  # type: ignore[misc]
    # Another process that has looked later knows the key for longer.
    wait_until(lambda: time.monotonic() - revoked_at > REVOKED_WITHIN_SECONDS)
    assert_problem(api.get("/jobs"), 401, "invalid_api_key", "'test' is revoked")


@pytest.mark.parametrize("end", [ApiKeys.revoke, ApiKeys.rotate])
def test_who_follows_a_job_is_cut_off_when_the_secret_is_good_no_more(
    admin: Api, redis: Redis, end: Callable[[ApiKeys, str], object]
) -> None:
    api = with_scopes(admin, Scope.SUBMIT, Scope.READ)
    job = accepted(api.submit("x\n" + "3\n" * 60_000, wait=0, model="slow"))
    headers = {"Authorization": f"Bearer {api.token}"}
    urls = [api.url + job["urls"]["events"], api.url + job["urls"]["results"] + "?follow=true"]
    streams = [requests.get(url, headers=headers, stream=True, timeout=60) for url in urls]
    pieces = [stream.iter_content(None) for stream in streams]
    assert all(next(piece) for piece in pieces)

    end(ApiKeys(redis), api.token.split("_")[1])

    for stream, rest in zip(streams, pieces, strict=True):
        with stream, pytest.raises(requests.exceptions.ChunkedEncodingError):
            list(rest)
    assert shown(admin, job)["finished_at"] is None
    admin.delete(job["urls"]["self"])


def test_who_waits_for_predictions_gets_none_when_the_key_is_revoked(
    admin: Api, redis: Redis
) -> None:
    api = with_scopes(admin, Scope.SUBMIT, Scope.READ)
    jobs_before = admin.get("/jobs").json()["jobs"]
    with ThreadPoolExecutor() as thread:
        waiting = thread.submit(api.predict, "x\n" + "1\n" * 1500, model="slow")
        wait_until(lambda: admin.get("/jobs").json()["jobs"][:1] != jobs_before[:1])

        ApiKeys(redis).revoke(api.token.split("_")[1])

    assert_problem(waiting.result(), 401, "invalid_api_key", "'test' is revoked")


def test_a_rotated_key_is_good_with_its_new_secret_alone_and_at_once(
    admin: Api, redis: Redis
) -> None:
    api = with_scopes(admin, Scope.SUBMIT, Scope.READ)
    job = finished(api)

    _, token = ApiKeys(redis).rotate(api.token.split("_")[1])

    assert api.sent_with(token.text).get(job["urls"]["self"]).status_code == 200
    wait_until(lambda: api.get("/jobs").status_code == 401)


# --- what keys have to themselves


def test_lists_show_the_jobs_of_the_key_and_an_admin_all(admin: Api, mine: Api, yours: Api) -> None:
    own, other = finished(mine)["id"], finished(yours)["id"]

    for path in ("/jobs?limit=100", "/ui/jobs?limit=100", "/"):
        assert (own in mine.get(path).text, other in mine.get(path).text) == (True, False), path
        assert (own in yours.get(path).text, other in yours.get(path).text) == (False, True), path
        assert {own, other} <= set(re.findall(r"job_[0-9a-f]{32}", admin.get(path).text)), path
    after = mine.get(f"/jobs?after={finished(yours)['id']}").text
    assert (own in after, other in after) == (True, False)


def test_the_same_idempotency_key_of_two_keys_makes_two_jobs(mine: Api, yours: Api) -> None:
    same = {"Idempotency-Key": new_job_id()}
    first, again, other = (
        api.submit("x\n6\n", model="line", headers=same) for api in (mine, mine, yours)
    )

    assert accepted(first)["id"] == accepted(again)["id"] != accepted(other)["id"]
    assert "Idempotent-Replayed" not in other.headers
    assert_problem(
        yours.submit("x\n7\n", model="line", headers=same), 422, "idempotency_key_reused"
    )


def test_writes_leave_a_line_in_the_log_and_no_token_does(
    mine: Api, yours: Api, directory: Path
) -> None:
    job, predicted = finished(mine), mine.predict("x\n6\n", model="line")
    waited_for = accepted(mine.submit("x\n" + "1\n" * 600, model="slow"))
    yours.delete(job["urls"]["self"])
    mine.post(f"/ui/jobs/{job['id']}/delete")
    mine.sent_with("").delete(job["urls"]["self"])

    text = (directory / "api.log").read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    audited = [
        (line["action"], line["key_id"], line["status"])
        for line in lines
        if line["logger"] == "rowmill.audit" and job["id"] in (line["job_id"], line["made_job_id"])
    ]
    my_id, your_id = (api.token.split("_")[1] for api in (mine, yours))
    assert audited == [
        ("create", my_id, 202),
        ("delete", your_id, 404),
        ("delete", my_id, 303),
        ("delete", "", 401),
    ]
    made = {(line.get("made_job_id"), line.get("key_id")) for line in lines}
    assert (predicted.headers["Content-Location"].split("/")[2], my_id) in made
    # Its answer was deferred, and given by another turn of the same request.
    assert (waited_for["id"], my_id) in made
    assert not re.search(r"rowmill_[0-9a-f]{12}_", text)


# --- where keys are needed


def test_on_loopback_no_key_is_needed_and_all_jobs_are_everybodys(api: Api) -> None:
    job = finished(api)

    assert api.get(job["urls"]["self"], Authorization="Bearer nonsense").status_code == 200
    assert job["id"] in api.get("/jobs").text
    assert api.get("/status").status_code == 200


def test_the_server_does_not_start_where_nobody_could_call_it(
    run_directory: Path, few_models: Path
) -> None:
    with redis_server(run_directory / "keyless") as url:
        env = environment(url, few_models, published_host="0.0.0.0", port=str(free_port()))
        command = ["gunicorn", "--config", "deploy/gunicorn.conf.py", "api.wsgi:app"]
        refused = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert refused.returncode != 0
    assert "python -m api.keys create" in refused.stderr
    assert "ROWMILL_AUTH=off" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_keys_are_managed_by_command_and_the_token_is_all_it_prints(
    redis: Redis, admin: Api, few_models: Path
) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "api.keys", *args],
            cwd=ROOT, env=environment(admin.redis_url, few_models),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    scopes = ("--scope", "submit", "--scope", "read")
    limits = ("--expires-in", "90d", "--rows-per-day", "5", "--jobs-in-flight", "2")
    created = run("create", "--name", "night shift", *scopes, *limits)
    token = created.stdout.strip()
    key_id = token.split("_")[1]
    assert admin.sent_with(token).get("/jobs").status_code == 200
    rotated = run("rotate", key_id)
    revoked = run("revoke", key_id)
    listed = run("list")

    key = ApiKeys(redis).find(key_id)
    assert key is not None
    assert (key.limits.rows_per_day, key.limits.requests_per_minute) == (5, None)
    assert key.expires_at_ms == key.created_at_ms + 90 * 86_400_000
    assert created.stdout.count("\n") == rotated.stdout.count("\n") == 1
    assert revoked.stdout == ""
    assert re.search(rf"{key_id} +night shift +submit,read +revoked ", listed.stdout)
    assert re.search(rf"{key_id} .* 5 rows/day, 2 jobs$", listed.stdout, re.MULTILINE)
    assert '"action": "key_created"' in created.stderr
    for told in (created.stderr, rotated.stderr, revoked.stderr, listed.stdout):
        assert token.split("_")[2] not in told
        assert key.digest not in told
    again = run("rotate", key_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert "Traceback" not in again.stderr


def test_the_command_for_keys_says_where_it_looked_for_redis(models_dir: Path) -> None:
    url = f"redis://somebody:s3cret@127.0.0.1:{free_port()}/0"
    listed = subprocess.run(
        [sys.executable, "-m", "api.keys", "list"],
        cwd=ROOT, env=environment(url, models_dir),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (listed.returncode, listed.stdout) == (1, "")
    assert url.partition("@")[2].partition("/")[0] in listed.stderr
    assert "ROWMILL_RUN_DIR" in listed.stderr
    assert "s3cret" not in listed.stderr
    assert "Traceback" not in listed.stderr
