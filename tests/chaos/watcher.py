"""Looks at accepted jobs while everything around them breaks."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any

import requests

from shared.jobs import END_STATUSES
from tests.chaos.chance import seeded
from tests.chaos.client import CONNECTION_ERRORS, Accepted
from tests.chaos.outcome import Outcome, compare_results

SAMPLES_PER_ROUND = 10
PAUSE_SECONDS = 0.2
"""Between two rounds: the watcher is not meant to be the load."""

DOWNLOAD_SHARE = 0.4
"""Share of the jobs that are downloaded as soon as they end; half of these break off."""

ANSWER_SECONDS = 15.0

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job's document when its end was first seen."""

    accepted: Accepted
    document: Document

    @property
    def after_seconds(self) -> float:
        """From the job's creation to its end."""
        created, finished = (
            datetime.fromisoformat(self.document[name]) for name in ("created_at", "finished_at")
        )
        return (finished - created).total_seconds()


class Watcher:
    """Two threads: one samples the documents of jobs, one downloads what has ended."""

    def __init__(self, api_url: str, accepted: Sequence[Accepted], *, seed: int) -> None:
        """`accepted` may grow while the watcher is at work."""
        self.ended: dict[str, Ended] = {}
        self.complaints: list[str] = []
        self.counts: Counter[str] = Counter()
        self._api_url = api_url
        self._accepted = accepted
        self._seed = seed
        self._last_seen: dict[str, Document] = {}
        self._downloads: SimpleQueue[Accepted] = SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__)
            for work in (self._sample_all, self._download_all)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def pending(self) -> list[Accepted]:
        """Accepted jobs whose end has not been seen."""
        return [each for each in list(self._accepted) if each.job_id not in self.ended]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 – a dead watcher must not pass for a quiet one
            self.complaints.append(f"watcher died: {error!r}")

    # --- sampling

    def _sample_all(self) -> None:
        turn = 0
        while not self._stopping.wait(PAUSE_SECONDS):
            pending = self.pending()
            turn = turn + SAMPLES_PER_ROUND if turn + SAMPLES_PER_ROUND < len(pending) else 0
            for each in pending[turn : turn + SAMPLES_PER_ROUND]:
                if not self._stopping.is_set():
                    self._sample(each)

    def _sample(self, accepted: Accepted) -> None:
        try:
            answer = requests.get(f"{self._api_url}/jobs/{accepted.job_id}", timeout=ANSWER_SECONDS)
        except CONNECTION_ERRORS:
            self.counts["samples without answer"] += 1
            return
        if answer.status_code == 200:
            self._take(accepted, answer.json())
        elif answer.status_code not in (502, 503, 504):
            self._complain(accepted, f"GET answered {answer.status_code} {answer.text}")
            self._stopping.wait(1.0)  # it will be asked again: no thousand complaints
        else:
            self.counts["samples without answer"] += 1

    def _take(self, accepted: Accepted, document: Document) -> None:
        self.counts["samples"] += 1
        for complaint in sample_complaints(
            self._last_seen.get(accepted.job_id), document, rows=accepted.job.rows
        ):
            self._complain(accepted, complaint)
        self._last_seen[accepted.job_id] = document
        if document["status"] in END_STATUSES:
            self.ended[accepted.job_id] = Ended(accepted=accepted, document=document)
            self._downloads.put(accepted)

    def _complain(self, accepted: Accepted, text: str) -> None:
        self.complaints.append(f"job {accepted.job.number} {accepted.job_id}: {text}")

    # --- downloading

    def _download_all(self) -> None:
        while not self._stopping.is_set():
            try:
                accepted = self._downloads.get(timeout=0.2)
            except Empty:
                continue
            chance = seeded("download", self._seed, accepted.job.number).random()
            if chance < DOWNLOAD_SHARE:
                self._download(accepted, is_broken_off=chance < DOWNLOAD_SHARE / 2)

    def _download(self, accepted: Accepted, *, is_broken_off: bool) -> None:
        """Read results to the end, which must be right then, or hang up after the first bytes."""
        url = f"{self._api_url}/jobs/{accepted.job_id}/results"
        try:
            with requests.get(url, timeout=ANSWER_SECONDS, stream=True) as answer:
                if answer.status_code != 200:
                    self.counts[f"downloads: {answer.status_code}"] += 1
                    return
                if is_broken_off:
                    next(answer.iter_content(512), b"")
                    self.counts["downloads: broken off by the client"] += 1
                    return
                outcome = compare_results(accepted.job, answer.text)
        except CONNECTION_ERRORS:
            self.counts["downloads: broken off by the server"] += 1
            return
        self.counts["downloads: whole"] += 1
        if outcome != Outcome(right=accepted.job.rows):
            self._complain(accepted, f"a download under way came to its end with {outcome}")


def sample_complaints(before: Document | None, now: Document, *, rows: int) -> list[str]:
    """What is wrong with a document of an accepted job, seen after another one of the same."""
    counts = now["counts"]
    complaints = []
    if counts["total"] != rows:
        complaints.append(f"total is {counts['total']} of {rows} rows")
    if counts["succeeded"] + counts["failed"] + counts["pending"] != counts["total"]:
        complaints.append(f"counts do not add up: {counts}")
    if before:
        backwards = [
            name for name in ("succeeded", "failed") if counts[name] < before["counts"][name]
        ]
        if backwards or now["progress"]["chunks_done"] < before["progress"]["chunks_done"]:
            complaints.append(f"counts went backwards: {before['counts']} → {counts}")
    return complaints
