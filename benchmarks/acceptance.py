"""What Rowmill must be, line by line, and whether it is."""

from dataclasses import dataclass

from benchmarks.figures import Measurements, Spread
from benchmarks.report import MB, spread_text

TWO_PROCESSES = "limit-2"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One bound on the median of a figure; None where it was not measured."""

    text: str
    figure: Spread | None
    bound: float
    is_upper: bool
    digits: int = 2

    @property
    def holds(self) -> bool | None:
        """None if it was not measured."""
        if self.figure is None:
            return None
        median = self.figure.median
        return median <= self.bound if self.is_upper else median >= self.bound

    def __str__(self) -> str:
        verdict = {True: "holds", False: "does NOT hold", None: "not measured"}[self.holds]
        sign = "≤" if self.is_upper else "≥"
        figure = spread_text(self.figure, self.digits)
        return f"{self.text} {sign} {self.bound:g}: {figure} – {verdict}"


def lines(found: Measurements, *, body_bytes: int) -> list[Line]:
    """All lines; `body_bytes` is the size of a bulk job's body."""
    return [
        *_bulk_lines(found),
        *_small_lines(found),
        *_mixed_lines(found),
        *_memory_lines(found, body_bytes),
    ]


def _bulk_lines(found: Measurements) -> list[Line]:
    bounds = (
        ("m1", TWO_PROCESSES, 2.5),
        ("m1", "pandas", 0.7),
        ("m2", TWO_PROCESSES, 1.3),
        ("m3", TWO_PROCESSES, 1.3),
    )
    return [
        Line(
            text=f"W1 {model.upper()}: seconds / {other}",
            figure=_least(found, model, other),
            bound=bound,
            is_upper=True,
        )
        for model, other, bound in bounds
    ]


def _least(found: Measurements, model: str, other: str) -> Spread | None:
    """The ratio of seconds of whichever of Rowmill's ways has the lower one."""
    ways = ("rowmill", "rowmill-follow")
    ratios = [found.ratio("w1", model, (way, other), "seconds") for way in ways]
    return min((r for r in ratios if r), key=lambda ratio: ratio.median, default=None)


def _small_lines(found: Measurements) -> list[Line]:
    def ratio(way: str, other: str, figure: str) -> Spread | None:
        return found.ratio("w2", "m1", (way, other), figure)

    lines = [
        Line(
            text="W2: jobs/s, full job way / textbook",
            figure=ratio("rowmill", "textbook", "jobs_per_second"),
            bound=5,
            is_upper=False,
        ),
    ]
    throughput = ratio("rowmill-predict", "mlserver", "jobs_per_second")
    if throughput is None:
        stand_in = ratio("rowmill-predict", "textbook", "jobs_per_second")
        text = "W2: jobs/s, POST /predict / textbook (no MLServer)"
        return [Line(text=text, figure=stand_in, bound=9, is_upper=False), *lines]
    return [
        Line(
            text="W2: jobs/s, POST /predict / MLServer",
            figure=throughput,
            bound=1.2,
            is_upper=False,
        ),
        Line(
            text="W2: p99, POST /predict / MLServer",
            figure=ratio("rowmill-predict", "mlserver", "p99_ms"),
            bound=1,
            is_upper=True,
        ),
        *lines,
    ]


def _mixed_lines(found: Measurements) -> list[Line]:
    figures = (("p50_ms", 9.0, 1), ("p99_ms", 25.0, 1), ("bulk_loss", 0.15, 2))
    return [
        Line(
            text=f"W3: {figure}, {way}",
            figure=found.spread("w3", "m1", name, figure),
            bound=bound,
            is_upper=True,
            digits=digits,
        )
        for name, way in (("rowmill", "job way"), ("rowmill-predict", "POST /predict"))
        for figure, bound, digits in figures
    ]


def _memory_lines(found: Measurements, body_bytes: int) -> list[Line]:
    def peak(workload: str, figure: str, unit: float) -> Spread | None:
        spread = found.spread(workload, "m1", "rowmill", figure)
        return spread and Spread(spread.median / unit, spread.low / unit, spread.high / unit)

    return [
        Line(
            text=f"W1: peak {kind.upper()} of API and workers, MB",
            figure=peak(workload, f"{kind}.service", MB),
            bound=700,
            is_upper=True,
            digits=0,
        )
        for workload, kind in (("w1", "rss"), ("memory", "pss"))
    ] + [
        Line(
            text="W1: peak of Redis / body",
            figure=peak("w1", "redis.used", body_bytes),
            bound=1.2,
            is_upper=True,
        )
    ]
