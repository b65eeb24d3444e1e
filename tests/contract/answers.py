"""How contract tests read answers: problem documents, jobs, results and row errors."""

import csv
import io
import json
import tempfile
from typing import Any

import requests

from tests.live_stack import ROOT, Api

INTERNALS = ("Traceback", ".py", "Error:", str(ROOT), tempfile.gettempdir())
"""What an answer to a caller never holds: traces, paths, names of exceptions."""

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
    assert document.keys() - extra == {"type", "title", "status", "code", "detail"}
    assert (document["type"], bool(document["title"])) == ("about:blank", True)
    assert [word for word in words if word not in document["detail"]] == [], document["detail"]
    assert [internal for internal in INTERNALS if internal in answer.text] == []
    return document


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
