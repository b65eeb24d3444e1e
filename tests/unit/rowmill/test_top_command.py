"""`rowmill top` and `rowmill predict` against a scripted server: what a live one seldom says."""

import json

import pytest
from click.testing import CliRunner

from rowmill.commands import root
from tests.command_line import in_a_terminal

LANE = {"jobs": 1, "running_chunks": 2}


@pytest.fixture
def status_document():
    """What `GET /status` says; takes what is else."""

    def make(**queue):
        return {
            "queue": {
                "small": LANE,
                "bulk": {"jobs": 0, "running_chunks": 1},
                "waiting_rows": 1_200_000,
                "max_waiting_rows": 100_000_000,
                "rows_per_second": 8100.5,
                "oldest_waiting_seconds": 4.2,
                **queue,
            },
            "workers": [
                {
                    "name": f"host/{name}",
                    "host": "host",
                    "processes": 3,
                    "bulk_processes": 2,
                    "busy": 2,
                    "threads_per_process": 1,
                    "cores": 2,
                    "last_heard_seconds": seconds,
                    "is_live": seconds < 10,
                }
                for name, seconds in (("1a", 0.4), ("2b", 75.0))
            ],
            "jobs": {"receiving": 0, "queued": 0, "running": 1},
            "redis": {"used_bytes": 12_345_678, "max_bytes": 2_147_483_648, "promised_bytes": 0},
        }

    return make


@pytest.fixture
def is_up(server, status_document, job_document):
    """Scripts a server with one running job."""
    server.say("GET", "/status", json_body=status_document())
    page = {"jobs": [job_document("running")], "has_more": False}
    server.say("GET", "/jobs", json_body=page)


def run(server, *arguments):
    env = {"ROWMILL_URL": server.url, "COLUMNS": "150"}
    return CliRunner().invoke(root, ["top", *arguments], env=env)


def test_one_view_is_printed_where_there_is_no_terminal(server, is_up):
    result = run(server)

    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "Jobs 1 running" in lines
    assert "Small 1 job queued, 2 chunks running" in lines
    assert "Rows 1,200,000 of at most 100,000,000 wait" in lines
    assert "Speed 8,100 rows/s" in lines
    assert "Oldest waits for 4.2 s" in lines
    assert "Redis 12.3 MB of 2.1 GB" in lines
    assert "host/1a 2/3 0.4 s ago" in lines
    assert "host/2b 2/3 0:01:15 ago: lost" in lines
    assert any(line.startswith("job_1 running petrol:1") for line in lines)
    assert any(line.endswith("4/10 8,100 0.7 s") for line in lines)


def test_json_gives_what_the_server_said(server, is_up, status_document, job_document):
    document = json.loads(run(server, "--json").stdout)

    assert document == {"status": status_document(), "jobs": [job_document("running")]}


def test_an_idle_server_without_a_worker_says_so(server, status_document):
    idle = status_document(rows_per_second=None, oldest_waiting_seconds=None)
    idle |= {"workers": [], "jobs": {"queued": 0}}
    idle["redis"]["max_bytes"] = None
    server.say("GET", "/status", json_body=idle)

    shown = run(server, "--once").stdout

    assert "No worker: start one" in shown
    assert "No job is waiting or running." in shown
    assert "Speed   unknown" in shown
    assert len(server.requests) == 1


def test_a_server_that_knows_no_status_is_told(server):
    server.say("GET", "/status", status=404, json_body={"code": "not_found", "detail": "No."})

    result = run(server)

    assert (result.exit_code, result.stderr) == (1, "Error: No.\n")


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x04"])
def test_on_a_terminal_it_is_drawn_until_a_key_is_pressed(server, is_up, tmp_path, key):
    terminal = in_a_terminal("top", "--interval", "0.1", url=server.url, directory=tmp_path)
    terminal.shows(r"(job_1(.|\n)*){3}")  # drawn again and again

    terminal.type(b"x" + key)

    assert terminal.end() == 0


def test_ctrl_c_ends_it_well_too(server, is_up, tmp_path):
    terminal = in_a_terminal("top", url=server.url, directory=tmp_path)
    terminal.shows("job_1")

    terminal.child.send_signal(2)

    assert terminal.end() == 0
    assert "Traceback" not in terminal.shown


def test_a_server_that_goes_away_is_shown_until_it_is_back(
    server, status_document, job_document, tmp_path
):
    server.say("GET", "/status", json_body=status_document())
    server.say("GET", "/status", status=503, json_body={"code": "x", "detail": "Redis is away."})
    server.say("GET", "/status", json_body=status_document(waiting_rows=77))
    page = {"jobs": [job_document("running")], "has_more": False}
    server.say("GET", "/jobs", json_body=page)

    terminal = in_a_terminal("top", "--interval", "0.1", url=server.url, directory=tmp_path)

    terminal.shows(r"Redis is away(.|\n)*77 of at most")
    terminal.type(b"q")
    assert terminal.end() == 0
