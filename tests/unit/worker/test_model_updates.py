"""A process opens what its worker found good, once, and beside what it has."""

from collections.abc import Callable

import pytest

from shared.errors import ModelLoadError, StoreUnavailableError
from shared.job_store.model_reports import Reports, VersionReport
from tests.waiting import wait_until
from worker import model_updates
from worker.model_updates import ModelUpdates

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
    updates = ModelUpdates(
        cache, told({"echo/1": READY, "echo/2": FAILED, "line/1": TRYING}, {"line/1": READY})
    )

    for _ in range(3):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("line/1", "a")]


def test_a_version_that_was_replaced_is_opened_again() -> None:
    cache = RecordingCache()
    updates = ModelUpdates(cache, told({"echo/1": READY}, {"echo/1": READY_ANEW}))

    for _ in range(3):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("echo/1", "b")]


def test_a_version_that_can_not_be_opened_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = RecordingCache(broken=("echo/1",))
    updates = ModelUpdates(cache, told({"echo/1": READY, "line/1": READY}))

    for _ in range(2):
        updates.look()

    assert cache.opened == [("echo/1", "a"), ("line/1", "a")]
    assert [record.message for record in caplog.records] == ["model not opened ahead"]


def test_a_store_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_updates, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(model_updates, "NICENESS", 0)
    cache = RecordingCache()

    ModelUpdates(cache, told(StoreUnavailableError(), {"echo/1": READY})).start()

    wait_until(lambda: cache.opened)
