"""The API key: sent as a header, shown nowhere."""

import pytest

from rowmill.client import Client
from rowmill.errors import (
    ForbiddenError,
    InvalidApiKeyError,
    InvalidUrlError,
    RowmillError,
    UnauthorizedError,
    UnexpectedAnswerError,
)

KEY = "rm_secret-1"


@pytest.fixture(autouse=True)
def no_key_of_the_tester(monkeypatch):
    monkeypatch.delenv("ROWMILL_API_KEY", raising=False)
    monkeypatch.delenv("ROWMILL_URL", raising=False)


def test_the_key_goes_with_every_request(server, job_document):
    server.say("GET", "/models", json_body={"models": []})
    server.say("POST", "/jobs", status=202, json_body=job_document("queued"))
    server.say("GET", "/jobs/job_1/results", body=b"row\n")

    with Client(server.url, KEY) as client:
        client.models()
        list(client.submit(b"a\n1\n").results())

    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_url_and_key_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("ROWMILL_URL", server.url)
    monkeypatch.setenv("ROWMILL_API_KEY", KEY)
    server.say("GET", "/models", json_body={"models": []})

    with Client() as client:
        client.models()

    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_netrc_of_the_machine_does_not_replace_the_key(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.say("GET", "/models", json_body={"models": []})

    with Client(server.url, KEY) as client:
        client.models()

    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(client, server):
    server.say("GET", "/models", json_body={"models": []})

    client.models()

    assert "Authorization" not in server.requests[0].headers


def test_neither_repr_nor_errors_show_a_secret(server):
    server.say("GET", "/models", status=401, body=b"")
    url = server.url.replace("//", "//me:word@")

    with Client(url, KEY) as client, pytest.raises(RowmillError) as caught:
        client.models()

    shown = repr(client) + str(caught.value) + repr(caught.value)
    assert KEY not in shown
    assert "word" not in shown


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
def test_a_key_that_can_not_be_sent_is_refused_unseen(server, key):
    with pytest.raises(InvalidApiKeyError) as caught:
        Client(server.url, key)

    assert not key or key not in str(caught.value)


def test_an_odd_url_is_shown_without_its_password():
    with pytest.raises(InvalidUrlError) as caught:
        Client("http://me:word@host?x=1")

    assert "word" not in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [(401, UnauthorizedError), (403, ForbiddenError)])
def test_a_key_that_is_refused_is_not_sent_again(server, job_document, status, error):
    problem = {"code": "invalid_api_key", "detail": "The API key is not known here."}
    server.say("POST", "/jobs", status=status, json_body=problem)
    server.say("GET", "/jobs/job_1", status=status, json_body=problem)

    with Client(server.url, KEY) as client:
        with pytest.raises(error) as caught:
            client.submit(b"a\n1\n")
        with pytest.raises(error):
            client.wait("job_1")

    assert caught.value.status == status
    assert caught.value.code == "invalid_api_key"
    assert len(server.requests) == 2


def test_who_sends_no_key_is_told_how_to(client, server):
    detail = "This takes an API key; send it as 'Authorization: Bearer rowmill_…'."
    server.say("GET", "/models", status=401, json_body={"code": "unauthorized", "detail": detail})

    with pytest.raises(UnauthorizedError, match="set ROWMILL_API_KEY, or give Client an api_key"):
        client.models()


def test_no_redirect_takes_the_key_to_another_host(server, job_document):
    other = f"http://localhost:{server.server_port}/elsewhere"
    server.say("GET", "/models", status=307, headers={"Location": other})
    server.say("POST", "/jobs", status=308, headers={"Location": other})
    server.say("GET", "/jobs/job_1/results", status=302, headers={"Location": other})

    with Client(server.url, KEY) as client:
        for call in (
            client.models,
            lambda: client.submit(b"a\n1\n"),
            lambda: client.results("job_1"),
        ):
            with pytest.raises(UnexpectedAnswerError):
                call()

    assert {request.target for request in server.requests} == {
        "/models", "/jobs", "/jobs/job_1/results"
    }  # fmt: skip
