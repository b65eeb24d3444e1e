"""A worker tries what new jobs may get, once, and tells what came of it."""

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from shared.aliases import Alias
from shared.errors import ModelLoadError, StoreUnavailableError
from shared.job_store.model_reports import ModelReports, VersionReport
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.repository_editor import RepositoryEditor
from tests.factories import make_manifest
from tests.job_steps import WORKER, JobSteps
from tests.unit.worker.supervision import FakeClock
from tests.waiting import wait_until
from worker import model_watch
from worker.model_trial import failure
from worker.model_watch import (
    MAX_RETRY_SECONDS,
    OPEN_SECONDS,
    RETELL_SECONDS,
    RETRY_SECONDS,
    SETTLE_FOR_NEWS_SECONDS,
    SLOW_SECONDS,
    ModelWatch,
    ModelWatchStep,
)


class FakeTrial:
    """Ends when it is told to, and by default at once; all share what is to come of each."""

    outcomes: ClassVar[dict[str, str]]
    """By version: why it fails, or `hang`; others are ready."""
    begun: ClassVar[list[str]]
    running: ClassVar[list[str]]

    def __init__(self, manifest: Manifest, attempt: object, *, seconds: float) -> None:
        self._manifest = manifest
        self._limit = attempt, seconds
        self.begun.append(manifest.version_id)
        self.running.append(manifest.version_id)

    def report(self) -> VersionReport | None:
        how = self.outcomes.get(self._manifest.version_id, "")
        if how == "hang":
            return None
        self.stop()
        sha256 = self._manifest.artifact.sha256
        if how:
            return failure(ModelLoadError(how), sha256)
        return VersionReport(sha256=sha256, is_tried=True)

    def stop(self) -> None:
        self.running.remove(self._manifest.version_id)


@pytest.fixture(autouse=True)
def trials(monkeypatch: pytest.MonkeyPatch) -> type[FakeTrial]:
    fresh = {"outcomes": {}, "begun": [], "running": []}
    trial = type("Trials", (FakeTrial,), fresh)
    monkeypatch.setattr(model_watch, "Trial", trial)
    return trial


class Models:
    """A repository to which versions without content are added."""

    def __init__(self, root: Path) -> None:
        self.repository = ModelRepository(root)

    def add(self, name: str, version: int, *, sha256: str = "0" * 64) -> Manifest:
        """A version whose artifact is what it has to be as far as anybody looks."""
        artifact = make_manifest().artifact.model_copy(update={"sha256": sha256})
        manifest = make_manifest(name=name, version=str(version), artifact=artifact)
        home = self.home(name, version)
        home.mkdir(parents=True, exist_ok=True)
        (home / "model.skops").write_bytes(b"1")
        (home / "manifest.json").write_text(manifest.model_dump_json())
        self.age(home / "manifest.json")
        self.age(home.parent)
        return manifest

    def spoil(self, name: str, version: int) -> None:
        path = self.home(name, version) / "manifest.json"
        path.write_text("{")
        self.age(path)

    def point(self, name: str, alias: str, version: int | str, **options: float) -> None:
        target = Alias(version=str(version), **options)
        RepositoryEditor(self.repository).set_alias(name, alias, target)
        self.age(self.repository.root / name / "aliases.json")

    def home(self, name: str, version: int) -> Path:
        return self.repository.root / name / str(version)

    @staticmethod
    def age(path: Path) -> None:
        """Let what changed be settled, and each change at another time than those before."""
        Models.moments += 1_000_000_000
        os.utime(path, ns=(Models.moments, Models.moments))

    moments = 1_000_000_000


@pytest.fixture
def files(tmp_path: Path) -> Models:
    return Models(tmp_path)


@pytest.fixture
def reports(steps: JobSteps) -> ModelReports:
    return ModelReports(steps.redis)


@pytest.fixture
def watch(files: Models, reports: ModelReports, clock: FakeClock) -> ModelWatch:
    return make_watch(files, reports, clock)


def make_watch(
    files: Models, reports: ModelReports, clock: FakeClock, *, at_once: int = 4
) -> ModelWatch:
    return ModelWatch(
        files.repository,
        reports,
        worker=WORKER,
        attempt=lambda manifest: VersionReport(sha256=manifest.artifact.sha256, is_tried=True),
        trial_seconds=60,
        at_once=at_once,
        clock=clock,
    )


def states(reports: ModelReports) -> dict[str, str]:
    """What the worker told last, in a word for each version."""
    return {
        version_id: "ready" if r.is_ready else "failed" if r.has_failed else "trying"
        for version_id, r in reports.told_by(WORKER).items()
    }


def rounds(watch: ModelWatch, number: int = 2) -> None:
    """In the first one trials begin, in the second their ends are heard."""
    for _ in range(number):
        watch.round()


# --- what is tried


def test_a_version_is_tried_once_and_told_of(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)

    watch.round()
    assert states(reports) == {"echo/1": "trying"}
    assert reports.known().serving == {}

    rounds(watch, 5)
    assert states(reports) == {"echo/1": "ready"}
    assert reports.known().serving == {"echo": "1"}
    assert trials.begun == ["echo/1"]


def test_a_version_that_fails_is_not_tried_again(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)
    trials.outcomes["echo/1"] = "It is broken."

    rounds(watch, 5)

    assert trials.begun == ["echo/1"]
    assert reports.told_by(WORKER)["echo/1"].detail == "It is broken."
    assert reports.known().serving == {}


def test_a_newer_version_is_tried_beside_the_one_that_serves(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)
    rounds(watch)
    files.add("echo", 2)
    trials.outcomes["echo/2"] = "hang"

    rounds(watch, 3)
    assert states(reports) == {"echo/1": "ready", "echo/2": "trying"}
    assert reports.known().serving == {"echo": "1"}

    del trials.outcomes["echo/2"]
    watch.round()
    assert states(reports) == {"echo/1": "ready", "echo/2": "ready"}
    assert reports.known().serving == {"echo": "2"}


def test_old_versions_that_nobody_means_are_not_tried(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    for version in (1, 2, 10):
        files.add("echo", version)

    rounds(watch)

    assert states(reports) == {"echo/10": "ready"}


def test_where_the_newest_fails_the_next_older_one_is_tried_and_serves(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    for version in (1, 2, 3, 4):
        files.add("echo", version)
    trials.outcomes |= {"echo/4": "No.", "echo/3": "No."}

    rounds(watch, 4)

    assert states(reports) == {"echo/4": "failed", "echo/3": "failed", "echo/2": "ready"}
    assert reports.known().serving == {"echo": "2"}


def test_what_aliases_point_to_is_tried_and_the_newest_but_that_is_not_meant_beside_a_champion(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    for name in ("echo", "line"):
        for version in (1, 2, 3):
            files.add(name, version)
    files.point("echo", "champion", 1)
    files.point("echo", "canary", 2, weight=0.1)
    files.point("line", "stable", 1)

    rounds(watch, 3)

    assert set(states(reports)) == {"echo/1", "echo/2", "echo/3", "line/1", "line/3"}
    assert reports.known().serving == {
        "echo@champion": "1",
        "echo@canary": "2",
        "line@stable": "1",
        "line": "3",
    }


def test_an_alias_that_moves_serves_what_it_did_until_the_other_version_is_ready(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    for version in (1, 2):
        files.add("echo", version)
    files.point("echo", "champion", 2)
    rounds(watch)
    files.point("echo", "champion", 1)
    trials.outcomes["echo/1"] = "hang"

    rounds(watch)
    assert reports.known().serving == {"echo@champion": "2"}

    trials.outcomes.clear()
    watch.round()
    assert reports.known().serving == {"echo@champion": "1"}


def test_an_alias_of_a_version_that_is_gone_means_nothing(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    files.add("echo", 1)
    path = files.repository.root / "echo" / "aliases.json"
    path.write_text('{"champion": "9"}')

    rounds(watch)

    assert states(reports) == {"echo/1": "ready"}
    assert reports.known().serving == {}


def test_a_version_that_was_removed_is_forgotten(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    for version in (1, 2):
        files.add("echo", version)
    rounds(watch)
    RepositoryEditor(files.repository).remove("echo", "2")
    files.age(files.repository.root / "echo")

    rounds(watch)
    assert states(reports) == {"echo/1": "ready"}
    assert reports.known().serving == {"echo": "1"}

    files.add("echo", 2)
    rounds(watch)
    assert trials.begun == ["echo/2", "echo/1", "echo/2"]


def test_a_version_that_is_removed_while_it_is_tried_is_forgotten(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    for version in (1, 2):
        files.add("echo", version)
    trials.outcomes["echo/2"] = "hang"
    watch.round()
    RepositoryEditor(files.repository).remove("echo", "2")
    files.age(files.repository.root / "echo")
    trials.outcomes.clear()

    rounds(watch)

    assert states(reports) == {"echo/1": "ready"}


def test_a_version_that_was_replaced_in_its_place_is_tried_anew(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)
    rounds(watch)
    files.add("echo", 1, sha256="1" * 64)

    rounds(watch)

    assert trials.begun == ["echo/1", "echo/1"]
    assert reports.told_by(WORKER)["echo/1"].sha256 == "1" * 64


def test_a_version_whose_artifact_came_after_its_manifest_is_tried_anew(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    """As when a directory is copied file by file into its place."""
    files.add("echo", 1)
    artifact = files.home("echo", 1) / "model.skops"
    artifact.unlink()
    trials.outcomes["echo/1"] = "The artifact can't be read."
    rounds(watch, 3)
    assert states(reports) == {"echo/1": "failed"}
    trials.outcomes.clear()

    artifact.write_bytes(b"1")
    rounds(watch, 3)

    assert states(reports) == {"echo/1": "ready"}
    assert trials.begun == ["echo/1", "echo/1"]


def test_a_broken_manifest_has_failed_and_the_older_version_is_tried_until_it_is_mended(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    for version in (1, 2):
        files.add("echo", version)
    files.spoil("echo", 2)

    rounds(watch, 3)
    assert states(reports) == {"echo/2": "failed", "echo/1": "ready"}
    assert reports.told_by(WORKER)["echo/2"].code == "invalid_manifest"

    files.add("echo", 2)
    rounds(watch)
    assert states(reports) == {"echo/2": "ready", "echo/1": "ready"}
    assert trials.begun == ["echo/1", "echo/2"]


def test_no_more_versions_are_tried_at_once_than_there_are_cores(
    files: Models, reports: ModelReports, clock: FakeClock, trials: type[FakeTrial]
) -> None:
    names = [f"model-{n}" for n in range(5)]
    for name in names:
        files.add(name, 1)
        trials.outcomes[f"{name}/1"] = "hang"
    watch = make_watch(files, reports, clock, at_once=2)

    rounds(watch)
    assert len(trials.running) == 2

    trials.outcomes.clear()
    rounds(watch, 4)
    assert states(reports) == {f"{name}/1": "ready" for name in names}


# --- aliases that can't be read


def spoil_aliases(files: Models, name: str) -> None:
    path = files.repository.root / name / "aliases.json"
    path.write_text('{"champion": ')
    files.age(path)


def test_aliases_that_can_not_be_read_keep_nothing_else_from_being_tried(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    for name in ("echo", "line"):
        files.add(name, 1)
    spoil_aliases(files, "echo")

    rounds(watch)

    assert states(reports) == {"echo/1": "ready", "line/1": "ready"}


def test_aliases_that_can_not_be_read_are_logged_once(
    watch: ModelWatch, files: Models, caplog: pytest.LogCaptureFixture
) -> None:
    files.add("echo", 1)
    for expected in (1, 2):
        spoil_aliases(files, "echo")
        rounds(watch, 5)
        assert [r.message for r in caplog.records].count("aliases left out") == expected
        (files.repository.root / "echo" / "aliases.json").unlink()
        rounds(watch)


# --- settling at start


def test_all_there_is_to_try_is_tried_before_the_pool_is_forked(
    files: Models, reports: ModelReports, clock: FakeClock, trials: type[FakeTrial]
) -> None:
    for version in (1, 2, 3):
        files.add("echo", version)
    files.add("line", 1)
    files.point("echo", "stable", 1)
    trials.outcomes["echo/3"] = "No."

    ready = make_watch(files, reports, clock, at_once=1).settle()

    assert sorted(m.version_id for m in ready) == ["echo/1", "echo/2", "line/1"]
    assert reports.told_by(WORKER) == {}


def test_where_the_manifest_of_the_newest_is_broken_an_older_one_is_there_at_start(
    watch: ModelWatch, files: Models
) -> None:
    for version in (1, 2, 3):
        files.add("echo", version)
    for version in (2, 3):
        files.spoil("echo", version)

    assert [m.version_id for m in watch.settle()] == ["echo/1"]


def test_an_empty_repository_is_settled(watch: ModelWatch) -> None:
    assert watch.settle() == []


def test_what_failed_at_start_is_counted_with_the_first_round(
    watch: ModelWatch, files: Models, steps: JobSteps, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)
    files.add("line", 1)
    files.spoil("line", 1)
    trials.outcomes["echo/1"] = "No."
    watch.settle()

    rounds(watch, 3)

    assert steps.registry.counters()["models_failed"] == 2


# --- telling


def test_what_was_told_is_told_again_for_the_store_may_have_lost_it(
    watch: ModelWatch, files: Models, reports: ModelReports, steps: JobSteps, clock: FakeClock
) -> None:
    files.add("echo", 1)
    rounds(watch)
    steps.redis.flushdb()

    clock.now += RETELL_SECONDS - 1
    watch.round()
    assert states(reports) == {}

    clock.now += 2
    watch.round()
    assert states(reports) == {"echo/1": "ready"}
    assert reports.known().serving == {"echo": "1"}


def test_failures_are_counted_once_however_often_the_store_is_away(
    watch: ModelWatch,
    files: Models,
    reports: ModelReports,
    steps: JobSteps,
    trials: type[FakeTrial],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError

    files.add("echo", 1)
    trials.outcomes["echo/1"] = "No."
    with monkeypatch.context() as outage:
        for step in ("tell", "count_failures"):
            outage.setattr(ModelReports, step, away)
        for _ in range(3):
            with pytest.raises(StoreUnavailableError):
                watch.round()

    rounds(watch, 3)

    assert steps.registry.counters()["models_failed"] == 1
    assert states(reports) == {"echo/1": "failed"}


def test_versions_that_hang_hold_up_no_other_for_long(
    files: Models, reports: ModelReports, clock: FakeClock, trials: type[FakeTrial]
) -> None:
    watch = make_watch(files, reports, clock, at_once=2)
    for name in ("a", "b"):
        files.add(name, 1)
        trials.outcomes[f"{name}/1"] = "hang"
    rounds(watch)
    files.add("late", 1)
    rounds(watch)
    assert "late/1" not in states(reports)

    clock.now += SLOW_SECONDS + 1
    rounds(watch)

    assert states(reports)["late/1"] == "ready"


def test_a_new_version_that_hangs_puts_off_the_start_of_a_worker_for_a_moment_only(
    watch: ModelWatch,
    files: Models,
    reports: ModelReports,
    clock: FakeClock,
    trials: type[FakeTrial],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports.tell("host/before", {}, serving={"echo": "1"})
    for version in (1, 2):
        files.add("echo", version)
    files.add("line", 1)
    trials.outcomes["echo/2"] = "hang"
    began = clock.now
    monkeypatch.setattr(model_watch.time, "sleep", lambda _: setattr(clock, "now", clock.now + 1))

    ready = watch.settle()

    assert [manifest.version_id for manifest in ready] == ["line/1"]
    assert clock.now - began <= SETTLE_FOR_NEWS_SECONDS + 1


# --- opened, agreed on, tried again


def test_a_sound_version_is_ready_when_all_processes_have_opened_it(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    files.add("echo", 1)

    for _ in range(3):
        watch.round([7, 8])
    assert reports.told_by(WORKER)["echo/1"].is_sound
    assert states(reports) == {"echo/1": "trying"}

    reports.tell_opened(WORKER, 7, ["echo/1"])
    watch.round([7, 8])
    assert states(reports) == {"echo/1": "trying"}
    assert reports.known().serving == {}

    reports.tell_opened(WORKER, 8, ["echo/1", "line/1"])
    watch.round([7, 8])
    assert states(reports) == {"echo/1": "ready"}
    assert reports.known().serving == {"echo": "1"}


def test_a_process_that_does_not_open_a_version_holds_it_up_for_a_while_only(
    watch: ModelWatch, files: Models, reports: ModelReports, clock: FakeClock
) -> None:
    files.add("echo", 1)
    for _ in range(3):
        watch.round([7])

    clock.now += OPEN_SECONDS + 1
    watch.round([7])

    assert states(reports) == {"echo/1": "ready"}


def test_what_was_tried_before_there_were_processes_is_open(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    files.add("echo", 1)
    watch.settle()

    watch.round([7])

    assert states(reports) == {"echo/1": "ready"}


def test_what_a_reference_means_is_told_when_all_workers_can_use_it(
    watch: ModelWatch, files: Models, reports: ModelReports, clock: FakeClock
) -> None:
    sha256 = files.add("echo", 1).artifact.sha256
    for told in (VersionReport(sha256=sha256), failure(ModelLoadError("No."), sha256)):
        reports.tell("host/other", {"echo/1": told}, serving={})
        clock.now += RETELL_SECONDS + 1
        rounds(watch)
        assert reports.known().serving == {}

    reports.tell("host/other", {"echo/1": VersionReport(sha256=sha256, is_tried=True)}, serving={})
    clock.now += RETELL_SECONDS + 1
    watch.round()

    assert reports.known().serving == {"echo": "1"}


def test_a_version_that_failed_is_tried_again_later_and_less_and_less_often(
    watch: ModelWatch,
    files: Models,
    reports: ModelReports,
    clock: FakeClock,
    trials: type[FakeTrial],
) -> None:
    files.add("echo", 1)
    trials.outcomes["echo/1"] = "There is no memory left."
    rounds(watch)

    for pause in (RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS):
        tried = len(trials.begun)
        clock.now += pause - 1
        rounds(watch)
        assert len(trials.begun) == tried
        clock.now += 1
        rounds(watch)
        assert len(trials.begun) == tried + 1
        assert states(reports) == {"echo/1": "failed"}

    trials.outcomes.clear()
    clock.now += MAX_RETRY_SECONDS
    rounds(watch)
    assert states(reports) == {"echo/1": "ready"}


def test_a_version_that_serves_and_is_damaged_is_found_out(
    watch: ModelWatch, files: Models, reports: ModelReports, trials: type[FakeTrial]
) -> None:
    files.add("echo", 1)
    rounds(watch)
    trials.outcomes["echo/1"] = "It was changed."

    (files.home("echo", 1) / "model.skops").write_bytes(b"22")
    rounds(watch, 4)

    assert states(reports) == {"echo/1": "failed"}


def test_versions_that_nobody_means_any_more_need_not_be_opened(
    watch: ModelWatch, files: Models, reports: ModelReports
) -> None:
    files.add("echo", 1)
    rounds(watch)
    files.add("echo", 2)
    rounds(watch)

    wanted = {v for v, told in reports.told_by(WORKER).items() if told.is_wanted}
    assert wanted == {"echo/2"}


# --- its place in Celery's worker


class RecordingTimer:
    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def call_repeatedly(
        self, seconds: float, call: Callable[..., None], args: tuple[object, ...]
    ) -> None:
        self.calls.append((seconds, partial(call, *args)))


class FakeChild:
    def __init__(self, pid: int, exitcode: int | None = None) -> None:
        self.pid = pid
        self.exitcode = exitcode


class FakeWorker:
    """Celery's worker, as far as the step knows it: with a live process and a dead one."""

    def __init__(self) -> None:
        self.timer = RecordingTimer()
        children = SimpleNamespace(_pool=[FakeChild(7), FakeChild(8, exitcode=-9)])
        self.pool = SimpleNamespace(_pool=children)


@pytest.fixture
def step(watch: ModelWatch) -> Iterator[tuple[ModelWatchStep, Callable[[], None]]]:
    worker = FakeWorker()
    step = ModelWatchStep.bound(lambda: watch)(worker)
    step.start(worker)
    [(seconds, look)] = worker.timer.calls
    assert seconds == model_watch.LOOK_SECONDS
    yield step, look
    step.stop(worker)


def test_a_worker_looks_until_it_stops_and_leaves_no_trial_behind(
    step: tuple[ModelWatchStep, Callable[[], None]],
    files: Models,
    reports: ModelReports,
    trials: type[FakeTrial],
) -> None:
    bound, look = step
    files.add("echo", 1)
    trials.outcomes["echo/1"] = "hang"
    look()
    assert states(reports) == {"echo/1": "trying"}

    bound.stop(None)
    assert trials.running == []

    files.add("line", 1)
    look()
    assert trials.begun == ["echo/1"]
    assert states(reports) == {"echo/1": "trying"}


def test_a_store_that_is_away_is_no_trouble_for_the_timer(
    step: tuple[ModelWatchStep, Callable[[], None]],
    reports: ModelReports,
    files: Models,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError

    files.add("echo", 1)
    with monkeypatch.context() as outage:
        outage.setattr(ModelReports, "tell", away)
        step[1]()

    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    reports.tell_opened(WORKER, 7, ["echo/1"])
    for _ in range(2):
        step[1]()
    assert states(reports) == {"echo/1": "ready"}


# --- with real processes


def test_versions_are_tried_in_processes_of_their_own(
    files: Models, reports: ModelReports, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for name in ("echo", "line"):
        files.add(name, 1)
    watch = ModelWatch(
        files.repository,
        reports,
        worker=WORKER,
        attempt=lambda m: VersionReport(
            sha256=m.artifact.sha256, is_tried=True, warning=str(os.getpid())
        ),
        trial_seconds=60,
        at_once=2,
        clock=clock,
    )

    assert len(watch.settle()) == 2
    watch.round()

    found = {r.warning for r in wait_until(lambda: reports.told_by(WORKER)).values()}
    assert len(found) == 2
    assert str(os.getpid()) not in found
