"""The command `rowmill` as people and scripts use it, against a live stack."""

import gzip
import json
import re
import socket
import subprocess
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from tests.command_line import ROWMILL, Run, environment, in_a_terminal, runner
from tests.live_stack import Api


@pytest.fixture
def run(api: Api, tmp_path: Path) -> Run:
    """Runs the command to its end in a directory of its own."""
    return runner(api.url, tmp_path)


@pytest.fixture
def job_id(run: Run) -> str:
    """A job that ended with one good row and one bad one."""
    submitted = run("submit", "-", "--model", "line", stdin="x\n6\nsix\n")
    job_id = submitted.stdout.strip()
    assert run("status", job_id, "--wait").returncode == 3
    return job_id


def test_predict_writes_a_file_and_one_line_about_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("x\n6\n7\n")

    done = run("predict", "in.csv", "--model", "echo", "-o", "out.csv")

    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(r"Scored 2 rows in \d+\.\d s with echo:1\.\n", done.stderr)
    assert (tmp_path / "out.csv").read_text() == "row,prediction,error\n1,60,\n2,70,\n"


def test_predict_pipes_stdin_to_stdout(run: Run) -> None:
    done = run("predict", "-", "--model", "line", stdin="x\n6\n")

    header, row = done.stdout.splitlines()
    assert header == "row,prediction,error"
    assert float(row.split(",")[1]) == pytest.approx(15)


def test_a_gzip_file_is_sent_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"x\n6\n"))

    done = run("predict", "in.csv.gz", "--model", "echo")

    assert done.stdout == "row,prediction,error\n1,60,\n"


def test_join_repeats_the_input_and_key_one_column_of_it(run: Run) -> None:
    body = "id;x;note\na;6;first\n"
    options = ("predict", "-", "--model", "echo", "--delimiter", ";")

    joined = run(*options, "--join", stdin=body)
    keyed = run(*options, "--key", "id", stdin=body)

    assert joined.stdout == "row,id,x,note,prediction,error\n1,a,6,first,60,\n"
    assert keyed.stdout == "row,id,prediction,error\n1,a,60,\n"


def test_output_asks_for_probabilities(run: Run) -> None:
    body = "age,city,member\n20,Bonn,true\n"

    done = run("predict", "-", "--model", "churn", "--output", "predict_proba", stdin=body)

    header, row = done.stdout.splitlines()
    assert header == "row,proba_go,proba_stay,error"
    assert sum(map(float, row.split(",")[1:3])) == pytest.approx(1)


def test_rows_that_fail_make_exit_code_3_and_leave_the_others_alone(run: Run) -> None:
    done = run("predict", "-", "--model", "echo", stdin="x\n6\nsix\n")

    assert done.returncode == 3
    assert done.stdout == "row,prediction,error\n1,60,\n2,,not_a_number\n"
    assert "Scored 1 of 2 rows" in done.stderr
    assert "1 failed, see 'rowmill errors job_" in done.stderr


def test_a_job_without_one_good_row_makes_exit_code_1(run: Run) -> None:
    done = run("predict", "-", "--model", "fussy", stdin="x\n-1\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: Job job_\w+ failed: .*'rowmill errors job_\w+'\.\n", done.stderr)


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        ("oil", "x\n6\n", r"no model 'oil'; there are: .*line"),
        ("line", "y\n6\n", "Column 'x' is missing"),
        ("line", "a;x\n1;6\n", r"holds ';': try --delimiter ';'\."),
        ("line", "", "send a table with at least one row"),
    ],
)
def test_a_refusal_is_one_line_that_helps_and_exit_code_1(
    run: Run, model: str, body: str, told: str
) -> None:
    done = run("predict", "-", "--model", model, stdin=body)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"Error: .*{told}.*\n", done.stderr)


def test_without_a_model_the_option_that_names_one_is_told(run: Run) -> None:
    done = run("predict", "-", stdin="x\n6\n")

    assert done.returncode == 1
    assert re.fullmatch("Error: Say which model with --model NAME; there are: .*\n", done.stderr)


def test_a_large_upload_that_is_refused_is_told_like_any_other(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("w") as file:
        file.write("y\n")
        file.truncate(50 * 1024**2)

    done = run("predict", "large.csv", "--model", "line")

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("Error: .*Column 'x' is missing.*\n", done.stderr)


def test_no_server_is_one_line_and_exit_code_4(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: nothing else can take the port

        done = run("models", url=f"http://127.0.0.1:{unused.getsockname()[1]}")

    assert done.returncode == 4
    assert re.fullmatch(
        r"Error: Can't reach a server at .*: Connection refused\. .*\n", done.stderr
    )


def test_status_tells_the_facts_and_json_the_whole_document(run: Run, job_id: str) -> None:
    told = run("status", job_id)
    document = json.loads(run("status", job_id, "--json").stdout)

    assert told.returncode == 0
    assert re.search("^status +partially_succeeded$", told.stdout, re.MULTILINE)
    assert document["counts"] == {"total": 2, "succeeded": 1, "failed": 1, "pending": 0}


def test_results_and_errors_come_again_in_the_format_of_the_files_name(
    run: Run, job_id: str, tmp_path: Path
) -> None:
    run("results", job_id, "-o", "out.ndjson")
    run("errors", job_id, "--format", "ndjson", "-o", "errors.txt")

    good, bad = map(json.loads, (tmp_path / "out.ndjson").read_text().splitlines())
    error = json.loads((tmp_path / "errors.txt").read_text())
    assert good["prediction"] == pytest.approx(15)
    assert bad["prediction"] is None
    assert (error["row"], error["column"], error["code"]) == (2, "x", "not_a_number")


def test_results_come_in_parts(run: Run) -> None:
    job_id = run("submit", "-", "-m", "echo", stdin="x\n1\n2\n3\n4\n").stdout.strip()
    run("status", job_id, "--wait")

    done = run("results", job_id, "--offset", "1", "--limit", "2")

    assert done.stdout == "row,prediction,error\n2,20,\n3,30,\n"


def test_followed_results_come_while_others_are_scored(api: Api, run: Run, tmp_path: Path) -> None:
    body = "x\n" + "1\n" * 10_000
    job_id = run("submit", "-", "-m", "slow", stdin=body).stdout.strip()

    terminal = in_a_terminal("results", job_id, "--follow", url=api.url, directory=tmp_path)
    terminal.shows("\n1,10,")
    status = api.get(f"/jobs/{job_id}").json()["status"]

    assert terminal.end() == 0
    assert status == "running"
    assert "\n10000,10," in terminal.shown
    assert "Scored 10,000 rows" in terminal.shown


def test_followed_results_end_with_the_exit_code_of_the_job(run: Run) -> None:
    part, none = (
        run("submit", "-", "-m", "fussy", stdin=body).stdout.strip()
        for body in ("x\n1\n-1\n", "x\n-1\n")
    )

    some_failed, all_failed = run("results", part, "--follow"), run("results", none, "--follow")

    assert (some_failed.returncode, all_failed.returncode) == (3, 1)
    assert len(some_failed.stdout.splitlines()) == 3
    assert re.fullmatch(f"Error: Job {none} failed: .*'rowmill errors .*\n", all_failed.stderr)


def test_retry_prints_the_new_jobs_id_and_waits_if_asked(run: Run, job_id: str) -> None:
    at_once = run("retry", job_id)
    waited = run("retry", job_id, "--model", "echo", "--wait", "--json")

    child = at_once.stdout.strip()
    assert at_once.returncode == 0
    assert json.loads(run("status", child, "--json").stdout)["retry_of"] == job_id
    assert waited.returncode == 1  # the only row is bad for this model, too
    assert "failed" in waited.stderr


def test_a_job_without_failed_rows_has_nothing_to_retry(run: Run) -> None:
    job_id = run("submit", "-", "-m", "echo", stdin="x\n1\n").stdout.strip()
    run("status", job_id, "--wait")

    done = run("retry", job_id)

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("Error: Job .* has no failed row.*\n", done.stderr)


def test_a_deleted_job_is_gone(run: Run, job_id: str) -> None:
    assert run("delete", job_id).stdout == f"deleted {job_id}\n"

    assert "is deleted" in run("status", job_id).stderr


def test_shells_complete_models_and_jobs_of_the_server_and_nothing_without_one(
    run: Run, job_id: str
) -> None:
    def completed(line: str, **variables: str) -> tuple[str, str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = run(_ROWMILL_COMPLETE="bash_complete", **words, **variables)
        return done.stdout, done.stderr

    assert completed("rowmill predict -m ec") == ("plain,echo\n", "")
    assert f"plain,{job_id}\n" in completed("rowmill status job_")[0]
    assert "plain,retry\n" in completed("rowmill re")[0]
    assert completed("rowmill predict -m ec", ROWMILL_URL="http://127.0.0.1:1") == ("\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run: Run, shell: str) -> None:
    done = run("completion", shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"_ROWMILL_COMPLETE={shell}_complete" in done.stdout


def test_a_job_that_is_not_known_is_told(run: Run) -> None:
    done = run("status", "job_0")

    assert done.returncode == 1
    assert re.fullmatch("Error: There is no job 'job_0'; 'rowmill jobs' .*\n", done.stderr)


def test_cancel_stops_a_job_whose_results_stay_away_until_then(run: Run) -> None:
    body = "x\n" + "1\n" * 50_000  # 50 s of work for two processes
    job_id = run("submit", "-", "--model", "slow", stdin=body).stdout.strip()

    early = run("results", job_id)
    cancelled = run("cancel", job_id)
    waited = run("status", job_id, "--wait")

    assert (early.returncode, early.stdout) == (1, "")
    assert "can be read when it has ended" in early.stderr
    assert cancelled.stdout == f"{job_id} cancelled\n"
    assert (waited.returncode, waited.stdout) == (1, "")
    assert f"Job {job_id} was cancelled" in waited.stderr


def test_warnings_of_a_job_are_shown_beside_its_summary(run: Run) -> None:
    rows = "x\n" + "600\n" * 50

    done = run("predict", "-", "--model", "line", stdin=rows)

    warning, summary = done.stderr.splitlines()
    assert warning.startswith("Warning: ")
    assert "'x'" in warning
    assert summary.startswith("Scored 50 rows")
    assert done.returncode == 0


def test_jobs_lists_the_newest_first(run: Run, job_id: str) -> None:
    listed = run("jobs", "--model", "line", "--status", "partially_succeeded")
    document = json.loads(run("jobs", "--limit", "1", "--json").stdout)

    header, newest, *_ = listed.stdout.splitlines()
    assert header.split() == ["ID", "STATUS", "MODEL", "ROWS", "FAILED", "CREATED"]
    assert newest.split()[:5] == [job_id, "partially_succeeded", "line:1", "2", "1"]
    assert [job["id"] for job in document["jobs"]] == [job_id]


def test_models_are_listed_and_one_is_shown_with_its_input_columns(run: Run) -> None:
    listed = run("models")
    document = json.loads(run("models", "show", "line", "--json").stdout)

    assert re.search("^churn +1 +1", listed.stdout, re.MULTILINE)
    assert document["signature"]["features"][0]["name"] == "x"
    assert re.search(
        r"^feature +city \(string", run("models", "show", "churn").stdout, re.MULTILINE
    )


def test_a_version_that_is_served_is_waited_for_no_longer_than_it_takes(run: Run) -> None:
    served = run("models", "show", "line:1", "--wait", "30")
    nowhere = run("models", "show", "line:7", "--wait", "0")

    assert served.returncode == 0
    assert re.search(r"^version +1 \(ready, ", served.stdout, re.MULTILINE)
    assert (nowhere.returncode, nowhere.stdout) == (1, "")
    assert re.fullmatch(r"Error: Model 'line' has no version '7'; it has 1\.\n", nowhere.stderr)


def test_a_model_is_published_pointed_to_and_verified_without_a_server(
    run: Run, tmp_path: Path
) -> None:
    X = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    X.to_csv(tmp_path / "sample.csv", index=False)
    joblib.dump(LinearRegression().fit(X, [1.0, 2.0, 4.0]), tmp_path / "model.joblib")
    options = ("--name", "own", "--sample", "sample.csv")

    homeless = run("models", "publish", "model.joblib", *options)
    (tmp_path / "models").mkdir()
    first, again = (run("models", "publish", "model.joblib", *options) for _ in range(2))
    pointed = run("models", "alias", "own", "champion", "1")
    verified = run("models", "verify")
    held = run("models", "remove", "own:1")

    assert (homeless.returncode, homeless.stdout) == (1, "")
    assert re.fullmatch(r"Error: There is no model repository at .*\n", homeless.stderr)
    assert (first.stdout, first.stderr) == ("published own/1\n", "")
    assert (again.stdout, again.stderr) == ("unchanged own/1\n", "")
    assert pointed.stdout == "own@champion  → 1\n"
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "own/1  ok\n", "")
    assert (held.returncode, held.stdout) == (1, "")
    assert run("models", "publish", "nowhere.joblib", *options).returncode == 2


# --- odd surroundings


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_is_one_that_leads_nowhere(
    api: Api, tmp_path: Path, closed: str
) -> None:
    (tmp_path / "x.csv").write_text("x\n6\n")
    command = f'"{ROWMILL}" predict x.csv --model line -o out.csv {closed}'

    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env=environment(api.url),
        timeout=60,
        check=False,
    )

    assert done.returncode == 0
    assert (tmp_path / "out.csv").read_text() == "row,prediction,error\n1,15,\n"


@pytest.mark.parametrize("arguments", [["jobs"], ["--help"], ["predict", "-", "--model", "line"]])
def test_a_full_disk_is_told_in_one_line(api: Api, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [ROWMILL, *arguments],
            env=environment(api.url),
            input=b"x\n6\n",
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )

    assert done.returncode == 1
    assert "No space left on device." in done.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "show", "\udcff"], "'\\udcff' is no text that could be sent."),
        (["--url", f"http://{'a' * 64}.example", "jobs"], "is no URL of a server"),
        (["predict", "/proc/self/mem", "--model", "line"], "Can't read /proc/self/mem: "),
    ],
)
def test_what_can_not_be_sent_is_wrong_usage(run: Run, arguments: list[str], said: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_files_name_can_not_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    for name in ("red\x1b[31m.csv", "two\nlines.csv"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("x\n6\n")

    done = run("predict", "in", "--model", "line", "-o", "out")

    assert r"in/red\x1b[31m.csv: Scored 1 row" in done.stderr
    assert r"in/two\nlines.csv: Scored 1 row" in done.stderr
    assert "\x1b" not in done.stderr
