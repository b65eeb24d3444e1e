"""The service on a Redis with the users of docker-compose.yml: all works, nothing is given away."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests
from celery import Celery
from kombu import Connection
from redis.exceptions import AuthenticationError

from shared.api_keys import NewKey, Scope
from shared.dispatch import SCORE_CHUNKS, WORK_QUEUE, make_celery
from shared.job_store import keys
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.settings import Settings
from tests.contract.answers import accepted
from tests.live_stack import (
    ROOT,
    Api,
    answers,
    api_process,
    ask_to_stop,
    environment,
    free_port,
    new_token,
    process,
    worker_process,
)
from tests.receivers import SECRET, answering, receiver
from tests.secured_redis import SecuredRedis
from tests.server_sent_events import events_of, watched
from tests.waiting import wait_until

SECRETS = {
    "redis_password": "redis/pass word%+",
    "flower_password": "flower-p4ss",
    "trust_key": "key-of-trust",
    "webhook_secret": SECRET,
}
SHOWN_AS = {*SECRETS.values(), "redis%2Fpass", "redis/pass", SECRET.removeprefix("whsec_")}


@dataclass(frozen=True, kw_only=True)
class Secured:
    api: Api
    redis: SecuredRedis
    env: dict[str, str]
    home: Path
    flower_url: str
    server: ExitStack

    def settings(self) -> Settings:
        return Settings(redis_url=self.redis.url, redis_password_file=str(self.redis.password_file))

    def stop_server(self) -> None:
        self.server.close()

    def start_server(self) -> None:
        self.server.enter_context(self.redis.running())

    def flower(self, path: str) -> requests.Response:
        auth = ("rowmill", SECRETS["flower_password"])
        return requests.get(f"{self.flower_url}{path}", auth=auth, timeout=30)

    def let_windows_pass(self) -> None:
        """Let what limits count have begun a minute ago, or a day."""
        with self.redis.client() as auditor:
            counts = list(auditor.scan_iter(f"{keys.LIMITS}:*"))
            assert len(counts) >= 2
            for count in counts:
                auditor.pexpire(count, int(auditor.pttl(count)) // 2 - 1000)

    def check_keys_and_sessions(self) -> None:
        """Make a key, and let it in as a browser, until it is revoked."""
        with closing(connect(self.settings().redis_url)) as redis:
            known = ApiKeys(redis)
            key, _ = known.create(NewKey(name="another", scopes=[Scope.READ]))
            _, token = known.rotate(key.id)
            with requests.Session() as browser:
                browser.post(f"{self.api.url}/ui/sign-in", data={"key": token.text}, timeout=30)
                assert browser.get(f"{self.api.url}/models", timeout=30).status_code == 200
                known.revoke(key.id)
                browser.post(f"{self.api.url}/ui/sign-out", timeout=30)

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.home.glob("*.log"))


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path) -> Iterator[Secured]:
    """All is started before Redis is there, as after a power cut."""
    home = run_directory / "secured"
    home.mkdir()
    redis = SecuredRedis.prepared(home, SECRETS["redis_password"])
    with ExitStack() as server, ExitStack() as parts:
        own = {name: value for name, value in SECRETS.items() if name != "redis_password"} | {
            "redis_password_file": str(redis.password_file),
            "auth": "required",
            "key_requests_per_minute": "10000",
            "key_rows_per_day": "1000000",
            "key_jobs_in_flight": "100",
            "payload_url": f"file://{home / 'objects'}",
            "webhook_allow_private": "true",
            "log_level": "DEBUG",
        }
        env = environment(redis.url, few_models, **own)
        worker = parts.enter_context(worker_process(env, home / "worker.log"))
        api = parts.enter_context(api_process(env, home / "api.log"))
        port = free_port()
        flower = parts.enter_context(
            process(
                "celery", "flower", "--address=127.0.0.1", f"--port={port}",
                "--conf=deploy/flowerconfig.py", env=env, log=home / "flower.log",
            )
        )  # fmt: skip
        parts.callback(ask_to_stop, worker.pid, api.pid, flower.pid)
        assert api.get("/readyz").json()["code"] == "store_unavailable"
        found = Secured(
            api=api,
            redis=redis,
            env=env,
            home=home,
            flower_url=f"http://127.0.0.1:{port}",
            server=server,
        )
        found.start_server()
        wait_until(lambda: answers(f"{api.url}/readyz"), timeout=90)
        token = new_token(found.settings().redis_url)
        yield replace(found, api=api.sent_with(token))


# --- rights


@pytest.mark.timeout(180)
def test_all_that_the_service_does_is_allowed(stack: Secured) -> None:
    api = stack.api
    with stack.redis.client() as auditor:
        auditor.acl_log_reset()

    with receiver(answering(204)) as listening:
        job = accepted(api.submit("x\n6\nbad\n", model="line", callback_url=listening.url))
        listening.heard()
    assert job["status"] == "partially_succeeded"
    retried = api.post(f"{job['urls']['self']}/retry", json={"only": "failed"})
    assert api.ended(retried.json())["status"] == "failed"
    assert api.predict("x\n6\n", model="line").status_code == 200
    bulk = api.submit("x\n" + "1\n" * 2000, model="slow", wait=0).json()
    own = {"Authorization": f"Bearer {api.token}"}
    with watched(api, bulk["urls"]["events"], **own) as stream:
        assert [event.name for event in events_of(stream)][-1] == "completed"
    assert len(api.get(bulk["urls"]["results"]).text.splitlines()) == 2001
    again = {"Idempotency-Key": "once"}
    for _ in range(2):
        kept = api.submit("x\n" + "1\n" * 5000, model="slow", wait=0, headers=again).json()
    assert api.post(kept["urls"]["cancel"]).status_code == 202
    assert api.delete(kept["urls"]["self"]).status_code == 204
    stack.let_windows_pass()
    for path in ("/jobs", "/status", "/models", "/readyz", "/metrics"):
        assert api.get(path).status_code == 200, path
    stack.check_keys_and_sessions()
    with closing(make_celery(stack.settings())) as celery:
        assert celery.control.inspect(timeout=10, limit=1).active_queues()
    assert wait_until(lambda: stack.flower("/api/queues/length").json()["active_queues"])
    pidfile = stack.home / "worker.pid"
    command = [sys.executable, "-m", "deploy.worker_health", "--pidfile", str(pidfile)]
    subprocess.run(command, cwd=ROOT, env=stack.env, check=True, timeout=60)

    with stack.redis.client() as auditor:
        assert auditor.acl_log() == []


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET dir", "CONFIG SET dir /", "DEBUG SLEEP 0",
        "SHUTDOWN", "MODULE LIST", "MODULE LOAD x", "ACL LIST", "CLIENT LIST", "CLIENT KILL ID 1",
        "MONITOR", "SAVE", "BGREWRITEAOF", "REPLICAOF NO ONE", "SLOWLOG GET", "SCRIPT FLUSH",
        "FUNCTION LIST", "SWAPDB 0 1", "SORT x", "DUMP x", "RESTORE x 0 y", "SCAN 0",
    ],
)  # fmt: skip
def test_what_could_harm_the_server_is_forbidden(stack: Secured, command: str) -> None:
    with stack.redis.client() as auditor:
        answer = auditor.execute_command("ACL", "DRYRUN", "rowmill", *command.split(" "))

    assert b"no permissions" in answer


def test_what_the_docs_have_an_operator_run_in_its_container_is_allowed(stack: Secured) -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    told = re.findall(r"docker compose exec redis .*?redis-cli ([^`'\n]+)", text)

    assert told
    for command in told:
        as_user, *words = command.split(" ")[1:]
        with stack.redis.client() as auditor:
            answer = auditor.execute_command("ACL", "DRYRUN", as_user, *words)
        assert (command, answer) == (command, b"OK")


def test_nobody_comes_in_without_the_password(stack: Secured) -> None:
    for user, password in (("default", ""), ("rowmill", ""), ("rowmill", "wrong")):
        with stack.redis.client(user, password) as redis, pytest.raises(AuthenticationError):
            redis.ping()


def test_a_password_is_made_once_where_none_is_given(tmp_path: Path) -> None:
    file = tmp_path / "password"

    def make(**variables: str) -> str:
        env = {"PATH": os.environ["PATH"], **variables}
        script = str(ROOT / "deploy/redis/make_password.sh")
        subprocess.run(["sh", script, str(file)], env=env, check=True)
        return file.read_text()

    made = make()

    assert len(made) >= 43
    assert make() == made
    assert make(ROWMILL_REDIS_PASSWORD="given") == make() == "given"
    file.unlink()
    assert make() not in (made, "given")


# --- messages


class Trap:
    """Leaves a file where somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickled_message_is_refused_and_harms_nobody(stack: Secured, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    settings = stack.settings()
    with closing(Celery(broker=settings.broker.url, set_as_current=False)) as attacker:
        attacker.send_task(
            SCORE_CHUNKS, kwargs={"job_id": Trap(marker)}, queue=WORK_QUEUE, serializer="pickle"
        )
    # As remote control takes it, too.
    with Connection(settings.broker.url) as connection, connection.Producer() as producer:
        body = {"method": "ping", "arguments": Trap(marker)}
        for exchange in ("celery.pidbox",):
            producer.publish(body, exchange=exchange, serializer="pickle", exchange_type="fanout")

    refused = wait_until(
        lambda: (text := stack.logs()).count("Refusing to deserialize") >= 1 and text, timeout=30
    )
    job = stack.api.submit("x\n6\n", model="line").json()

    assert job["status"] == "succeeded"
    assert "untrusted content of type pickle" in refused
    assert not marker.exists()


# --- secrets


@pytest.mark.timeout(180)
def test_no_secret_is_in_any_log_or_answer(stack: Secured) -> None:
    api = stack.api
    said = [api.get("/status").text, api.get("/readyz").text, repr(stack.settings())]

    stack.stop_server()
    said += [api.get(path).text for path in ("/status", "/readyz", "/jobs")]
    said += [api.submit("x\n6\n", model="line", wait=0).text]
    stack.start_server()
    wait_until(lambda: answers(f"{api.url}/readyz"), timeout=90)
    said += [stack.flower(path).text for path in ("/api/workers", "/broker", "/workers")]

    logs = stack.logs()
    assert all(name in logs for name in ("request failed", "celery.worker.consumer", "Visit me at"))
    lines = "\n".join([logs, *said]).splitlines()
    assert [line for line in lines for secret in SHOWN_AS if secret in line] == []


def test_flower_does_not_start_without_a_password_where_one_is_required(stack: Secured) -> None:
    env = {k: v for k, v in stack.env.items() if k != "ROWMILL_FLOWER_PASSWORD"}

    refused = subprocess.run(
        [sys.executable, "-m", "celery", "flower", f"--port={free_port()}",
         "--address=127.0.0.1", "--conf=deploy/flowerconfig.py"],
        cwd=ROOT, env=env | {"ROWMILL_FLOWER_LOGIN": "required"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip

    assert refused.returncode != 0
    assert "set ROWMILL_FLOWER_PASSWORD" in refused.stderr


def test_flower_shows_nothing_without_the_password(stack: Secured) -> None:
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert requests.get(f"{stack.flower_url}{path}", timeout=10).status_code == 401, path
