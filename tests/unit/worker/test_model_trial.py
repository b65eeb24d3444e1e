"""A version is tried in a process that may do what it likes; its worker learns what came of it."""

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from shared.errors import ModelLoadError
from shared.job_store.model_reports import VersionReport
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from tests.estimators import Deadly, Echo, Fussy
from tests.factories import make_manifest
from tests.model_versions import publish_version
from tests.unit.worker.supervision import FakeClock
from tests.waiting import wait_until
from worker import model_trial
from worker.model_loader import ModelLoader
from worker.model_trial import Trial, failure, try_apart, try_version

MANIFEST = make_manifest()
SHA256 = MANIFEST.artifact.sha256
READY = VersionReport(sha256=SHA256, is_tried=True)
LONG = 60.0


def ready(_: Manifest) -> VersionReport:
    return READY


def hanging(_: Manifest) -> VersionReport:
    time.sleep(3600)
    return READY


def pipes() -> list[int]:
    """Files of this process that are pipes."""
    fds = [int(fd.name) for fd in Path("/proc/self/fd").iterdir()]
    links = [(fd, os.readlink(f"/proc/self/fd/{fd}")) for fd in fds if fd > 2 and is_open(fd)]
    return [fd for fd, target in links if target.startswith("pipe:")]


OF_OTHERS: set[int] = set()
"""Pipes that were there before a test, such as those of who runs the tests."""


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").is_symlink()


def scribble(what: bytes) -> None:
    """Write into all that can be written to, as a library gone wild."""
    for fd in set(pipes()) - OF_OTHERS:
        os.set_blocking(fd, False)
        try:
            os.write(fd, what)
        except OSError:
            continue


OLDER: set[psutil.Process] = set()
"""Processes that other tests keep, such as their servers."""


def children() -> list[psutil.Process]:
    """This process's others and theirs; what an older one starts meanwhile is its own affair."""
    own = [child for child in psutil.Process().children() if child not in OLDER]
    with suppress(psutil.NoSuchProcess):
        own += [theirs for child in own for theirs in child.children(recursive=True)]
    return own


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Neither a process nor an open file."""
    gc.collect()
    OLDER.clear()
    OLDER.update(children())
    files = psutil.Process().num_fds()
    OF_OTHERS.clear()
    OF_OTHERS.update(pipes())

    yield

    gc.collect()
    assert children() == []
    assert psutil.Process().num_fds() <= files


# --- what comes of it


def test_what_an_attempt_reports_is_heard() -> None:
    report = VersionReport(sha256=SHA256, is_tried=True, warning="It is ä\nbit old.")

    assert try_apart(MANIFEST, lambda _: report, seconds=LONG) == report


def test_a_report_of_any_length_is_heard() -> None:
    report = VersionReport(sha256=SHA256, is_tried=True, warning="long " * 100_000)

    assert try_apart(MANIFEST, lambda _: report, seconds=LONG) == report


def test_a_report_is_heard_though_threads_keep_its_process_from_ending() -> None:
    def lingering(_: Manifest) -> VersionReport:
        threading.Thread(target=time.sleep, args=(3600,)).start()
        return READY

    assert try_apart(MANIFEST, lingering, seconds=LONG) == READY


def abort(_: Manifest) -> NoReturn:
    faulthandler.disable()  # or its report would stand among those of the tests
    os.abort()


def die_of_a_signal_without_a_name(_: Manifest) -> NoReturn:
    signal.signal(40, signal.SIG_DFL)
    os.kill(os.getpid(), 40)
    raise AssertionError


def leave(_: Manifest) -> NoReturn:
    sys.exit(3)


def leave_in_good_order(_: Manifest) -> NoReturn:
    raise SystemExit


def interrupt(_: Manifest) -> NoReturn:
    raise KeyboardInterrupt


def fail(_: Manifest) -> NoReturn:
    raise RuntimeError("odd")


def leave_a_child_behind(_: Manifest) -> NoReturn:
    """A child that keeps all files open, as a pool of a library does."""
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(5)


def scribble_and_abort(manifest: Manifest) -> NoReturn:
    scribble(b"\xff" * 100)
    abort(manifest)


def begin_a_report_and_abort(manifest: Manifest) -> NoReturn:
    scribble(b'{"sha256": "')
    abort(manifest)


@pytest.mark.parametrize(
    ("attempt", "how"),
    [
        (abort, "died (SIGABRT)"),
        (die_of_a_signal_without_a_name, "died (signal 40)"),
        (leave, "died (exit code 3)"),
        (leave_in_good_order, "died (exit code 0)"),
        (interrupt, "died (exit code 1)"),
        (fail, "died (exit code 1)"),
        (leave_a_child_behind, "died (exit code 5)"),
        (scribble_and_abort, "died (SIGABRT)"),
        (begin_a_report_and_abort, "died (SIGABRT)"),
    ],
)
def test_an_attempt_that_ends_without_a_report_has_failed(
    attempt: Callable[[Manifest], VersionReport], how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    report = try_apart(MANIFEST, attempt, seconds=LONG)

    capfd.readouterr()
    assert (report.sha256, report.has_failed, report.code) == (SHA256, True, "model_load_failed")
    assert f"'echo/1' {how}" in report.detail


def test_an_attempt_that_says_what_is_no_report_has_failed() -> None:
    def babble(_: Manifest) -> VersionReport:
        scribble(b"\xff" * 100)
        return READY

    report = try_apart(MANIFEST, babble, seconds=LONG)

    assert report.has_failed


def test_an_attempt_that_says_too_much_is_ended() -> None:
    def flood(_: Manifest) -> VersionReport:
        while True:
            scribble(b"\xff" * 60_000)

    report = try_apart(MANIFEST, flood, seconds=LONG)

    assert report.has_failed
    assert "wrote" in report.detail


# --- how long


def test_an_attempt_that_hangs_is_ended_when_its_time_is_up(clock: FakeClock) -> None:
    trial = Trial(MANIFEST, hanging, seconds=30, clock=clock)
    assert trial.report() is None
    [process] = children()

    clock.now += 31
    report = trial.report()

    assert report is not None
    assert report.has_failed
    assert "took longer than 30 s" in report.detail
    assert not process.is_running()


def test_an_attempt_that_began_its_report_and_hangs_is_ended_too(clock: FakeClock) -> None:
    def begin(_: Manifest) -> VersionReport:
        scribble(b"\x00\x00\xff\x00")
        time.sleep(3600)
        return READY

    trial = Trial(MANIFEST, begin, seconds=30, clock=clock)
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        assert trial.report() is None

    clock.now += 31
    assert "took longer" in str(trial.report())


def test_an_attempt_whose_worker_is_gone_ends_by_itself(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_trial, "GRACE_SECONDS", 0.0)
    trial = Trial(MANIFEST, hanging, seconds=0.05, clock=clock)

    assert "SIGALRM" in wait_until(trial.report).detail


def test_a_trial_that_is_stopped_leaves_nothing_behind() -> None:
    def with_children(_: Manifest) -> VersionReport:
        os.fork()
        return hanging(MANIFEST)

    trial = Trial(MANIFEST, with_children, seconds=LONG)
    wait_until(lambda: len(children()) == 2)

    trial.stop()
    trial.stop()

    wait_until(lambda: not children())


def test_several_versions_are_tried_at_once(clock: FakeClock) -> None:
    attempts = [hanging, ready, hanging, ready]
    trials = [Trial(MANIFEST, attempt, seconds=30, clock=clock) for attempt in attempts]

    assert [wait_until(trials[n].report) for n in (3, 1)] == [READY, READY]
    assert [trials[n].report() for n in (0, 2)] == [None, None]

    for n in (0, 2):
        trials[n].stop()


def test_an_attempt_that_ends_while_another_begins_is_heard() -> None:
    first = Trial(MANIFEST, ready, seconds=LONG)
    (process,) = children()
    wait_until(lambda: process.status() == psutil.STATUS_ZOMBIE)

    second = Trial(MANIFEST, ready, seconds=LONG)

    assert first.report() == READY
    assert wait_until(second.report) == READY


def test_an_attempt_heeds_none_of_its_workers_signal_handlers() -> None:
    def handlers(_: Manifest) -> VersionReport:
        kept = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)]
        return VersionReport(sha256=SHA256, is_tried=kept == [signal.SIG_DFL] * 3)

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert try_apart(MANIFEST, handlers, seconds=LONG).is_ready
    finally:
        signal.signal(signal.SIGTERM, before)


# --- opening a version and asking for its example


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> ModelRepository:
    root = tmp_path_factory.mktemp("models")
    for name, estimator in (("echo", Echo()), ("fussy", Fussy()), ("deadly", Deadly())):
        publish_version(name, estimator, root)
    return ModelRepository(root)


def with_example(manifest: Manifest, example: float | None) -> Manifest:
    """The manifest with another example of its only feature."""
    feature = manifest.signature.features[0].model_copy(update={"example": example})
    signature = manifest.signature.model_copy(update={"features": (feature,)})
    return manifest.model_copy(update={"signature": signature})


def tried(repository: ModelRepository, manifest: Manifest) -> VersionReport:
    return try_version(ModelLoader(repository, allow_pickle=False), manifest)


def test_a_version_that_scores_its_example_is_ready(repository: ModelRepository) -> None:
    manifest = repository.resolve("echo")

    report = tried(repository, manifest)

    assert report == VersionReport(sha256=manifest.artifact.sha256, is_tried=True)


def test_a_version_that_can_not_score_its_example_has_failed(repository: ModelRepository) -> None:
    report = tried(repository, with_example(repository.resolve("fussy"), -1.0))

    assert report.code == "model_example_failed"
    assert "a value is below zero" in report.detail


def test_a_version_that_dies_over_its_example_costs_only_the_process_that_tries_it(
    repository: ModelRepository,
) -> None:
    manifest = with_example(repository.resolve("deadly"), 666.0)

    def attempt(manifest: Manifest) -> VersionReport:
        faulthandler.disable()
        return tried(repository, manifest)

    report = try_apart(manifest, attempt, seconds=LONG)

    assert "SIGABRT" in report.detail


def test_a_version_that_can_not_be_opened_has_failed(repository: ModelRepository) -> None:
    manifest = make_manifest(name="gone")

    report = tried(repository, manifest)

    assert (report.code, report.sha256) == ("model_load_failed", SHA256)


def test_a_failure_says_what_and_why() -> None:
    report = failure(ModelLoadError("It is broken."), SHA256)

    assert (report.code, report.detail) == ("model_load_failed", "It is broken.")
    assert (report.has_failed, report.is_ready) == (True, False)
