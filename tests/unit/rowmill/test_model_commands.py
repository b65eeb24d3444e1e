"""`rowmill models`: what is shown, waiting for a version, and commands that are not installed."""

import json
import re
import sys

import pytest
from click.testing import CliRunner

from rowmill.commands import root
from rowmill.errors import VersionFailedError, VersionWaitError

REASON = {"code": "model_load_failed", "detail": "It was changed."}
COMPARISON = {
    "version": "1",
    "shadow": "2",
    "output": "predict",
    "rows": 1500,
    "rows_skipped": 0,
    "agreement": 0.98,
    "mean_absolute_difference": None,
}


@pytest.fixture
def run(server):
    """Runs `rowmill models` against the scripted server."""

    def run(*arguments: str):
        return CliRunner().invoke(root, ["models", *arguments], env={"ROWMILL_URL": server.url})

    return run


# --- list and show


def test_models_are_listed_by_default_and_by_name(run, server, model_document):
    document = model_document("ready", "trying", aliases={"champion": "1"})
    server.say("GET", "/models", json_body={"models": [document], "workers": []})

    by_default, by_name, as_json = run(), run("list"), run("list", "--json")

    header, line = by_name.stdout.splitlines()
    assert header.split() == ["NAME", "VERSION", "LATEST", "ALIASES", "DESCRIPTION"]
    assert line.split() == ["churn", "1", "2", "champion", "→", "1"]
    assert by_default.stdout == by_name.stdout
    assert json.loads(as_json.stdout) == {"models": [document]}


def test_a_model_is_shown_with_versions_aliases_and_comparisons(run, server, model_document):
    aliases = {"champion": "1", "canary": {"version": "2", "weight": 0.05}}
    document = model_document(
        "ready", "failed", error=REASON, aliases=aliases, comparisons=[COMPARISON]
    )
    server.say("GET", "/models/churn", json_body=document)

    shown = run("show", "churn").stdout

    assert re.search(r"^aliases +canary → 2 5\.00%, champion → 1$", shown, re.MULTILINE)
    assert re.search(r"^version +2 \(failed, .*\): It was changed\.$", shown, re.MULTILINE)
    assert re.search(
        r"^compared +2 with 1 \(predict\): 1,500 rows, 98\.00% the same$", shown, re.MULTILINE
    )
    assert json.loads(run("show", "churn", "--json").stdout) == document


# --- waiting


def test_a_version_is_waited_for_until_it_is_served(client, server, fake_clock, model_document):
    away = {"status": 503, "json_body": {"code": "store_unavailable", "detail": "Gone."}}
    unknown = {"status": 404, "json_body": {"code": "model_not_found", "detail": "None."}}
    server.say("GET", "/models/churn%3A2", **unknown)
    server.say("GET", "/models/churn%3A2", **away)
    server.say("GET", "/models/churn%3A2", json_body=model_document("ready", "untried", serves="2"))
    server.say("GET", "/models/churn%3A2", json_body=model_document("ready", "trying", serves="2"))
    server.say("GET", "/models/churn%3A2", json_body=model_document("ready", "ready", serves="2"))

    model = client.wait_until_served("churn:2", timeout=60)

    assert model.version == "2"
    assert fake_clock.pauses == [0.5, 0.5, 0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("reference", "aliases"),
    [
        ("churn", {}),
        ("churn", {"champion": "2"}),
        ("churn@canary", {"champion": "1", "canary": {"version": "2", "weight": 0.1}}),
    ],
)
def test_a_reference_is_waited_for_until_it_means_what_it_should(
    client, server, model_document, reference, aliases
):
    path = f"/models/{reference.replace('@', '%40')}"
    server.say("GET", path, json_body=model_document("ready", "ready", aliases=aliases))
    late = model_document("ready", "ready", aliases=aliases, serves="2")
    server.say("GET", path, json_body=late)

    assert client.wait_until_served(reference).version == "2"


def test_the_version_that_serves_meanwhile_is_not_what_is_waited_for(
    client, server, model_document
):
    server.say("GET", "/models/churn", json_body=model_document("ready", "failed", error=REASON))

    with pytest.raises(VersionFailedError, match=r"^Version '2' of 'churn' can't serve: It was ch"):
        client.wait_until_served("churn")


@pytest.mark.parametrize(
    ("state", "told"),
    [("trying", "version is trying; look again"), ("untried", "untried; point an alias at it")],
)
def test_a_version_is_waited_for_no_longer_than_asked(
    client, server, fake_clock, model_document, state, told
):
    document = model_document("ready", state, serves="2")
    server.say("GET", "/models/churn%3A2", json_body=document)

    with pytest.raises(VersionWaitError, match=rf"'churn:2' isn't served after 3 s: .*{told}"):
        client.wait_until_served("churn:2", timeout=3)

    assert fake_clock.seconds == 3


def test_what_does_not_pass_is_not_waited_for(run, server):
    server.say("GET", "/models/churn", status=500, json_body={"code": "x", "detail": "Broken."})

    result = run("show", "churn", "--wait", "60")

    assert (result.exit_code, result.stderr) == (1, "Error: Broken.\n")


def test_a_version_that_fails_makes_exit_code_1_and_one_line(run, server, model_document):
    server.say("GET", "/models/churn", json_body=model_document("failed", error=REASON))

    result = run("show", "churn", "--wait", "60")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: Version '1' of 'churn' can't serve: It was changed.\n"


def test_an_alias_of_a_version_that_is_gone_makes_exit_code_1_and_one_line(
    run, server, model_document
):
    document = model_document("ready") | {"aliases": {"champion": "9"}}
    server.say("GET", "/models/churn", json_body=document)

    result = run("show", "churn", "--wait", "60")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: Version '9' of 'churn' can't serve: it is not there")


def test_a_model_that_nobody_publishes_is_told_when_the_time_is_over(run, server):
    problem = {"code": "model_not_found", "detail": "There is no model 'churn'."}
    server.say("GET", "/models/churn", status=404, json_body=problem)

    result = run("show", "churn", "--wait", "0")

    assert (result.exit_code, result.stderr) == (1, "Error: There is no model 'churn'.\n")


# --- commands that need what a worker needs


@pytest.mark.parametrize(
    "arguments",
    [["publish", "model.joblib", "--name", "churn"], ["verify"], ["alias", "churn", "a", "1"]],
)
def test_without_what_a_worker_needs_the_command_says_what_to_install(run, monkeypatch, arguments):
    monkeypatch.setitem(sys.modules, "worker.repository_commands", None)

    result = run(*arguments)

    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: no module '.*'; run: pip install 'rowmill\[worker\]'\n", result.stderr
    )


def test_help_lists_also_what_is_not_installed(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "worker.repository_commands", None)

    shown = run("--help").stdout

    assert re.search(r"^  list +List the models", shown, re.MULTILINE)
    assert re.search(r"^  publish +Not available here", shown, re.MULTILINE)
