"""Distributions as drawings: where each mark lies, so that a template only writes it down."""

import math
from dataclasses import dataclass

from api.pages.distributions import Bin, Distribution
from api.pages.formats import number, share

WIDTH, HEIGHT = 340, 200
LEFT, RIGHT, TOP, BOTTOM = 42, 10, 10, 28
"""Of a drawing and of its margins, in units of about a pixel."""

AIMED_X_TICKS, AIMED_Y_TICKS = 5, 4

ROW_HEIGHT, BAR_HEIGHT = 40, 9
NAME_WIDTH_CHARS = 36
"""Of a class: what fits above its bars."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A rectangle and what it says to whom it is pointed out."""

    x: float
    y: float
    width: float
    height: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A place on an axis and its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Bars of a job and the outline of its model's training."""

    distribution: Distribution
    bars: tuple[Mark, ...]
    outline: str
    """Points of a line; empty without a training."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A class with its two bars."""

    name: str
    share: str
    y: float
    bar: Mark
    trained_bar: Mark | None


@dataclass(frozen=True, kw_only=True)
class ClassBars:
    """A row for each class."""

    distribution: Distribution
    rows: tuple[ClassRow, ...]
    width: int = WIDTH

    @property
    def height(self) -> int:
        return ROW_HEIGHT * len(self.rows)


def drawn(distribution: Distribution) -> Histogram | ClassBars:
    """The drawing of a distribution."""
    return _histogram(distribution) if distribution.is_numeric else _class_bars(distribution)


def _histogram(distribution: Distribution) -> Histogram:
    bins = distribution.bins
    low, high = bins[0].low, bins[-1].high
    y_step = _step(max(max(b.share, b.trained_share or 0) for b in bins), AIMED_Y_TICKS)
    top = y_step * math.ceil(max(max(b.share, b.trained_share or 0) for b in bins) / y_step - 1e-9)
    x_step = _step(high - low, AIMED_X_TICKS)

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 2)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 2)

    x_numbers = range(math.ceil(low / x_step - 1e-9), math.floor(high / x_step + 1e-9) + 1)
    return Histogram(
        distribution=distribution,
        bars=tuple(
            Mark(
                x=x(b.low) + 0.5,
                y=y(b.share),
                width=max(0.5, round(x(b.high) - x(b.low) - 1, 2)),
                height=round(y(0) - y(b.share), 2),
                text=bin_text(b),
            )
            for b in bins
        ),
        outline=" ".join(
            f"{x(edge)},{y(b.trained_share)}"
            for b in bins
            if b.trained_share is not None
            for edge in (b.low, b.high)
        ),
        x_ticks=tuple(Tick(at=x(n * x_step), label=number(n * x_step)) for n in x_numbers),
        y_ticks=tuple(
            Tick(at=y(n * y_step), label=f"{n * y_step * 100:.3g} %")
            for n in range(round(top / y_step) + 1)
        ),
    )


def bin_text(found: Bin) -> str:
    """What a bin says in words."""
    where = found.name or f"{number(found.low)} to {number(found.high)}"
    beside = (
        f"; {share(found.trained_share)} in training" if found.trained_share is not None else ""
    )
    return f"{where}: {share(found.share)}{beside}"


def _class_bars(distribution: Distribution) -> ClassBars:
    largest = max(max(b.share, b.trained_share or 0) for b in distribution.bins)

    def bar(at: float, value: float, text: str) -> Mark:
        width = round(value / largest * WIDTH, 2)
        return Mark(x=0, y=at, width=width, height=BAR_HEIGHT, text=text)

    rows = []
    for place, found in enumerate(distribution.bins):
        y, text = place * ROW_HEIGHT, bin_text(found)
        trained = found.trained_share
        rows.append(
            ClassRow(
                name=_shortened(found.name),
                share=share(found.share),
                y=y + 12,
                bar=bar(y + 17, found.share, text),
                trained_bar=None if trained is None else bar(y + 27, trained, text),
            )
        )
    return ClassBars(distribution=distribution, rows=tuple(rows))


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH_CHARS else name[: NAME_WIDTH_CHARS - 1] + "…"


def _step(extent: float, aimed: int) -> float:
    """A round distance of ticks, of which about so many fit into the extent."""
    rough = extent / aimed
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= rough * (1 - 1e-9))
