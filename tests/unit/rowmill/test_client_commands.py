"""What the command line does when things go wrong that a live stack doesn't let go wrong."""

import re
import socket
import sys

import pytest
from click.testing import CliRunner

from rowmill.commands import root
from shared.errors import HeaderError, JobNotFoundError
from tests.factories import make_feature, make_signature

RESULTS = b"row,prediction,error\n1,2.5,\n"


@pytest.fixture
def run(server):
    """Runs `rowmill` against the scripted server."""

    def run(*arguments: str, url: str = server.url):
        return CliRunner().invoke(root, arguments, input=b"a\n1\n", env={"ROWMILL_URL": url})

    return run


@pytest.fixture
def ends_as(server, job_document):
    """Scripts a job from submission to results; takes what `job_document` takes."""

    def script(*args, **changes):
        ended = job_document(*args, finished_at="2025-01-01T00:00:02Z", **changes)
        server.say("POST", "/jobs", status=202, json_body=job_document("queued"))
        server.say("GET", "/jobs/job_1", json_body=ended)
        server.say("GET", "/jobs/job_1/results", body=RESULTS)

    return script


def test_predict_says_in_one_line_what_was_scored(run, ends_as):
    ends_as("succeeded", succeeded=10)

    result = run("predict", "-")

    assert (result.exit_code, result.stdout_bytes) == (0, RESULTS)
    assert result.stderr == "Scored 10 rows in 2.0 s with petrol:1.\n"


def test_submit_passes_all_its_options_on(run, ends_as, server):
    ends_as("succeeded", succeeded=10)
    options = ["--output=predict_proba", "--join", "--key=a", "--delimiter=tab", "--strict"]

    run("submit", "-", *options, "--error-threshold=3", "--expires-in=60")

    query = "output=predict_proba&join=input&key=a&delimiter=%09&strict=true"
    assert server.requests[0].target == f"/jobs?{query}&error_threshold=3&expires_in=60"


def test_a_job_that_failed_makes_exit_code_1_and_no_file(run, ends_as, tmp_path):
    error = {"code": "all_rows_failed", "detail": "Every row failed."}
    ends_as("failed", succeeded=0, failed=10, error=error)

    result = run("predict", "-", "-o", str(tmp_path / "out.csv"))

    assert result.exit_code == 1
    message = "Error: Job job_1 failed: Every row failed. See 'rowmill errors job_1'.\n"
    assert result.stderr == message
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("status", "succeeded", "told"),
    [
        ("failed", 0, "Job job_1 failed: It can't be opened."),
        ("failed", 4, "Job job_1 failed: It can't be opened. 'rowmill results job_1' has its fi"),
        ("cancelled", 0, "Job job_1 was cancelled.\n"),
    ],
)
def test_a_job_that_failed_is_told_with_what_there_is_to_see_of_it(
    run, ends_as, status, succeeded, told
):
    error = {"code": "model_load_failed", "detail": "It can't be opened."}
    ends_as(status, succeeded=succeeded, error=error)

    result = run("predict", "-")

    assert told in result.stderr
    assert "rowmill errors" not in result.stderr


@pytest.mark.parametrize("command", [["models"], ["jobs"], ["status", "job_1"], ["predict", "-"]])
def test_no_server_is_one_line_and_exit_code_4(run, command):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        result = run(*command, url=url)

    assert result.exit_code == 4
    assert re.fullmatch(r"Error: Can't reach a server at .* ROWMILL_URL or .*\n", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (["predict", "nowhere.csv"], "does not exist"),
        (["predict", "-", "-o", "nowhere/out.csv"], "create it first"),
        (["predict", "-", "-o", "."], "is a directory"),
        (["predict"], "Missing argument 'FILE...', or '-' for stdin."),
        (["--url", "localhost", "models"], "write it like"),
        (["jobs", "--limit", "0"], "range"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_reaches_no_server(run, server, arguments, finding):
    result = run(*arguments)

    assert result.exit_code == 2
    assert finding in result.stderr
    assert server.requests == []


def test_trouble_after_the_submission_names_the_job(run, ends_as, server):
    server.say("GET", "/jobs/job_1/results", status=500, body=b"")
    ends_as("succeeded", succeeded=10)

    result = run("predict", "-")

    assert result.exit_code == 1
    assert "see 'rowmill status job_1', 'rowmill results job_1'" in result.stderr


def test_ctrl_c_leaves_the_job_alone_and_says_how_to_go_on(run, ends_as, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    ends_as("running")
    monkeypatch.setattr("rowmill.client.Client.wait", interrupt)

    result = run("predict", "-")

    assert result.exit_code == 130
    assert result.stderr.startswith("Job job_1 stays on the server; see 'rowmill status job_1'")


def test_results_asks_for_the_format_the_files_name_promises(run, ends_as, server, tmp_path):
    ends_as("succeeded", succeeded=10)

    run("results", "job_1", "-o", str(tmp_path / "out.ndjson"))

    assert server.requests[0].headers["Accept"] == "application/x-ndjson"


def test_jobs_lists_whole_ids_and_says_how_to_see_more(run, server, job_document):
    long_id = "job_" + "x" * 100
    server.say("GET", "/jobs", json_body={"jobs": [job_document(id=long_id)], "has_more": True})

    result = run("jobs")

    assert result.stdout.splitlines()[1].startswith(long_id + "  running  petrol:1")
    assert f"rowmill jobs --after {long_id}" in result.stderr


def test_without_click_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rowmill.commands", None)
    from rowmill.cli import main

    with pytest.raises(SystemExit, match=r"pip install 'rowmill\[client\]'"):
        main()


def test_the_api_key_is_sent_as_a_bearers_with_every_request(run, ends_as, server, monkeypatch):
    ends_as("succeeded", succeeded=10)
    monkeypatch.setenv("ROWMILL_API_KEY", "from-env")

    run("predict", "-")
    run("--api-key", "given", "status", "job_1")

    *of_predict, of_status = [request.headers["Authorization"] for request in server.requests]
    assert set(of_predict) == {"Bearer from-env"}
    assert len(of_predict) == 3
    assert of_status == "Bearer given"


@pytest.mark.parametrize(
    ("name", "options", "sent"),
    [
        ("a.csv", [], "text/csv"),
        ("a.parquet", [], "application/vnd.apache.parquet"),
        ("a.jsonl", [], "application/x-ndjson"),
        ("a", ["--input-format", "json"], "application/json"),
        ("-", ["--input-format", "arrow"], "application/vnd.apache.arrow.stream"),
    ],
)
def test_an_input_is_sent_as_what_it_is(
    run, ends_as, server, tmp_path, monkeypatch, name, options, sent
):
    ends_as("succeeded", succeeded=10)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("{}") if name != "-" else None

    result = run("predict", name, *options)

    assert result.exit_code == 0
    assert server.requests[0].headers["Content-Type"] == sent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.csv", "b.csv"], "Several inputs need a directory for their predictions: -o DIR."),
        (["a.csv", "b.csv", "-o", "b.csv"], "-o 'b.csv' is a file; several inputs need"),
        (["a.csv", "b.csv", "-o", "one.csv.gz"], "'one.csv.gz' is named like a file; several inp"),
        (["a.csv", "a.ndjson", "-o", "o"], "'a.csv' and 'a.ndjson' would both be written to"),
        (["a.csv", "-", "-o", "o"], "it can't be one of several inputs"),
        (["*.parquet", "-o", "o"], "no file matches it"),
        (["a.csv", "--format", "xls"], "'xls' is not one of 'csv'"),
    ],
)
def test_inputs_that_can_not_be_scored_together_reach_no_server(
    run, server, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv", "a.ndjson"):
        (tmp_path / name).touch()

    result = run("predict", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert server.requests == []


def test_without_a_server_a_run_over_several_files_begins_no_more_of_them(run, tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.csv").write_text("x\n1\n")

    result = run("predict", str(tmp_path), "-o", str(tmp_path / "o"), url="http://127.0.0.1:1")

    assert result.exit_code == 4
    assert 1 <= result.stderr.count("Can't reach a server") <= 3
    assert "Scored 0 rows of 0 files" in result.stderr


def test_a_server_with_too_much_queued_is_asked_again_for_each_of_several_files(
    run, ends_as, server, tmp_path
):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    problem = {"code": "too_much_queued", "detail": "Too much."}
    for _ in range(2):
        server.say("POST", "/jobs", status=429, json_body=problem, headers={"Retry-After": "0"})
    ends_as("succeeded", succeeded=10)

    result = run("predict", str(tmp_path), "-o", str(tmp_path / "o"))

    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "a.predictions.csv", "b.predictions.csv"
    ]  # fmt: skip


def test_submit_passes_a_callback_on_and_says_nothing_but_the_id(run, ends_as, server):
    ends_as("succeeded", succeeded=10)

    result = run("submit", "-", "--callback-url", "https://example.com/x", "--validate-only")

    assert (result.stdout, result.stderr) == ("job_1\n", "")
    assert server.requests[0].target == (
        "/jobs?callback_url=https%3A%2F%2Fexample.com%2Fx&validate_only=true"
    )


def header_problem(header: str) -> HeaderError:
    """What the server says of a header that is not cut where it should be."""
    with pytest.raises(HeaderError) as caught:
        make_signature(make_feature("a")).check_header([header], carried=(), is_strict=False)
    return caught.value


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (header_problem("a;b"), "holds ';': try --delimiter ';'."),
        (header_problem("a|b"), "holds '|': try --delimiter '|'."),
        (header_problem("a,b"), "holds ',': try --delimiter ','."),
        (header_problem("a\tb"), "try --delimiter tab."),
        (
            JobNotFoundError("job_1"),
            "There is no job 'job_1'; 'rowmill jobs' lists those there are.",
        ),
    ],
)
def test_what_the_server_advises_is_told_in_words_of_the_command_line(run, server, problem, told):
    document = {"code": problem.code, "detail": str(problem)}
    server.say("GET", "/jobs/job_1", status=400, json_body=document)

    result = run("status", "job_1")

    assert result.exit_code == 1
    assert told in result.stderr


def test_files_that_are_skipped_are_counted(run, ends_as, tmp_path):
    (tmp_path / "o").mkdir()
    for name in ("a.csv", "b.csv", "c.csv", "o/a.predictions.csv", "o/c.predictions.csv"):
        (tmp_path / name).write_text("x\n1\n")
    ends_as("succeeded", succeeded=10)

    result = run("predict", str(tmp_path), "-o", str(tmp_path / "o"), "--existing", "skip")

    assert re.search(r"^Scored 10 rows of 1 file in .* s; 2 files skipped\.$", result.stderr, re.M)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("cancelled", "The results hold 4 of the 10 rows taken in: the job was cancelled.\n"),
        ("failed", "The results hold 4 of the 10 rows taken in: the job failed.\n"),
        ("partially_succeeded", ""),
    ],
)
def test_results_of_a_job_that_ended_early_are_not_taken_for_whole(run, ends_as, status, said):
    ends_as(status, error={"code": "deadline_exceeded", "detail": "Late."})

    loud, quiet = run("results", "job_1"), run("results", "job_1", "-q")

    assert (loud.exit_code, loud.stdout_bytes, loud.stderr) == (0, RESULTS, said)
    assert quiet.stderr == ""


def test_a_job_without_one_good_row_is_told_with_its_first_row_error(run, ends_as, server):
    error = {"code": "all_rows_failed", "detail": "No row could be scored; see the row errors."}
    ends_as("failed", succeeded=0, failed=10, error=error)
    row_error = b'{"row":1,"line":2,"column":"x","code":"not_a_number","message":"It is a word."}\n'
    server.say("GET", "/jobs/job_1/errors", body=row_error)

    told = [run("predict", "-").stderr, run("results", "job_1", "--follow").stderr]

    for each in told:
        assert "see the row errors. Row 1: It is a word. See 'rowmill errors job_1'." in each


def test_row_errors_come_as_json(run, server):
    server.say("GET", "/jobs/job_1/errors", body=b"[]")

    assert run("errors", "job_1", "--json").stdout == "[]"
    assert server.requests[0].headers["Accept"] == "application/json"


def test_downloads_for_a_spreadsheet_ask_the_server_to_guard_them(run, ends_as, server):
    ends_as("succeeded", succeeded=10)
    server.say("GET", "/jobs/job_1/errors", body=b"row,line,column,code,message\n")

    run("results", "job_1", "--guard-formulas")
    run("errors", "job_1", "--guard-formulas")
    run("results", "job_1")

    targets = [request.target for request in server.requests]
    asked = [target for target in targets if "results" in target or "errors" in target]
    assert ["guard_formulas=true" in target for target in asked] == [True, True, False]
