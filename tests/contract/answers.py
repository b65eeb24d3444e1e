"""How contract tests read answers: problem documents, jobs, results and row errors."""

import csv
import io
import json
import re
import tempfile
from typing import Any

import pytest
import requests

from shared.jobs import END_STATUSES
from tests.live_stack import ROOT, Api

INTERNALS = ("Traceback", ".py", "Error:", str(ROOT), tempfile.gettempdir())
"""What an answer to a caller never holds: traces, paths, names of exceptions."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Document = dict[str, Any]


def assert_problem(
    answer: requests.Response,
    status: int,
    code: str,
    *words: str,
    extra: frozenset[str] = frozenset(),
) -> Document:
    """Check a problem document from status to wording, and return it."""
    document: Document = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    # By it an operator finds what the log says of a failure.
    request_id = {"request_id"} if status >= 500 else set()
    assert document.keys() - extra == {"type", "title", "status", "code", "detail"} | request_id
    assert (document["type"], bool(document["title"])) == ("about:blank", True)
    assert [word for word in words if word not in document["detail"]] == [], document["detail"]
    assert [internal for internal in INTERNALS if internal in answer.text] == []
    return document


def assert_sound(job: Document) -> None:
    """Check what is true of every job at every moment."""
    counts, progress = job["counts"], job["progress"]
    done = counts["succeeded"] + counts["failed"]
    assert done + counts["pending"] == counts["total"]
    assert min(counts.values()) >= 0
    assert progress["ratio"] == pytest.approx(done / max(counts["total"], 1), abs=1e-4)
    assert progress["chunks_done"] <= progress["chunks_total"]
    assert (job["finished_at"] is not None) == (job["status"] in END_STATUSES)
    assert (job["error"] is not None) == (job["status"] == "failed")
    assert (job["status"] == "succeeded") <= (counts["succeeded"] == counts["total"])
    times = [job[f"{event}_at"] for event in ("created", "started", "finished", "expires")]
    known = [moment for moment in times if moment]
    assert all(TIME.fullmatch(moment) for moment in known)
    assert known == sorted(known)


def accepted(answer: requests.Response) -> Document:
    """The job of a submission that was taken."""
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def shown(api: Api, job: Document, **headers: str) -> Document:
    """The job as it is now."""
    return dict(api.get(job["urls"]["self"], **headers).json())


def results(api: Api, job: Document) -> list[dict[str, str]]:
    """The result lines, all values as text."""
    text = api.get(job["urls"]["results"]).content.decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def records(api: Api, job: Document) -> list[Document]:
    """The result lines with typed values."""
    return _lines(api.get(job["urls"]["results"], Accept="application/x-ndjson"))


def row_errors(api: Api, job: Document) -> list[Document]:
    """The row errors, without their messages."""
    found = _lines(api.get(job["urls"]["errors"], Accept="application/x-ndjson"))
    assert all(len(error.pop("message")) > 10 for error in found)
    return found


def _lines(answer: requests.Response) -> list[Document]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.decode().split("\n")[:-1]]


def newest_job(api: Api) -> Document | None:
    """The newest job of all."""
    jobs = api.get("/jobs?limit=1").json()["jobs"]
    return dict(jobs[0]) if jobs else None


def newer_job(api: Api, before: Document | None) -> Document | None:
    """The newest job if there was another one before; that one may have changed since."""
    newest = newest_job(api)
    is_newer = newest is not None and (before is None or newest["id"] > before["id"])
    return newest if is_newer else None
