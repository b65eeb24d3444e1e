"""A step of the work outlasts a store that is away for a while."""

import pytest

from shared.errors import StoreFullError, StoreUnavailableError
from worker import outage
from worker.outage import persistently


class Away:
    """A step that finds no store the first few times."""

    def __init__(self, *, times: int, error: type[Exception] = StoreUnavailableError) -> None:
        self._left = times
        self._error = error
        self.calls = 0

    def __call__(self, answer: str, *, suffix: str = "") -> str:
        self.calls += 1
        self._left -= 1
        if self._left >= 0:
            raise self._error
        return answer + suffix


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(outage.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize("times", [0, 1, 3, 50])
@pytest.mark.parametrize("error", [StoreUnavailableError, StoreFullError])
def test_a_step_is_tried_again_until_the_store_is_back(
    delays: list[float], times: int, error: type[Exception]
) -> None:
    step = Away(times=times, error=error)

    assert persistently(step)("done", suffix="!") == "done!"
    assert (step.calls, len(delays)) == (times + 1, times)


def test_the_wait_for_the_store_grows_up_to_a_bound(delays: list[float]) -> None:
    persistently(Away(times=20))("done")

    assert delays == sorted(delays)
    assert 0 < delays[0] < 0.5
    assert delays[-1] == max(outage.RETRY_DELAYS_SECONDS) <= 5


def test_other_errors_are_not_tried_again(delays: list[float]) -> None:
    with pytest.raises(ZeroDivisionError):
        persistently(lambda: 1 / 0)()

    assert delays == []
