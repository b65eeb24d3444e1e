"""A process opens what its worker found good, once, and beside what it has."""

from collections.abc import Callable, Collection

import pytest

from shared.errors import ModelLoadError, StoreUnavailableError
from shared.job_store.model_reports import Reports, VersionReport
from tests.unit.worker.supervision import FakeClock
from tests.waiting import wait_until
from worker import model_updates
from worker.model_updates import RETELL_SECONDS, ModelUpdates

READY = VersionReport(sha256="a" * 64, is_tried=True)
READY_ANEW = VersionReport(sha256="b" * 64, is_tried=True)
FAILED = VersionReport(sha256="a" * 64, is_tried=True, code="model_load_failed", detail="No.")
TRYING = VersionReport(sha256="a" * 64)


class RecordingCache:
    """Opens nothing; some versions can't be opened."""

    def __init__(self, *, broken: tuple[str, ...] = ()) -> None:
        self._broken = broken
        self.opened: list[tuple[str, str]] = []

    def get(self, name: str, version: str, *, sha256: str) -> None:
        self.opened.append((f"{name}/{version}", sha256[0]))
        if f"{name}/{version}" in self._broken:
            raise ModelLoadError("It is broken.")


def updates_of(
    cache: RecordingCache,
    told: Callable[[], Reports],
    *,
    tell: Callable[[Collection[str]], None] = lambda _: None,
) -> ModelUpdates:
    return ModelUpdates(cache, told=told, tell=tell)


def told(*answers: Reports | Exception) -> Callable[[], Reports]:
    """What a worker says, from time to time."""
    left = list(answers)

    def tell() -> Reports:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return tell


def test_what_is_ready_is_opened_once() -> None:
    cache = RecordingCache()
    updates = updates_of(
        cache, told({"echo/1": READY, "echo/2": FAILED, "line/1": TRYING}, {"line/1": READY})
    )

    for _ in range(3):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("line/1", "a")]


def test_a_version_that_was_replaced_is_opened_again() -> None:
    cache = RecordingCache()
    updates = updates_of(cache, told({"echo/1": READY}, {"echo/1": READY_ANEW}))

    for _ in range(3):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("echo/1", "b")]


def test_a_version_that_can_not_be_opened_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = RecordingCache(broken=("echo/1",))
    updates = updates_of(cache, told({"echo/1": READY, "line/1": READY}))

    for _ in range(2):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("line/1", "a")]
    assert [record.message for record in caplog.records] == ["model not opened ahead"]


def test_a_store_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_updates, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(model_updates, "NICENESS", 0)
    cache = RecordingCache()

    updates_of(cache, told(StoreUnavailableError(), {"echo/1": READY})).start()

    wait_until(lambda: cache.opened)


def test_it_is_told_what_is_open_and_told_anew_after_a_while() -> None:
    said: list[Collection[str]] = []
    clock = FakeClock()
    updates = ModelUpdates(
        RecordingCache(broken=("line/1",)),
        told=told({"echo/1": READY, "line/1": READY}),
        tell=said.append,
        clock=clock,
    )

    for _ in range(3):
        updates.look()
    assert said == [["echo/1"]]

    clock.now += RETELL_SECONDS + 1
    updates.look()
    assert said == [["echo/1"]] * 2


def test_what_nobody_means_is_not_opened() -> None:
    cache = RecordingCache()
    unwanted = VersionReport(sha256="a" * 64, is_tried=True, is_wanted=False)

    updates_of(cache, told({"echo/1": unwanted, "echo/2": READY})).look()

    assert cache.opened == [("echo/2", "a")]
