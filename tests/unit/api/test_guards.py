"""Which hosts requests may be for, and what no other site's page can have a browser do."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from api import guards
from api.app import create_app
from shared.settings import OWN_NAMES, Settings


def client_of(models_dir: Path, **settings: str) -> FlaskClient:
    return create_app(
        Settings(redis_url="unix:///nowhere", models_dir=models_dir, **settings)  # type: ignore[arg-type]
    ).test_client()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LOCALHOST:8000",
        "app.localhost",
        "127.0.0.1:8000",
        "[::1]:8000",
        "192.168.1.7",
        "api:8000",
        "localhost.:8000",
    ],
)
def test_addresses_and_names_that_no_stranger_can_have_are_taken(host: str) -> None:
    assert guards.is_allowed(host, OWN_NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evillocalhost.example",
        "127.1",
        "[::1",
        "[:::]",
        "user@evil.example",
        "",
    ],
)
def test_all_else_is_refused(host: str) -> None:
    assert not guards.is_allowed(host, OWN_NAMES)


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("rowmill.example", True),
        ("Rowmill.Example:443", True),
        ("a.rowmill.example", False),
        ("a.below.example", True),
        ("below.example", True),
        ("unbelow.example", False),
    ],
)
def test_an_operator_names_hosts_and_what_is_below_them(host: str, *, is_allowed: bool) -> None:
    assert guards.is_allowed(host, ("rowmill.example", ".below.example")) is is_allowed


def test_on_loopback_a_name_that_was_made_to_lead_there_is_refused(tmp_path: Path) -> None:
    answer = client_of(tmp_path).get("/jobs", headers={"Host": "evil.example:8000"})

    assert answer.status_code == 421
    assert answer.json
    assert answer.json["code"] == "unknown_host"
    assert "'evil.example:8000'" in answer.json["detail"]


@pytest.mark.parametrize(
    "settings", [{"host": "0.0.0.0"}, {"allowed_hosts": "*"}, {"allowed_hosts": "any.example"}]
)
def test_beyond_loopback_any_name_is_taken_unless_some_are_given(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    answer = client_of(tmp_path, **settings).get("/healthz", headers={"Host": "any.example"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://[", "http://localhost.evil.example", "null", "localhost", ""]
)
def test_an_origin_that_is_not_this_one_may_not_write(tmp_path: Path, origin: str) -> None:
    answer = client_of(tmp_path).post("/jobs", headers={"Origin": origin})

    assert answer.status_code == 403


def test_an_origin_is_this_one_whether_or_not_a_proxy_has_ended_its_tls(tmp_path: Path) -> None:
    client = client_of(tmp_path)

    for origin in ("http://localhost", "https://localhost"):
        assert client.post("/jobs", headers={"Origin": origin}).status_code == 415
