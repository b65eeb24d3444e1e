"""Browsers sign in by an API key, and what lets them in is good for nobody else."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from shared.api_keys import Scope, Token
from shared.job_store.api_keys import ApiKeys
from shared.job_store.connection import connect
from shared.job_store.sessions import SESSION_SECONDS
from tests.command_line import runner
from tests.live_stack import Api, api_process, environment, new_token, redis_server
from tests.waiting import wait_until

SIGN_IN = "/ui/sign-in"


@pytest.fixture(scope="module")
def stack(run_directory: Path, few_models: Path) -> Iterator[Api]:
    """An API that takes keys, behind a proxy; nothing is scored here."""
    with redis_server(run_directory / "sign-in") as redis_url:
        token = new_token(redis_url)
        env = environment(redis_url, few_models, auth="required", trusted_proxies="1")
        with api_process(env, run_directory / "sign-in.log") as api:
            yield api.sent_with(token)


@pytest.fixture
def log(run_directory: Path) -> Path:
    return run_directory / "sign-in.log"


class Browser:
    """Keeps cookies and follows nothing by itself."""

    def __init__(self, api: Api) -> None:
        self.session = requests.Session()
        self.api = api

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(
            self.api.url + path, headers=headers, allow_redirects=False, timeout=30
        )

    def post(self, path: str, **fields: str) -> requests.Response:
        return self.session.post(
            self.api.url + path, data=fields, allow_redirects=False, timeout=30
        )

    def sign_in(self, token: str = "", wanted: str = "/") -> requests.Response:
        return self.post(SIGN_IN, key=token or self.api.token, next=wanted)


@pytest.fixture
def browser(stack: Api) -> Browser:
    return Browser(stack)


@pytest.mark.parametrize("path", ["/", "/ui/jobs?status=failed&limit=5", "/ui/models/line"])
def test_a_page_leads_to_signing_in_and_back(browser: Browser, path: str) -> None:
    led = browser.get(path)
    shown = browser.get(led.headers["Location"])
    wanted = shown.text.split('name="next" value="')[1].split('"')[0].replace("&amp;", "&")

    back = browser.sign_in(wanted=wanted)

    assert led.status_code == back.status_code == 303
    assert led.headers["Location"].startswith(SIGN_IN + "?next=")
    assert back.headers["Location"] == path
    assert browser.get(path).status_code == 200
    assert ">test</span>" in browser.get(path).text


def test_a_part_of_a_page_has_the_script_lead_there(browser: Browser) -> None:
    led = browser.get("/ui/jobs", **{"HX-Request": "true"})

    assert led.status_code == 204
    assert led.headers["HX-Redirect"] == SIGN_IN + "?next=%2Fui%2Fjobs"


def test_a_form_that_is_sent_too_late_leads_back_to_its_page(stack: Api) -> None:
    led = requests.post(
        f"{stack.url}/ui/models/line", timeout=30, allow_redirects=False,
        headers={"Referer": f"{stack.url}/ui/models/line"},
    )  # fmt: skip

    assert led.headers["Location"] == SIGN_IN + "?next=%2Fui%2Fmodels%2Fline"


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "evil",
     "/jobs", "/ui/sign-in", "/ui/\r\nSet-Cookie: a=b", "/ui/jobs\x00", ""],
)  # fmt: skip
def test_nobody_is_led_anywhere_but_to_a_page_of_this_service(
    browser: Browser, wanted: str
) -> None:
    assert browser.sign_in(wanted=wanted).headers["Location"] == "/"


@pytest.mark.parametrize("key", ["", "nonsense", f"rowmill_{'0' * 12}_{'0' * 64}"])
def test_a_wrong_key_is_told_of_on_the_page(browser: Browser, key: str) -> None:
    answer = browser.post(SIGN_IN, key=key, next="/ui/jobs")

    assert answer.status_code == 401
    assert "The API key is not known here" in answer.text
    assert 'value="/ui/jobs"' in answer.text
    assert "Set-Cookie" not in answer.headers
    assert not key or key not in answer.text


def test_the_cookie_is_for_this_host_alone_and_no_script(stack: Api, browser: Browser) -> None:
    plain = browser.sign_in().headers["Set-Cookie"]
    over_tls = requests.post(
        stack.url + SIGN_IN, data={"key": stack.token}, allow_redirects=False, timeout=30,
        headers={"X-Forwarded-Proto": "https"},
    )  # fmt: skip

    assert plain.startswith("rowmill_session=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_SECONDS}"} <= {
        *plain.split("; ")
    }
    assert "Secure" not in plain
    assert over_tls.headers["Set-Cookie"].startswith("__Host-rowmill_session=")
    assert "; Secure; " in over_tls.headers["Set-Cookie"]
    assert "Domain" not in over_tls.headers["Set-Cookie"]
    assert over_tls.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_server_keeps_nothing_by_which_one_gets_in(stack: Api, browser: Browser) -> None:
    browser.sign_in()
    token = browser.session.cookies["rowmill_session"]

    with closing(connect(stack.redis_url)) as redis:
        name = f"session:{hashlib.sha256(token.encode()).hexdigest()}"
        kept = json.loads(redis.get(name) or "")
        lifetime = redis.ttl(name)
    assert 0 < lifetime <= SESSION_SECONDS
    assert kept.keys() == {"key_id", "digest"}
    assert Token.parse(stack.token).secret not in str(kept)  # type: ignore[union-attr]


def test_the_session_opens_what_pages_link_to_and_a_key_that_is_sent_wins(
    stack: Api, browser: Browser
) -> None:
    assert browser.get("/jobs").status_code == 401

    browser.sign_in()

    assert browser.get("/jobs").status_code == 200
    assert browser.get("/jobs", Authorization="Bearer nonsense").status_code == 401


def test_a_session_has_the_scopes_of_its_key(stack: Api, browser: Browser) -> None:
    browser.sign_in(new_token(stack.redis_url, Scope.READ))

    refused = browser.post("/ui/models/line", x="1")

    assert refused.status_code == 403
    assert "submit" in refused.text
    assert "Sign out" in refused.text
    assert browser.get("/status").status_code == 403


def test_who_has_signed_out_is_out(stack: Api, browser: Browser) -> None:
    browser.sign_in()
    token = browser.session.cookies["rowmill_session"]

    out = browser.post("/ui/sign-out")

    assert (out.status_code, out.headers["Location"]) == (303, SIGN_IN)
    assert not browser.session.cookies
    again = {"Cookie": f"rowmill_session={token}"}
    assert stack.sent_with("").get("/jobs", **again).status_code == 401
    assert browser.post("/ui/sign-out").status_code == 303


@pytest.mark.parametrize("change", ["revoke", "rotate"])
def test_a_session_ends_with_the_key_that_it_began_with(
    stack: Api, browser: Browser, change: str
) -> None:
    token = new_token(stack.redis_url)
    browser.sign_in(token)
    assert browser.get("/jobs").status_code == 200

    with closing(connect(stack.redis_url)) as redis:
        parsed = Token.parse(token)
        assert parsed
        getattr(ApiKeys(redis), change)(parsed.key_id)

    wait_until(lambda: browser.get("/jobs").status_code == 401, timeout=10)
    assert browser.get("/").headers["Location"].startswith(SIGN_IN)


def test_pages_that_take_no_key_show_who_has_signed_in(browser: Browser) -> None:
    before = browser.get("/docs").text

    browser.sign_in()

    after = browser.get("/docs").text
    assert 'href="/ui/sign-in"' in before
    assert "Sign out" not in before
    assert "Sign out" in after
    assert browser.get(SIGN_IN + "?next=/ui/jobs").headers["Location"] == "/ui/jobs"


def test_signing_in_is_in_the_audit_log_and_no_key_is_in_any_log(
    stack: Api, browser: Browser, log: Path
) -> None:
    browser.sign_in()
    browser.post("/ui/sign-out")

    lines = [json.loads(line) for line in log.read_text().splitlines() if '"audit"' in line]
    parsed = Token.parse(stack.token)
    assert parsed
    of_key = {line["action"] for line in lines if line["key_id"] == parsed.key_id}
    assert {"sign_in", "sign_out"} <= of_key
    assert parsed.secret not in log.read_text()


def test_the_log_names_who_the_proxy_says_it_is(stack: Api, log: Path) -> None:
    requests.post(
        stack.url + "/ui/sign-out", timeout=30, allow_redirects=False,
        headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
    )  # fmt: skip

    remotes = [json.loads(x)["remote"] for x in log.read_text().splitlines() if '"audit"' in x]
    assert "198.51.100.7" in remotes
    assert "203.0.113.9" not in remotes


def test_the_command_says_how_to_send_a_key_and_sends_it(stack: Api, tmp_path: Path) -> None:
    run = runner(stack.url, tmp_path)

    without = run("jobs")
    with_it = run("jobs", ROWMILL_API_KEY=stack.token)
    wrong = run("--api-key", f"rowmill_{'0' * 12}_{'0' * 64}", "jobs", "--json")

    said = "Error: This takes an API key; set ROWMILL_API_KEY.\n"
    assert (without.returncode, without.stderr) == (1, said)
    assert with_it.returncode == 0
    assert wrong.returncode == 1
    assert "0" * 64 not in wrong.stdout + wrong.stderr


def test_no_other_site_signs_a_browser_in(stack: Api) -> None:
    answer = requests.post(
        stack.url + SIGN_IN, data={"key": stack.token}, timeout=30,
        headers={"Sec-Fetch-Site": "cross-site"},
    )  # fmt: skip

    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_where_no_keys_are_needed_nothing_of_it_is_seen(api: Api) -> None:
    browser = Browser(api)

    assert browser.get(SIGN_IN + "?next=/ui/jobs").headers["Location"] == "/ui/jobs"
    assert browser.post(SIGN_IN, key="any").headers["Location"] == "/"
    assert "sign-in" not in browser.get("/").text
    assert "Sign out" not in browser.get("/").text
