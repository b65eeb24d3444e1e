"""How predictions are distributed, beside those that the model makes of its training sample."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles

MOST_BINS = 28
"""Of a histogram, or half as many: their width is a round number."""

MAX_CLASSES = 12
"""Of more classes the most frequent are shown and the others counted together."""

OTHERS = "others"

TAIL = 0.005
"""Share of the values at each end that a histogram may leave out where they lie far away: a single
one would else make one bin of all others."""

LARGEST, LEAST = 1e300, 1e-300
"""Beyond these, differences and their parts are no numbers any more."""

NEAR = 0.25
"""What is no farther away than this share of the width is not left out."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Numbers from `low` up to `high`, or one class."""

    share: float
    """Of the job's predictions."""
    trained_share: float | None
    """Of those of the training sample; None if nothing is known of them."""
    low: float = 0.0
    high: float = 0.0
    name: str = ""
    """Of the class; empty for numbers."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Bins that cover a column of predictions."""

    title: str
    values: int
    """Predictions that were counted."""
    bins: tuple[Bin, ...]
    left_out: int = 0
    """Of the values, those that lie too far away to be shown."""

    @property
    def is_numeric(self) -> bool:
        return not self.bins[0].name

    @property
    def has_training(self) -> bool:
        return self.bins[0].trained_share is not None


# --- classes


def of_classes(
    title: str, names: Iterable[str], trained: Mapping[str, float]
) -> Distribution | None:
    """Shares of the classes, the most frequent first; None if there is no prediction."""
    counts = Counter(names)
    total = counts.total()
    if not total:
        return None
    known = {**trained, **{name: count / total for name, count in counts.items()}}
    shown = sorted(known, key=lambda name: (-known[name], name))
    shown, others = shown[:MAX_CLASSES], shown[MAX_CLASSES:]
    bins = [_class(name, [name], counts, trained) for name in shown]
    if others:
        bins.append(_class(f"{OTHERS} ({len(others)})", others, counts, trained))
    return Distribution(title=title, values=total, bins=tuple(bins))


def _class(
    name: str, names: Sequence[str], counts: Counter[str], trained: Mapping[str, float]
) -> Bin:
    trained_share = sum(trained.get(one, 0.0) for one in names) if trained else None
    share = sum(counts[one] for one in names) / counts.total()
    return Bin(name=name, share=share, trained_share=trained_share)


# --- numbers


def of_numbers(
    title: str, numbers: Iterable[float], trained_quantiles: Sequence[float], *, is_whole: bool
) -> Distribution | None:
    """A histogram; None if there is no finite number. `is_whole`: numbers without decimals."""
    values = sorted(value for value in numbers if abs(value) < LARGEST)
    if not values:
        return None
    edges = _edges(*_extent(values, trained_quantiles), is_whole=is_whole)
    counts = _amounts(((value, value, 1.0) for value in values), edges)
    trained = _trained_shares(trained_quantiles, edges)
    bins = (
        Bin(low=low, high=high, share=count / len(values), trained_share=trained_share)
        for (low, high), count, trained_share in zip(pairwise(edges), counts, trained, strict=True)
    )
    left_out = len(values) - round(sum(counts))
    return Distribution(title=title, values=len(values), bins=tuple(bins), left_out=left_out)


def _extent(values: Sequence[float], trained_quantiles: Sequence[float]) -> tuple[float, float]:
    """From where to where it makes sense to look, by rising values and those of the training."""
    cuts = [values[0], values[-1]]
    if len(values) * TAIL >= 1:
        found = quantiles(values, n=round(1 / TAIL), method="inclusive")
        cuts = [found[0], found[-1]]
    inner, outer = [*cuts, *trained_quantiles[1:-1]], [values[0], values[-1], *trained_quantiles]
    low, high = min(inner), max(inner)
    margin = NEAR * (high - low)
    low = max(min(outer), low - margin)
    return low, min(max(outer), high + margin)


def _edges(low: float, high: float, *, is_whole: bool) -> list[float]:
    """Edges of bins of a round width that cover all from `low` to `high`."""
    extent = high - low or abs(low)
    width = _round_up(extent / MOST_BINS) if extent > LEAST else 1.0
    if is_whole:
        width = max(width, 1.0)
    first, behind = math.floor(low / width), math.floor(high / width) + 1
    # The last edge may be a value itself, as in 0 to 1.
    if behind - 1 > first and (behind - 1) * width == high:
        behind -= 1
    return [number * width for number in range(first, behind + 1)]


def _round_up(width: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(width))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= width * (1 - 1e-9))


def _trained_shares(found: Sequence[float], edges: Sequence[float]) -> Iterable[float | None]:
    if not found:
        return [None] * (len(edges) - 1)
    # As many predictions lie between any two neighbours among the quantiles.
    pieces = ((low, high, 1 / (len(found) - 1)) for low, high in pairwise(found))
    return _amounts(pieces, edges)


def _amounts(pieces: Iterable[tuple[float, float, float]], edges: Sequence[float]) -> list[float]:
    """What of these pieces lies in each bin; each has an amount, spread evenly from low to high.

    The last bin has its upper edge, too.
    """
    first, width = edges[0], (edges[-1] - edges[0]) / (len(edges) - 1)
    amounts = [0.0] * (len(edges) - 1)
    for low, high, amount in pieces:
        begin, end = (low - first) / width, (high - first) / width
        for number, part in _spread(begin, end, behind=len(amounts)):
            amounts[number] += amount * part
    return amounts


def _spread(begin: float, end: float, *, behind: int) -> Iterator[tuple[int, float]]:
    """Bins that a piece lies in, in widths of bins, and which part of it each has."""
    if begin == end:
        # What lies on an edge may lie beyond it by the last bit.
        if -1e-9 <= begin <= behind + 1e-9:
            yield min(max(0, int(begin)), behind - 1), 1.0
        return
    for number in range(max(0, math.floor(begin)), min(behind, math.ceil(end))):
        yield number, (min(end, number + 1) - max(begin, number)) / (end - begin)
