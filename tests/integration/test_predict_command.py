"""`rowmill predict`: files and directories, formats, memory, and a bar that never goes back."""

import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tests.command_line import ROWMILL, Run, environment, in_a_terminal, runner
from tests.live_stack import Api

MOST_KIB = 56 * 1024
"""What the command may take, its interpreter and libraries included."""


@pytest.fixture
def run(api: Api, tmp_path: Path) -> Run:
    """Runs the command to its end in a directory of its own."""
    return runner(api.url, tmp_path)


def write(directory: Path, **tables: str) -> None:
    """Writes tables by the names of files without their suffix `.csv`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (directory / f"{name}.csv").write_text(text)


# --- several inputs


def test_a_directory_a_pattern_and_files_are_scored_into_a_directory_that_is_made(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path / "in", a="x\n1\n", b="x\n2\nsix\n")
    (tmp_path / "in/c.csv.gz").write_bytes(gzip.compress(b"x\n3\n"))
    write(tmp_path / "in", **{".hidden": "x\n9\n"})
    (tmp_path / "in/notes.txt").write_text("no table")
    write(tmp_path / "more", d="x\n4\n", e="x\n5\n")
    write(tmp_path, f="x\n6\n")

    done = run("predict", "in", "more/*.csv", "f.csv", "-m", "echo", "-o", "out/deep")

    assert (done.returncode, done.stdout) == (3, "")
    results = {path.name: path.read_text() for path in (tmp_path / "out/deep").iterdir()}
    assert sorted(results) == [f"{name}.predictions.csv" for name in "abcdef"]
    assert results["c.predictions.csv"] == "row,prediction,error\n1,30,\n"
    assert results["b.predictions.csv"].endswith("2,,not_a_number\n")
    *of_files, total = done.stderr.splitlines()
    assert len(of_files) == 6
    assert any(re.fullmatch(r"in/a\.csv: Scored 1 row in .* with echo:1\.", x) for x in of_files)
    assert re.fullmatch(r"Scored 6 of 7 rows of 6 files in .* s\.", total)


def test_one_file_that_is_refused_costs_the_others_nothing_and_decides_the_exit_code(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path / "in", bad="y\n1\n", good="x\n1\n", part="x\n1\nsix\n")

    done = run("predict", "in", "-m", "echo", "-o", "out", "--json")

    assert done.returncode == 1
    found = {each["input"]: each for each in json.loads(done.stdout)["files"]}
    assert "Column 'x' is missing" in found["in/bad.csv"]["error"]
    assert found["in/bad.csv"]["output"] is None
    assert found["in/good.csv"]["job"]["status"] == "succeeded"
    assert (tmp_path / found["in/part.csv"]["output"]).exists()
    assert re.search("^in/bad.csv: Error: .*Column 'x' is missing", done.stderr, re.M)
    assert done.stderr.splitlines()[-1].endswith("; 1 more file failed.")


def test_outputs_of_an_earlier_run_are_no_inputs_and_are_not_overwritten_unasked(
    run: Run, tmp_path: Path
) -> None:
    write(tmp_path / "d", a="x\n1\n")
    command = ("predict", "d", "-m", "echo", "-o", "d")
    run(*command)
    (tmp_path / "d/a.predictions.csv").write_text("kept")
    write(tmp_path / "d", b="x\n2\n")

    again = run(*command)
    kept = run(*command, "--existing", "skip")
    replaced = run(*command, "--existing", "overwrite")

    assert again.returncode == 2
    assert "d/a.predictions.csv: skipped, it is the output of an earlier run." in again.stderr
    assert "'d/a.predictions.csv' is there already; add --existing" in again.stderr
    assert kept.returncode == 0
    assert "d/a.csv: skipped, 'd/a.predictions.csv' is there already." in kept.stderr
    assert "Scored 1 row of 1 file" in kept.stderr
    assert (replaced.returncode, (tmp_path / "d/a.predictions.csv").read_text()) == (
        0,
        "row,prediction,error\n1,10,\n",
    )
    assert {path.name for path in (tmp_path / "d").iterdir()} == {
        "a.csv", "a.predictions.csv", "b.csv", "b.predictions.csv"
    }  # fmt: skip


def test_one_file_may_go_into_a_directory_and_never_onto_itself(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a="x\n1\n")
    (tmp_path / "out").mkdir()

    into = run("predict", "a.csv", "-m", "echo", "-o", "out", "--format", "ndjson")
    onto = run("predict", "a.csv", "-m", "echo", "-o", "./a.csv")

    assert into.returncode == 0
    assert json.loads((tmp_path / "out/a.predictions.ndjson").read_text())["prediction"] == 10
    assert onto.returncode == 2
    assert "is the input itself" in onto.stderr
    assert (tmp_path / "a.csv").read_text() == "x\n1\n"


def test_ctrl_c_ends_a_run_over_several_files_and_names_the_jobs_that_go_on(
    api: Api, tmp_path: Path
) -> None:
    write(tmp_path / "in", **dict.fromkeys("abcd", "x\n" + "1\n" * 20000))
    terminal = in_a_terminal(
        "predict", "in", "-m", "slow", "-o", "out", url=api.url, directory=tmp_path
    )
    terminal.shows(r"Scoring.* [1-9][\d,]* rows")

    terminal.child.send_signal(2)

    assert terminal.end() == 130
    jobs = re.findall(r"Job (\w+) stays on the server", terminal.shown)
    assert len(jobs) == 3
    assert list((tmp_path / "out").iterdir()) == []
    for job_id in jobs:
        assert api.post(f"/jobs/{job_id}/cancel").status_code == 202


# --- what is written and said


@pytest.mark.parametrize("suffix", ["ndjson", "json", "parquet", "arrow"])
def test_the_outputs_name_decides_its_format(run: Run, tmp_path: Path, suffix: str) -> None:
    write(tmp_path, a="x\n1\nsix\n")

    done = run("predict", "a.csv", "-m", "echo", "-o", f"out.{suffix}")

    assert done.returncode == 3
    data = (tmp_path / f"out.{suffix}").read_bytes()
    read = {
        "ndjson": lambda: pd.read_json(io.BytesIO(data), lines=True),
        "json": lambda: pd.read_json(io.BytesIO(data)),
        "parquet": lambda: pd.read_parquet(io.BytesIO(data)),
        "arrow": lambda: pa.ipc.open_stream(data).read_all().to_pandas(),
    }
    assert read[suffix]()["prediction"].fillna(-1).tolist() == [10, -1]


def test_the_inputs_name_decides_its_format(run: Run, tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1.0, 2.0]})
    (tmp_path / "in").mkdir()
    table.to_parquet(tmp_path / "in/a.parquet")
    table.to_json(tmp_path / "in/b.ndjson.gz", orient="records", lines=True, compression="gzip")
    table.to_json(tmp_path / "in/c.json", orient="records")

    files = run("predict", "in", "-m", "echo", "-o", "out")
    piped = run("predict", "-", "-m", "echo", "--input-format", "ndjson", stdin='{"x": 1}\n')

    assert files.returncode == 0
    for name in "abc":
        written = (tmp_path / f"out/{name}.predictions.csv").read_text()
        assert written == "row,prediction,error\n1,10,\n2,20,\n"
    assert piped.stdout == "row,prediction,error\n1,10,\n"


def test_quiet_says_nothing_and_json_gives_the_job(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a="x\n1\nsix\n")

    quiet = run("predict", "a.csv", "-m", "echo", "-q")
    as_json = run("predict", "a.csv", "-m", "echo", "-o", "out.csv", "--json")
    impossible = run("predict", "a.csv", "-m", "echo", "--json")

    assert (quiet.returncode, quiet.stderr) == (3, "")
    assert json.loads(as_json.stdout)["counts"]["failed"] == 1
    assert impossible.returncode == 2
    assert "name a file with -o" in impossible.stderr


def test_rows_are_only_validated_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    write(tmp_path, a="x\n1\nsix\n")

    done = run("predict", "a.csv", "-m", "line", "--validate-only")
    good = run("predict", "-", "-m", "line", "--validate-only", stdin="x\n1\n")
    bad = run("predict", "-", "-m", "line", "--validate-only", stdin="x\nsix\n")

    assert done.returncode == 3
    assert done.stderr == "1 of 2 rows would be scored with line:1; 1 would fail.\n"
    assert done.stdout == (
        "row,line,column,code,message\n"
        "2,3,x,not_a_number,Column 'x' holds 'six'; it takes a number.\n"
    )
    assert (good.returncode, good.stderr) == (0, "1 of 1 row would be scored with line:1.\n")
    assert (bad.returncode, bad.stdout.count("not_a_number")) == (3, 1)


def test_a_reader_that_goes_away_is_no_error(api: Api, tmp_path: Path) -> None:
    write(tmp_path, a="x\n" + "1\n" * 200_000)
    command = f"'{ROWMILL}' predict a.csv -m echo -q | head -1"

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment(api.url), capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("row,prediction,error\n", "")


def test_a_key_goes_along_and_is_never_shown(run: Run) -> None:
    wrong = run("models", ROWMILL_API_KEY="se cret")
    right = run("models", ROWMILL_API_KEY="secret")

    assert wrong.returncode == 2
    assert re.fullmatch("Error: The API key .*ROWMILL_API_KEY.*\n", wrong.stderr)
    assert "cret" not in wrong.stderr + right.stdout + right.stderr + run("--help").stdout


# --- progress and memory


def test_the_bar_never_goes_backwards_and_ends_full(api: Api, tmp_path: Path) -> None:
    write(tmp_path, a="x\n" + "1\n" * 5_000)

    terminal = in_a_terminal(
        "predict", "a.csv", "-m", "slow", "-o", "out.csv", url=api.url, directory=tmp_path
    )

    assert terminal.end() == 0
    percents = [int(each) for each in re.findall(r"(\d+)%", terminal.shown)]
    rows = [int(each.replace(",", "")) for each in re.findall(r"([\d,]+)/5,000 r", terminal.shown)]
    assert percents == sorted(percents)
    assert rows == sorted(rows)
    assert len(set(rows)) > 2
    assert (percents[-1], rows[-1]) == (100, 5_000)
    assert re.search(r"Sending.*10\.0 kB of 10\.0 kB", terminal.shown)
    assert re.search(r"Scoring.* [\d,]+ rows/s  .* left", terminal.shown)
    assert "Scored 5,000 rows" in terminal.shown


def test_the_bar_over_several_files_never_goes_backwards_either(api: Api, tmp_path: Path) -> None:
    write(tmp_path / "in", a="x\n" + "1\n" * 2_000, b="x\n1\n", c="x\n" + "1\n" * 1_000)

    terminal = in_a_terminal(
        "predict", "in", "-m", "slow", "-o", "out", url=api.url, directory=tmp_path
    )

    assert terminal.end() == 0
    percents = [int(each) for each in re.findall(r"(\d+)%", terminal.shown)]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert "3/3 files" in terminal.shown
    assert "Scored 3,001 rows of 3 files" in terminal.shown


def test_a_large_file_is_scored_in_little_memory(api: Api, tmp_path: Path) -> None:
    """The table is larger than the bound, so none that is held whole would pass."""
    line = b"1.00000001," + b",".join([b"0.12345678"] * 5)
    header = b"x," + b",".join(b"note%d" % n for n in range(5))
    with (tmp_path / "large.csv").open("wb") as file:
        file.write(header + b"\n")
        for _ in range(60):
            file.write((line + b"\n") * 15_500)
    arguments = [
        str(ROWMILL), "predict", "large.csv", "-m", "echo", "--join", "-q", "-o", "out.csv"
    ]  # fmt: skip

    peak_kib = int(
        subprocess.run(
            [sys.executable, "-c", MEASURE, *arguments], cwd=tmp_path, env=environment(api.url),
            capture_output=True, text=True, timeout=100, check=True,
        ).stdout
    )  # fmt: skip

    assert (tmp_path / "large.csv").stat().st_size > MOST_KIB * 1024
    assert (tmp_path / "out.csv").stat().st_size > MOST_KIB * 1024
    assert peak_kib < MOST_KIB


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""Run in a process of its own, whose only child is the command."""
