"""Requests by chance, from several clients at once, for some time, with a job now and then whose
predictions are known."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, MutableSequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import requests

from tests.fuzz.corpus import Gunner
from tests.fuzz.range import Hit, Range, Wrong, job_ids
from tests.fuzz.shot import Shot
from tests.fuzz.watch import Watch
from tests.waiting import wait_until

CLIENTS = 4
LOOK_EVERY = 100
"""Requests of a client between two looks at processes, logs and a known job."""

WARM_SHARE = 0.3
"""Of a campaign, after which nothing may grow any more."""

MOST_FOUND = 20
"""Beyond that more of the same only fills the disk."""

KNOWN_JOB = b"x\n1\n2\n3\n"
KNOWN_PREDICTIONS = [5.0, 7.0, 9.0]
"""Of the example model `line`."""


@dataclass(kw_only=True)
class Findings:
    """What came of it."""

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: MutableSequence[str] = field(default_factory=list)
    sizes: str = ""

    def __str__(self) -> str:
        statuses = ", ".join(
            f"{status}: {count}" for status, count in sorted(self.statuses.items())
        )
        lines = [f"{self.sent} requests; {statuses}", f"MiB of memory {self.sizes}", *self.wrong]
        return "\n".join([*lines, "nothing found" if not self.wrong else "see above"])


class Campaign:
    """Fires at one service. The same seed makes the same requests, but for ids of jobs."""

    def __init__(self, url: str, watch: Watch, *, seed: int, keep: Path) -> None:
        """`keep`: folder for requests that something is wrong with."""
        self._url, self._watch, self._seed, self._keep = url, watch, seed, keep
        self._range = Range(url)
        self._lock = threading.Lock()
        self._ids: list[str] = []
        self.findings = Findings()

    def run(self, is_over: Callable[[int], bool], is_warm: Callable[[int], bool]) -> Findings:
        """Until it is over; both are asked with the number of requests so far."""
        self._watch.begin()
        threads = [
            threading.Thread(target=self._client, args=(number, is_over), name=f"client {number}")
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        has_warmed = False
        while any(thread.is_alive() for thread in threads):
            if not has_warmed and is_warm(self.findings.sent):
                has_warmed = True
                self._watch.warm()
            threads[0].join(0.2)
            if not threads[0].is_alive():
                threads = [thread for thread in threads if thread.is_alive()] or threads[:1]
        self._end()
        return self.findings

    def _client(self, number: int, is_over: Callable[[int], bool]) -> None:
        gunner = Gunner(Random(f"{self._seed} {number}"), self._ids)
        count = 0
        while not is_over(self.findings.sent) and len(self.findings.wrong) < MOST_FOUND:
            self._fire(gunner.shot())
            count += 1
            if count % LOOK_EVERY == 0:
                self._look()

    def _fire(self, shot: Shot) -> None:
        try:
            hit = self._range.fire(shot)
        except Wrong as wrong:
            self._tell(shot, str(wrong))
            hit = None
        with self._lock:
            self.findings.sent += 1
            self.findings.statuses[str(hit.status) if hit else "none"] += 1
            self._ids += _new(hit)

    def _tell(self, shot: Shot, what: str) -> None:
        with self._lock:
            path = self._keep / f"shot-{self._seed}-{len(self.findings.wrong)}.json"
            shot.save(path)
            self.findings.wrong.append(f"{what}\n  {shot}\n  kept as {path}")

    def _look(self) -> None:
        with self._lock:
            self.findings.wrong += self._watch.complaints()
        self._score_known()

    def _score_known(self) -> None:
        """Whatever is fired, others get their predictions."""
        answer = requests.post(
            f"{self._url}/predict?model=line",
            data=KNOWN_JOB,
            headers={"Content-Type": "text/csv", "Accept": "application/json"},
            timeout=90,
        )
        # 409: another client has cancelled it.
        if answer.status_code in {202, 409, 429}:
            return
        found = [round(row["prediction"], 6) for row in answer.json()] if answer.ok else answer.text
        if found != KNOWN_PREDICTIONS:
            self.findings.wrong.append(f"a known job: {answer.status_code} {found}")

    def _end(self) -> None:
        """Whatever was taken in comes to an end, and then nothing is left of it."""
        wait_until(self._is_idle, timeout=120)
        self._look()
        self.findings.wrong += self._watch.growth()
        self.findings.sizes = self._watch.sizes_text()

    def _is_idle(self) -> bool:
        for status in ("receiving", "queued", "running"):
            answer = requests.get(f"{self._url}/jobs?status={status}", timeout=90)
            if answer.json()["jobs"]:
                return False
        return True


def _new(hit: Hit | None) -> Iterator[str]:
    return job_ids(hit) if hit else iter(())
