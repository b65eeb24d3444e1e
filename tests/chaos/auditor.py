"""Reads everything back through HTTP when the dust has settled, and deletes it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import requests

from shared.jobs import END_STATUSES
from tests.chaos.client import Accepted
from tests.chaos.outcome import Outcome, compare_errors, compare_results
from tests.chaos.watcher import Ended, sample_complaints
from tests.waiting import wait_until

PAGE_JOBS = 100

FOREIGN_END_SECONDS = 30.0
"""How long jobs that nobody was promised may take to end: uploads whose client or API died."""

Document = dict[str, Any]


@dataclass(kw_only=True)
class Audit:
    """What was found."""

    rows: Outcome = field(default_factory=Outcome)
    statuses: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    stuck: int = 0
    foreign: int = 0
    """Jobs in the list that nobody was promised."""


class Auditor:
    """Knows what every accepted job must look like."""

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._session = requests.Session()

    def __enter__(self) -> "Auditor":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def audit(self, accepted: Sequence[Accepted], ended: Mapping[str, Ended]) -> Audit:
        """Check all jobs and the list of them. `ended`: what the watcher saw of them."""
        found = Audit()
        for each in accepted:
            for complaint in self._job_complaints(each, ended.get(each.job_id), found):
                found.complaints.append(f"job {each.job.number} {each.job_id}: {complaint}")
        self._audit_list(accepted, found)
        return found

    def delete_all(self) -> list[str]:
        """Delete every job; complaints about those that do not go."""
        ids = [document["id"] for document in self.listed()]
        complaints = []
        for job_id in ids:
            first = self._session.delete(f"{self._api_url}/jobs/{job_id}", timeout=30).status_code
            then = self._get(f"/jobs/{job_id}").status_code
            if (first, then) != (204, 410):
                complaints.append(f"{job_id}: DELETE answered {first}, a GET after it {then}")
        left = self.listed()
        return complaints + [f"{document['id']} is listed after DELETE" for document in left]

    def listed(self) -> list[Document]:
        """All jobs that `GET /jobs` shows, page by page."""
        jobs: list[Document] = []
        after: dict[str, str] = {}
        while True:
            page = self._get("/jobs", limit=str(PAGE_JOBS), **after).json()
            jobs += page["jobs"]
            if not page["has_more"]:
                return jobs
            after = {"after": jobs[-1]["id"]}

    def _get(self, path: str, **query: str) -> requests.Response:
        return self._session.get(f"{self._api_url}{path}", params=query, timeout=60)

    # --- one job

    def _job_complaints(self, accepted: Accepted, ended: Ended | None, found: Audit) -> list[str]:
        job = accepted.job
        answer = self._get(f"/jobs/{accepted.job_id}")
        if answer.status_code != 200:
            found.rows.lost += job.rows
            return [f"GET answers {answer.status_code} {answer.text}"]
        document = answer.json()
        status = document["status"]
        found.statuses[status] += 1
        if status not in END_STATUSES:
            found.stuck += 1
            return [f"stuck: {_brief(document)}"]

        complaints = sample_complaints(ended.document if ended else None, document, rows=job.rows)
        if ended and _end(ended.document) != _end(document):
            complaints.append(f"changed after its end: {_brief(ended.document)}")
        failed = len(job.faults)
        wanted = {"total": job.rows, "succeeded": job.rows - failed, "failed": failed, "pending": 0}
        if (status, document["counts"]) != (job.expected_status(), wanted):
            complaints.append(f"should be {job.expected_status()} {wanted}: {_brief(document)}")
        return complaints + self._row_complaints(accepted, found)

    def _row_complaints(self, accepted: Accepted, found: Audit) -> list[str]:
        job = accepted.job
        results = self._get(f"/jobs/{accepted.job_id}/results")
        errors = self._get(f"/jobs/{accepted.job_id}/errors")
        if (results.status_code, errors.status_code) != (200, 200):
            found.rows.lost += job.rows
            return [f"results: {results.status_code}, errors: {errors.status_code}"]
        outcome = compare_results(job, results.text)
        found.rows.add(outcome)
        return outcome.examples + compare_errors(job, errors.text)

    # --- the list

    def _audit_list(self, accepted: Sequence[Accepted], found: Audit) -> None:
        listed = self.listed()
        ids = [document["id"] for document in listed]
        if ids != sorted(set(ids), reverse=True):
            found.complaints.append("GET /jobs does not list each job once, newest first")
        promised = {each.job_id for each in accepted}
        found.complaints += [f"{job_id} is not listed" for job_id in promised - set(ids)]
        if len(promised) < len(accepted):
            found.complaints.append("two promises were given for one job")
        foreign = [job_id for job_id in ids if job_id not in promised]
        found.foreign = len(foreign)
        with suppress(AssertionError):
            wait_until(lambda: not self._unended(foreign), timeout=FOREIGN_END_SECONDS)
        stuck = self._unended(foreign)
        found.stuck += len(stuck)
        found.complaints += [f"stuck, promised to nobody: {_brief(each)}" for each in stuck]
        # Bodies differ from job to job, so one that was scored twice was taken twice.
        bodies = Counter(
            document["input"]["sha256"] for document in listed if document["status"] != "failed"
        )
        repeated = [sha256 for sha256, times in bodies.items() if sha256 and times > 1]
        found.complaints += [f"more than one job has the body {sha256}" for sha256 in repeated]

    def _unended(self, job_ids: Sequence[str]) -> list[Document]:
        """Those of the jobs that run. Jobs whose client never heard of them have to end, too."""
        answers = [self._get(f"/jobs/{job_id}") for job_id in job_ids]
        documents = [answer.json() for answer in answers if answer.status_code not in {404, 410}]
        return [each for each in documents if each["status"] not in END_STATUSES]


def _end(document: Document) -> tuple[object, ...]:
    """What must never change after a job's end."""
    return document["status"], document["counts"], document["finished_at"]


def _brief(document: Document) -> str:
    names = ("id", "status", "counts", "progress", "created_at", "finished_at", "error")
    return str({name: document[name] for name in names})
