"""What was measured, and the few figures that stand for many."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One turn of one contender."""

    workload: str
    model: str
    contender: str
    round: int
    figures: Figures


@dataclass(frozen=True)
class Spread:
    """The middle and the ends of several values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))


class Measurements:
    """All turns of a run, to be asked for figures."""

    def __init__(self, turns: Sequence[Measurement] = ()) -> None:
        self.turns = list(turns)

    def by_round(self, workload: str, model: str, contender: str, figure: str) -> dict[int, float]:
        """One figure of one contender; empty if it was not measured."""
        return {
            turn.round: turn.figures[figure]
            for turn in self.turns
            if (turn.workload, turn.model, turn.contender) == (workload, model, contender)
            and figure in turn.figures
        }

    def spread(self, workload: str, model: str, contender: str, figure: str) -> Spread | None:
        """Over the rounds; None if it was not measured."""
        values = self.by_round(workload, model, contender, figure).values()
        return Spread.of(values) if values else None

    def ratio(
        self, workload: str, model: str, contenders: tuple[str, str], figure: str
    ) -> Spread | None:
        """Of the first contender's figure to the second's: the ratios of each round."""
        above, below = (self.by_round(workload, model, one, figure) for one in contenders)
        return quotients(above, below)


def quotients(above: Mapping[int, float], below: Mapping[int, float]) -> Spread | None:
    """The spread of the ratios of those rounds that have both."""
    rounds = above.keys() & below.keys()
    return Spread.of(above[r] / below[r] for r in rounds) if rounds else None


def latency_figures(latencies_seconds: Sequence[float]) -> dict[str, float]:
    """The percentiles of one round, in milliseconds."""
    cuts = np.percentile(np.asarray(latencies_seconds) * 1000, (50, 95, 99))
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), map(float, cuts), strict=True))
