"""A step of the work outlasts a store that is away for a while."""

import pytest

from shared.errors import StoreUnavailableError
from worker import tasks
from worker.tasks import persistently


class Away:
    """A step that finds no store the first few times."""

    def __init__(self, *, times: int) -> None:
        self.left = times
        self.calls = 0

    def __call__(self, answer: str) -> str:
        self.calls += 1
        self.left -= 1
        if self.left >= 0:
            raise StoreUnavailableError
        return answer


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RETRY_DELAYS_SECONDS", (0, 0, 0))


@pytest.mark.parametrize("times", [0, 1, 3])
def test_a_step_is_tried_again_until_the_store_is_back(times: int) -> None:
    step = Away(times=times)

    assert persistently(step)("done") == "done"
    assert step.calls == times + 1


def test_a_store_that_stays_away_is_an_error_in_the_end() -> None:
    step = Away(times=99)

    with pytest.raises(StoreUnavailableError):
        persistently(step)("done")
    assert step.calls == 4


def test_other_errors_are_not_tried_again() -> None:
    with pytest.raises(ZeroDivisionError):
        persistently(lambda: 1 / 0)()
