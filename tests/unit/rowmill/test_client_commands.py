"""The command line: what goes to stdout and stderr, and the exit codes."""

import json
import re
import socket
import sys

import pytest
from click.testing import CliRunner

from rowmill.commands.root import root

RESULTS = b"row,prediction,error\n1,2.5,\n"


@pytest.fixture
def run(server):
    """Runs `rowmill` against the scripted server."""

    def run(*arguments: str, stdin: bytes = b"", url: str = server.url):
        return CliRunner().invoke(root, arguments, input=stdin, env={"ROWMILL_URL": url})

    return run


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b"a\n1\n")
    return str(path)


@pytest.fixture
def ends_as(server, job_document):
    """Scripts a job from submission to results; takes what `job_document` takes."""

    def script(*args, **changes):
        ended = job_document(*args, finished_at="2025-01-01T00:00:02Z", **changes)
        server.say("POST", "/jobs", status=202, json_body=job_document("queued"))
        server.say("GET", "/jobs/job_1", json_body=ended)
        server.say("GET", "/jobs/job_1/results", body=RESULTS)
        server.say("GET", "/jobs/job_1/errors", body=b"row,line,column,code,message\n")

    return script


def test_predict_writes_the_predictions_and_one_line_about_them(run, ends_as, source, tmp_path):
    ends_as("succeeded", succeeded=10)

    result = run("predict", source, "--model", "petrol", "-o", str(tmp_path / "out.csv"))

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Scored 10 rows in 2.0 s with petrol:1.\n"
    assert (tmp_path / "out.csv").read_bytes() == RESULTS


def test_predict_reads_stdin_and_writes_stdout(run, ends_as, server):
    ends_as("succeeded", succeeded=10)

    result = run("predict", "-", stdin=b"a\n1\n")

    assert result.stdout_bytes == RESULTS
    assert server.requests[0].body == b"a\n1\n"


def test_predict_passes_its_options_on(run, ends_as, server, source):
    ends_as("succeeded", succeeded=10)

    run("predict", source, "--output", "predict_proba", "--join", "--delimiter", "tab")

    assert server.requests[0].target == "/jobs?output=predict_proba&join=input&delimiter=%09"


def test_rows_that_failed_make_exit_code_3_and_the_others_are_written(run, ends_as, source):
    ends_as("partially_succeeded", succeeded=7, failed=3)

    result = run("predict", source)

    assert (result.exit_code, result.stdout_bytes) == (3, RESULTS)
    assert "Scored 7 of 10 rows" in result.stderr
    assert "3 failed, see 'rowmill errors job_1'" in result.stderr


def test_a_job_that_failed_makes_exit_code_1(run, ends_as, source, tmp_path):
    ends_as("failed", error={"code": "all_rows_failed", "detail": "Every row failed."})

    result = run("predict", source, "-o", str(tmp_path / "out.csv"))

    assert result.exit_code == 1
    assert (
        result.stderr == "Error: Job job_1 failed: Every row failed. See 'rowmill errors job_1'.\n"
    )
    assert not (tmp_path / "out.csv").exists()


def test_a_request_that_is_refused_is_one_line_and_exit_code_1(run, server, source):
    problem = {"code": "model_not_found", "detail": "There is no model 'oil'.\nThere is petrol."}
    server.say("POST", "/jobs", status=404, json_body=problem)

    result = run("predict", source, "--model", "oil")

    assert result.exit_code == 1
    assert result.stderr == "Error: There is no model 'oil'. There is petrol.\n"


@pytest.mark.parametrize("command", [["models"], ["jobs"], ["status", "job_1"], ["predict", "-"]])
def test_no_server_is_one_line_and_exit_code_4(run, command):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        result = run(*command, url=url)

    assert result.exit_code == 4
    assert re.fullmatch(r"Error: Can't reach a server at .*--url or ROWMILL_URL\.\n", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["predict", "nowhere.csv"], "does not exist"),
        (["predict", "-", "-o", "nowhere/out.csv"], "create it first"),
        (["predict", "-", "-o", "."], "is a directory"),
        (["models", "--url", "localhost"], "write it like"),
        (["jobs", "--limit", "0"], "range"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_reaches_no_server(run, server, arguments, finding):
    result = run(*arguments)

    assert result.exit_code == 2
    assert finding in result.stderr
    assert server.requests == []


def test_trouble_after_the_submission_names_the_job(run, ends_as, server, source):
    server.say("GET", "/jobs/job_1/results", status=500, body=b"")
    ends_as("succeeded", succeeded=10)

    result = run("predict", source)

    assert result.exit_code == 1
    assert "'rowmill results job_1' has its predictions" in result.stderr


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_go_on(run, ends_as, source, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    ends_as("running")
    monkeypatch.setattr("rowmill.job_handle.JobHandle.wait", interrupt)

    result = run("predict", source)

    assert result.exit_code == 130
    assert (
        result.stderr == "Job job_1 goes on; see 'rowmill status job_1', 'rowmill cancel job_1'.\n"
    )


def test_warnings_of_a_job_are_passed_on(run, ends_as, source):
    ends_as("succeeded", succeeded=10, warnings=["Trained under scikit-learn 1.8."])

    assert "Warning: Trained under scikit-learn 1.8.\n" in run("predict", source).stderr


def test_submit_prints_the_id_alone(run, ends_as, source):
    ends_as("succeeded")

    result = run("submit", source)

    assert (result.stdout, result.stderr, result.exit_code) == ("job_1\n", "", 0)


def test_status_tells_the_facts_of_a_job(run, ends_as):
    ends_as("partially_succeeded", succeeded=7, failed=3)

    result = run("status", "job_1")

    assert result.exit_code == 0
    assert re.search(r"^status +partially_succeeded$", result.stdout, re.MULTILINE)
    assert re.search(r"^failed +3$", result.stdout, re.MULTILINE)


def test_status_with_wait_gives_the_exit_code_of_the_job(run, ends_as):
    ends_as("partially_succeeded", succeeded=7, failed=3)

    assert run("status", "job_1", "--wait").exit_code == 3


def test_json_is_the_servers_document(run, ends_as):
    ends_as("succeeded", new_field="kept")

    document = json.loads(run("status", "job_1", "--json").stdout)

    assert (document["id"], document["new_field"]) == ("job_1", "kept")


def test_results_asks_for_the_format_the_files_name_promises(run, ends_as, server, tmp_path):
    ends_as("succeeded", succeeded=10)

    run("results", "job_1", "-o", str(tmp_path / "out.ndjson"))

    assert server.requests[-1].headers["Accept"] == "application/x-ndjson"


def test_errors_lists_the_failed_rows(run, ends_as):
    ends_as("partially_succeeded", failed=1)

    assert run("errors", "job_1").stdout == "row,line,column,code,message\n"


def test_cancel_tells_the_new_status(run, ends_as, server, job_document):
    ends_as("running")
    server.say("POST", "/jobs/job_1/cancel", status=202, json_body=job_document("cancelled"))

    assert run("cancel", "job_1").stdout == "job_1 cancelled\n"


def test_jobs_lists_whole_ids_and_says_how_to_see_more(run, server, job_document):
    long_id = "job_" + "x" * 100
    server.say("GET", "/jobs", json_body={"jobs": [job_document(id=long_id)], "has_more": True})

    result = run("jobs")

    assert result.stdout.splitlines()[1].startswith(long_id + "  running  petrol:1")
    assert f"rowmill jobs --after {long_id}" in result.stderr


def test_models_are_listed_and_one_is_shown_with_its_features(run, server):
    feature = {"name": "tax", "dtype": "float64", "nullable": False, "example": None}
    model = {"name": "petrol", "versions": ["1"], "latest": "1", "description": "Litres"}
    model["signature"] = {"features": [feature], "outputs": {"predict": []}}
    server.say("GET", "/models", json_body={"models": [model]})
    server.say("GET", "/models/petrol", json_body=model)

    assert run("models").stdout.splitlines()[1] == "petrol  1       1         Litres"
    assert re.search(r"^feature +tax \(float64\)$", run("models", "petrol").stdout, re.MULTILINE)


def test_without_click_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rowmill.commands.root", None)
    from rowmill.cli import main

    with pytest.raises(SystemExit, match=r"pip install 'rowmill\[client\]'"):
        main()
