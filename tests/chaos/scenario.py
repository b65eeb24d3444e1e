"""One run: a cluster, a crowd, a monkey, and an audit of what is left."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from shared.job_store import keys
from shared.job_store.garbage import Garbage
from tests import live_stack
from tests.chaos.auditor import Auditor
from tests.chaos.client import Client, Crowd
from tests.chaos.cluster import Cluster
from tests.chaos.footprint import Footprint, footprint
from tests.chaos.jobs import ChaosJob, make_jobs
from tests.chaos.monkey import Monkey
from tests.chaos.report import Report
from tests.chaos.watcher import Watcher
from tests.waiting import wait_until

SENDING_SHARE = 0.85
"""Share of the monkey's time in which jobs are sent: the last ones shall meet it, too."""

CLEAN_SECONDS = 20.0
"""How long Redis may take to be as before: wake-ups for deleted jobs have to be worked off."""

PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large a run is."""

    jobs: int
    monkey_seconds: float
    settle_seconds: float
    """After the monkey's last action every job must end within this time."""
    only: frozenset[str] | None = None
    """The monkey's actions; all of them by default."""
    has_objects: bool = False
    """Whether bytes of bulk jobs are in a folder and not in Redis."""


def run(
    seed: int,
    scale: Scale,
    *,
    directory: Path,
    models_dir: Path,
    tell: Callable[[str], object] = lambda _: None,
) -> Report:
    """Everything from the first process to the last. Leaves no process behind.

    `directory`: for data and logs. When something is wrong a copy of the logs is kept, and the
    report says where.
    """
    report = Report(seed=seed, jobs=make_jobs(seed, scale.jobs))
    try:
        _run(report, scale, directory=directory, models_dir=models_dir, tell=tell)
    except BaseException as error:
        error.add_note(f"logs: {_keep_logs(directory, seed)}; so far:\n{report}")
        raise
    if report.problems():
        report.logs = _keep_logs(directory, seed)
    return report


def _run(
    report: Report,
    scale: Scale,
    *,
    directory: Path,
    models_dir: Path,
    tell: Callable[[str], object],
) -> None:
    seed, jobs = report.seed, report.jobs
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(directory, models_dir, has_objects=scale.has_objects))
        auditor = stack.enter_context(Auditor(cluster.api_url))
        client = Client(cluster.api_url, seed=seed)
        _warm_up(client, auditor, ChaosJob(number=len(jobs), rows=1, key=f"warm-up-{seed}"))
        before = footprint(cluster.redis)

        crowd = Crowd(client, jobs, seconds=scale.monkey_seconds * SENDING_SHARE)
        watcher = Watcher(cluster.api_url, crowd.accepted, seed=seed)
        monkey = Monkey(cluster, seed=seed, log=directory / "monkey.jsonl", only=scale.only)
        for part in (watcher, crowd, monkey):
            part.start()
            stack.callback(part.stop)
        _let_it_rage(scale.monkey_seconds, crowd, watcher, monkey, tell)
        monkey.stop()
        report.settle_seconds = _settle(scale.settle_seconds, cluster, crowd, watcher)
        crowd.stop()
        watcher.stop()

        tell("auditing …")
        report.orphans = cluster.orphans()
        report.starts = {service.name: service.starts for service in cluster.services}
        report.take(client=client, crowd=crowd, watcher=watcher, monkey=monkey)
        report.audit = auditor.audit(crowd.accepted, watcher.ended)
        report.audit.complaints += _clean_up(cluster, auditor, before)


def _warm_up(client: Client, auditor: Auditor, job: ChaosJob) -> None:
    """Let connections, keys of Celery and measured speeds come into being."""
    promise = client.submit(job, threading.Event())
    assert promise
    found = wait_until(lambda: _ended_alone(auditor), timeout=30)
    assert found == ["succeeded"], found
    assert not auditor.delete_all()


def _ended_alone(auditor: Auditor) -> list[str]:
    """The status of the only job once it has ended."""
    return [job["status"] for job in auditor.listed() if job["finished_at"]]


def _let_it_rage(
    seconds: float,
    crowd: Crowd,
    watcher: Watcher,
    monkey: Monkey,
    tell: Callable[[str], object],
) -> None:
    began = time.monotonic()
    pause = threading.Event()
    while (left := began + seconds - time.monotonic()) > 0:
        pause.wait(min(left, PROGRESS_SECONDS))
        tell(
            f"{time.monotonic() - began:5.0f} s  accepted {len(crowd.accepted)}"
            f"  ended {len(watcher.ended)}  monkey actions {monkey.actions.total()}"
            f"  complaints {len(crowd.complaints) + len(watcher.complaints)}"
        )


def _settle(timeout: float, cluster: Cluster, crowd: Crowd, watcher: Watcher) -> float:
    """Wait until all is well or the time is over; how long it took."""
    began = time.monotonic()
    pause = threading.Event()
    while time.monotonic() - began < timeout:
        if crowd.is_done() and not watcher.pending() and cluster.is_ready():
            break
        pause.wait(0.1)
    # What is stuck by now is for the auditor to tell, but he needs an API to ask.
    wait_until(lambda: live_stack.answers(f"{cluster.api_url}/healthz"), timeout=20)
    return time.monotonic() - began


def _clean_up(cluster: Cluster, auditor: Auditor, before: Footprint) -> list[str]:
    """Delete all jobs; complaints about what stays in Redis."""
    deleted_jobs = len(auditor.listed())
    complaints = auditor.delete_all()
    deadline = time.monotonic() + CLEAN_SECONDS
    pause = threading.Event()
    while left := footprint(cluster.redis).complaints(before, deleted_jobs=deleted_jobs):
        if time.monotonic() > deadline:
            break
        pause.wait(0.2)
    return complaints + left + _objects_left(cluster)


def _objects_left(cluster: Cluster) -> list[str]:
    """What is there when all that is to be deleted within minutes is."""
    for note in cluster.redis.zrange(keys.GARBAGE, 0, -1):
        cluster.redis.zadd(keys.GARBAGE, {note: 1}, xx=True)
    Garbage(cluster.redis).work_off()
    found = [path for path in cluster.objects.rglob("*") if path.is_file()]
    return [f"object {path.relative_to(cluster.objects)} is left" for path in found]


def _keep_logs(directory: Path, seed: int) -> Path:
    """A copy of logs, without data, in a place that outlives the tests."""
    kept = Path(tempfile.mkdtemp(prefix=f"rowmill-chaos-seed-{seed}-"))
    for path in [*directory.glob("*.log"), *directory.glob("*.jsonl")]:
        shutil.copy(path, kept)
    return kept
