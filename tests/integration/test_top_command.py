"""`rowmill top` against a live stack."""

import json
from pathlib import Path

import pytest

from tests.command_line import Run, in_a_terminal, runner
from tests.live_stack import Api


@pytest.fixture
def run(api: Api, tmp_path: Path) -> Run:
    """Runs the command to its end in a directory of its own."""
    return runner(api.url, tmp_path)


def test_a_running_job_is_shown_until_it_ends(api: Api, run: Run, tmp_path: Path) -> None:
    body = "x\n" + "1\n" * 20_000  # 20 s of work for two processes
    job_id = run("submit", "-", "-m", "slow", stdin=body).stdout.strip()
    terminal = in_a_terminal("top", "--interval", "0.2", url=api.url, directory=tmp_path)

    terminal.shows(rf"{job_id} +running +slow:1 .* [1-9][\d,]*/20,000")
    once = run("top", "--once")
    document = json.loads(run("top", "--json").stdout)
    run("cancel", job_id)
    terminal.shows(r"No job is waiting or running\.")
    terminal.type(b"q")

    assert terminal.end() == 0
    assert job_id in once.stdout
    assert [job["id"] for job in document["jobs"]] == [job_id]
    assert document["status"]["workers"][0]["is_live"]
