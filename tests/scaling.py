"""Jobs sent to a service while it is scaled, and every row looked at afterwards.

    python -m tests.scaling --to 4 1 4 --scale \
        'docker compose up -d --no-build --no-recreate --scale api=2 --scale worker={}'

Sends one large job, piece by piece, and small ones meanwhile, each with an Idempotency-Key, all to
the model `line` (`make models`). Ends with 1 if a row is lost, wrong, out of place or there twice,
if a job did not end as succeeded, or if one was made twice.
"""

import argparse
import secrets
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.auditor import Audit, Auditor
from tests.chaos.client import Client, Crowd
from tests.chaos.jobs import ChaosJob, Manner
from tests.chaos.watcher import Watcher
from tests.waiting import wait_until

MODEL = "line"
SMALL_ROWS = 5
SEED = 36
MAX_SHOWN = 20


class Near(float):
    """Equals what linear algebra makes of it. Predictions of two rows are two apart."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(float(self) - other) < 0.5

    __hash__ = float.__hash__


@dataclass(frozen=True, kw_only=True)
class LineJob(ChaosJob):
    """A job for y = 2x + 3. No two rows of all jobs are alike."""

    first_cell: int

    def expected(self, row: int) -> tuple[float | None, str]:
        return Near(2 * self._cell(row) + 3), ""

    def _cell(self, row: int) -> int:
        return self.first_cell + row


def make_jobs(*, rows: int, small_jobs: int, seconds: float) -> list[ChaosJob]:
    """The large job first, then the small ones."""
    run = uuid.uuid4().hex
    # Bodies of another run differ, too: the auditor takes one that comes twice for a mistake.
    first_cell = secrets.randbelow(10**4) * 10**7
    large = LineJob(
        number=0,
        rows=rows,
        key=f"{run}-0",
        first_cell=first_cell,
        manner=Manner.SLOWLY,
        upload_seconds=seconds,
    )
    small = [
        LineJob(
            number=number,
            rows=SMALL_ROWS,
            key=f"{run}-{number}",
            first_cell=first_cell + rows + number * SMALL_ROWS,
        )
        for number in range(1, small_jobs + 1)
    ]
    return [large, *small]


def run(
    url: str,
    jobs: Sequence[ChaosJob],
    *,
    seconds: float,
    settle_seconds: float,
    scale: str,
    to: Sequence[int],
) -> list[str]:
    """What must not have happened. Prints what did."""
    client = Client(url, seed=SEED, model_name=MODEL)
    crowd = Crowd(client, jobs, seconds=seconds)
    watcher = Watcher(url, crowd.accepted, seed=SEED)
    watcher.start()
    crowd.start()
    began = time.monotonic()
    try:
        for number, count in enumerate(to):
            due = began + seconds * number / len(to)
            wait_until(lambda due=due: time.monotonic() >= due, timeout=seconds + 60)
            _tell(f"{time.monotonic() - began:5.1f} s  scaled to {count}", crowd, watcher)
            subprocess.run(shlex.split(scale.format(count)), check=True, capture_output=True)
        # What is not done by then is for the auditor to tell.
        with suppress(AssertionError):
            wait_until(
                lambda: crowd.is_done() and not watcher.pending(),
                timeout=seconds + settle_seconds,
            )
        _tell(f"{time.monotonic() - began:5.1f} s  over", crowd, watcher)
    finally:
        crowd.stop()
        watcher.stop()
    with Auditor(url) as auditor:
        audit = auditor.audit(crowd.accepted, watcher.ended)
    print(f"answers to submissions: {dict(client.answers)}; watched: {dict(watcher.counts)}")
    print(f"jobs: {dict(audit.statuses)}; {_figures(audit)}")
    return crowd.complaints + watcher.complaints + _problems(audit, jobs)


def _problems(audit: Audit, jobs: Sequence[ChaosJob]) -> list[str]:
    rows = sum(job.rows for job in jobs)
    problems = list(audit.complaints)
    if audit.statuses != {"succeeded": len(jobs)}:
        problems.append(f"not all of {len(jobs)} jobs succeeded")
    if audit.rows.right != rows or audit.rows.duplicated or audit.rows.misplaced:
        problems.append(f"not each of {rows:,} rows is there once, right and in order")
    return problems


def _figures(audit: Audit) -> str:
    rows = audit.rows
    return (
        f"rows right {rows.right:,}, wrong {rows.wrong}, lost {rows.lost},"
        f" duplicated {rows.duplicated}, misplaced {rows.misplaced}"
    )


def _tell(text: str, crowd: Crowd, watcher: Watcher) -> None:
    print(f"{text}: accepted {len(crowd.accepted)}, ended {len(watcher.ended)}", flush=True)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large job")
    parser.add_argument("--jobs", type=int, default=500, help="small ones")
    parser.add_argument("--seconds", type=float, default=90, help="in which all are sent")
    parser.add_argument("--settle", type=float, default=120, help="seconds to end them after that")
    parser.add_argument("--to", type=int, nargs="*", default=[], help="so many, evenly spread")
    parser.add_argument("--scale", default="true", help="command, {} is how many")
    return parser.parse_args()


def main() -> None:
    options = parse()
    problems = run(
        options.url,
        make_jobs(rows=options.rows, small_jobs=options.jobs, seconds=options.seconds),
        seconds=options.seconds,
        settle_seconds=options.settle,
        scale=options.scale,
        to=options.to,
    )
    print(f"problems: {len(problems)}", *problems[:MAX_SHOWN], sep="\n  ")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
