"""What a small job costs while a huge one runs: `python -m benchmarks.fairness`, beside `make up`.

Sends jobs of ten rows one after the other, first alone and then while a job of ten million rows is
taken in and scored, and compares how long each took from the request to its end. Both halves belong
to one run on one machine; only their ratio carries over to others.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import requests

SMALL = "x\n" + "1.5\n" * 10
BLOCK = b"1.25\n" * 100_000
MIN_SAMPLES = 100
"""Fewer say nothing about a 99th percentile."""


def latency_seconds(url: str) -> float:
    """From the request to the answer that the job has ended."""
    began = time.perf_counter()
    answer = requests.post(
        f"{url}/jobs?model=line",
        data=SMALL,
        headers={"Content-Type": "text/csv", "Prefer": "wait=60"},
        timeout=70,
    )
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    if answer.json()["counts"]["succeeded"] != 10:
        raise SystemExit(f"A small job did not end well: {answer.json()}")
    return seconds


def measured(url: str, goes_on: Callable[[int], bool]) -> list[float]:
    """Latencies of small jobs, ten a second, for as long as `goes_on(number)`."""
    found: list[float] = []
    pause = threading.Event()
    while goes_on(len(found)):
        found.append(latency_seconds(url))
        pause.wait(max(0, 0.1 - found[-1]))
    return found


class HugeJob:
    """A job that is submitted and followed in a thread of its own."""

    def __init__(self, url: str, rows: int) -> None:
        self._url = url
        self._rows = rows
        self.seconds = 0.0
        self.document: dict[str, Any] = {}  # JSON as it came
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _body(self) -> Iterator[bytes]:
        yield b"x\n"
        for _ in range(self._rows // 100_000):
            yield BLOCK

    def _run(self) -> None:
        began = time.perf_counter()
        headers = {"Content-Type": "text/csv", "Prefer": "wait=60"}
        url = f"{self._url}/jobs?model=line"
        answer = requests.post(url, data=self._body(), headers=headers, timeout=600)
        if not answer.ok:
            self.document = answer.json()
            return
        job = answer.json()
        while job["finished_at"] is None:
            path = job["urls"]["self"]
            job = requests.get(self._url + path, headers={"Prefer": "wait=60"}, timeout=70).json()
        self.seconds = time.perf_counter() - began
        self.document = job
        requests.delete(self._url + job["urls"]["self"], timeout=60)

    def check(self) -> None:
        """Nothing was measured beside a job that was refused or went wrong."""
        counts = self.document.get("counts")
        if counts != {"total": self._rows, "succeeded": self._rows, "failed": 0, "pending": 0}:
            raise SystemExit(f"The huge job did not end well: {self.document}")


def percentiles_ms(latencies: list[float]) -> tuple[float, float]:
    """The 50th and the 99th percentile."""
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[98] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("ROWMILL_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    if options.rows % 100_000:
        parser.error("--rows must be a multiple of 100,000")

    measured(options.url, lambda number: number < 20)  # connections and caches warm up
    idle = measured(options.url, lambda number: number < 2 * MIN_SAMPLES)
    beside: list[float] = []
    while len(beside) < MIN_SAMPLES:
        huge = HugeJob(options.url, options.rows)
        beside += measured(options.url, lambda _, job=huge: job.is_running)  # type: ignore[misc]
        huge.check()
        print(f"huge job: {options.rows} rows in {huge.seconds:.1f} s")

    (idle_p50, idle_p99), (p50, p99) = percentiles_ms(idle), percentiles_ms(beside)
    print(f"{'':24}{'jobs':>6}{'p50 ms':>10}{'p99 ms':>10}")
    print(f"{'alone':24}{len(idle):>6}{idle_p50:>10.1f}{idle_p99:>10.1f}")
    print(f"{'beside the huge job':24}{len(beside):>6}{p50:>10.1f}{p99:>10.1f}")
    for name, idle_ms in (("p99", idle_p99), ("p50", idle_p50)):
        bound = 2 * idle_ms + 50
        verdict = "within" if p99 <= bound else "NOT within"
        print(f"p99 is {verdict} 2 x idle {name} + 50 ms = {bound:.1f} ms")


if __name__ == "__main__":
    main()
