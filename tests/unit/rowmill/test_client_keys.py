"""The API key: sent as a header, shown nowhere."""

import pytest

from rowmill.client import Client
from rowmill.errors import InvalidApiKeyError, InvalidUrlError, RowmillError

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
