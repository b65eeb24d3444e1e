"""What rows show of a model's features, counted while they are scored, on a sample of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from shared.drift import MIN_PSI_ROWS
from shared.feature_counts import (
    ABOVE,
    BELOW,
    MAX_FEATURES,
    MISSING,
    NOTHING_SEEN,
    UNSEEN,
    FeatureCounts,
    bin_of,
    name_of,
    plain,
)
from shared.jobs import Lane
from shared.signature import Dtype, Feature, Signature
from shared.statistics import FeatureStatistics, TrainingStatistics
from worker.cells import BOOLEANS, NUMERIC

SAMPLE_ROWS = 1_000
"""Of a larger chunk one row of every k is counted, so that at least so many are: shares are known
to a few hundredths then, and the time doesn't grow with the chunk."""

SAMPLE_CELLS = 100_000
"""But of wide tables fewer rows, since it is cells that cost time; never too few for a PSI."""

Numbers = npt.NDArray[np.float64]
Sample = slice | npt.NDArray[np.int64]
"""Which rows of a chunk."""

ALL = slice(None)


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows as they were read, before those with faults were set aside."""

    numbers: Numbers
    """The numeric features, in the order of the signature."""
    table: pd.DataFrame
    """All features."""

    def part(self, first: int, behind: int) -> "Cells":
        return Cells(numbers=self.numbers[first:behind], table=self.table[first:behind])


def counts_bins(lane: Lane, rows: int) -> bool:
    """Whether the values of a job's chunk are put into bins. A small job is over too soon for it,
    and has too few of them."""
    return lane is Lane.BULK or rows >= MIN_PSI_ROWS


@lru_cache(maxsize=16)
def _sample(rows: int, step: int) -> Sample:
    """One row of every `step`, by chance and each time the same.

    Each `step`-th would be wrong where the rows have an order that repeats, as shops by days.
    """
    if step == 1:
        return ALL
    firsts = np.arange(0, rows, step)
    return firsts + np.random.default_rng(rows).integers(0, np.minimum(step, rows - firsts))


class FeatureCounter:
    """Counts for one model version. Made once, since small jobs have no time to make it."""

    def __init__(self, signature: Signature, statistics: TrainingStatistics | None) -> None:
        features = signature.features[:MAX_FEATURES]
        known = (
            statistics.features if statistics else [FeatureStatistics(missing=0)] * len(features)
        )
        described = list(enumerate(zip(features, known, strict=False)))
        self._numbers = _Numbers([d for d in described if d[1][0].dtype in NUMERIC])
        self._texts = [
            _Texts(number, feature, trained)
            for number, (feature, trained) in described
            if feature.dtype not in NUMERIC
        ]
        most = SAMPLE_CELLS // max(1, len(features))
        self._sample_rows = max(MIN_PSI_ROWS, min(SAMPLE_ROWS, most))

    def count(self, cells: Cells, *, with_bins: bool) -> FeatureCounts:
        """What a chunk's rows show."""
        rows = len(cells.numbers)
        if not with_bins:
            return self.count_each(cells, [rows])[0]
        if not rows:
            return NOTHING_SEEN
        step = max(1, rows // self._sample_rows)
        sample = _sample(rows, step)
        found = chain(
            self._numbers.binned(cells.numbers[sample]),
            *(text.binned(text.of(cells.table, sample)) for text in self._texts),
        )
        seen = -(-rows // step)
        sums = {name: count * step for name, count in found if count and name}
        return FeatureCounts(seen=seen, rows=seen * step, sums=sums)

    def count_each(self, cells: Cells, rows: Sequence[int]) -> list[FeatureCounts]:
        """What the rows of each of several jobs show, which follow one another. No bins, but for a
        job that has enough rows for them.
        """
        starts = [0, *accumulate(rows)]
        odd: dict[int, dict[str, int]] = {}
        for name, job, count in self._oddities(cells, starts):
            odd.setdefault(job, {})[name] = count
        counts = [
            FeatureCounts(seen=count, rows=count, sums=odd[job]) if job in odd else plain(count)
            for job, count in enumerate(rows)
        ]
        if len(rows) > 1 and max(rows) >= MIN_PSI_ROWS:
            for job, count in enumerate(rows):
                if count >= MIN_PSI_ROWS:
                    part = cells.part(starts[job], starts[job + 1])
                    counts[job] = self.count(part, with_bins=True)
        return counts

    def _oddities(self, cells: Cells, starts: Sequence[int]) -> Iterator[tuple[str, int, int]]:
        """Names of sums, the jobs they are about, and what they are there."""
        yield from self._numbers.oddities(cells.numbers, starts)
        for text in self._texts:
            yield from text.oddities(text.of(cells.table), starts)


Described = tuple[int, tuple[Feature, FeatureStatistics]]
"""A feature with its position in the signature."""


class _Numbers:
    """The numeric features."""

    def __init__(self, described: Sequence[Described]) -> None:
        self._low = np.array([_or(f.minimum, -np.inf) for _, (f, _) in described])
        self._high = np.array([_or(f.maximum, np.inf) for _, (f, _) in described])
        self._names = [
            [name_of(number, what) for number, _ in described] for what in (MISSING, BELOW, ABOVE)
        ]
        edges = [trained.edges for _, (_, trained) in described]
        most = max(map(len, edges), default=0)
        # Rows of one array have one length. Between an edge and itself there is nothing.
        padded = [(*(own or (np.inf,))[:1] * (most - len(own)), *own) for own in edges]
        self._marks = np.column_stack(
            [
                np.nextafter(self._low, -np.inf),
                np.array(padded).reshape(len(edges), most),
                self._high,
                np.full(len(edges), np.inf),
            ]
        )
        bins = [
            _spread([bin_of(number, i) for i in range(len(own) + 1)] if own else [], most + 1)
            for (number, _), own in zip(described, edges, strict=True)
        ]
        parts = zip(*self._names, bins, strict=True)
        self._all_names = [name for *names, own in parts for name in (*names, *own)]

    def binned(self, numbers: Numbers) -> Iterator[tuple[str, int]]:
        """All sums."""
        columns = np.sort(numbers[:, : len(self._marks)].T, axis=1)
        # Sorted, a feature gives all of its counts by one search. NaN is sorted behind infinity.
        up_to: npt.NDArray[np.int64] = np.empty(self._marks.shape, dtype=np.int64)
        for number, column in enumerate(columns):
            up_to[number] = column.searchsorted(self._marks[number], side="right")
        known = up_to[:, -1]
        counts = np.empty((len(up_to), up_to.shape[1] + 1), dtype=np.int64)
        counts[:, 0] = len(numbers) - known
        counts[:, 1] = up_to[:, 0]
        counts[:, 2] = known - up_to[:, -2]
        # The bins: up to the first edge, from each to the next, and beyond the last.
        counts[:, 3] = up_to[:, 1]
        counts[:, 4:-1] = up_to[:, 2:-2] - up_to[:, 1:-3]
        counts[:, -1] = known - up_to[:, -3]
        return zip(self._all_names, counts.ravel().tolist(), strict=True)

    def oddities(self, numbers: Numbers, starts: Sequence[int]) -> Iterator[tuple[str, int, int]]:
        """As `FeatureCounter._oddities`; mostly none, which is told by one look at all cells."""
        values = numbers[:, : len(self._low)]
        if not values.size:
            return
        # NaN is the least and the greatest of its column, and lies nowhere.
        is_inside = (values.min(axis=0) >= self._low) & (values.max(axis=0) <= self._high)
        if is_inside.all():
            return
        odd = np.flatnonzero(~is_inside)
        values = values[:, odd]
        masks = (np.isnan(values), values < self._low[odd], values > self._high[odd])
        for names, mask in zip(self._names, masks, strict=True):
            if not mask.any():
                continue
            counts = np.add.reduceat(mask, starts[:-1], axis=0, dtype=np.int64)
            jobs, features = np.nonzero(counts)
            found = counts[jobs, features].tolist()
            odd_features = odd[features].tolist()
            for job, feature, count in zip(jobs.tolist(), odd_features, found, strict=True):
                yield names[feature], job, count


def _spread(names: Sequence[str], width: int) -> list[str]:
    """The names of so many bins, of which those behind the first may be no bins."""
    return [*names[:1], *[""] * (width - len(names)), *names[1:]]


def _or(bound: float | None, default: float) -> float:
    return default if bound is None else bound


class _Texts:
    """A feature of texts or of booleans."""

    def __init__(self, number: int, feature: Feature, trained: FeatureStatistics) -> None:
        self._name = feature.name
        self._is_boolean = feature.dtype is Dtype.BOOL
        self._missing = name_of(number, MISSING)
        self._unseen = name_of(number, UNSEEN)
        self._categories = None if feature.categories is None else frozenset(feature.categories)
        self._bins = {text: bin_of(number, i) for i, text in enumerate(trained.categories)}
        self._others = bin_of(number, len(self._bins))

    def of(self, table: pd.DataFrame, sample: Sample = ALL) -> list[Any]:
        """The feature's cells in these rows: texts, and something else for a missing one."""
        return table[self._name].iloc[sample].tolist()

    def binned(self, cells: Sequence[Any]) -> Iterable[tuple[str, int]]:
        """All sums."""
        found: Counter[str] = Counter()
        for cell, count in Counter(cells).items():
            for name in self._sums_of(cell):
                found[name] += count
            if self._bins and isinstance(cell, str) and (value := self._value(cell)):
                found[self._bins.get(value, self._others)] += count
        return found.items()

    def oddities(
        self, cells: Sequence[Any], starts: Sequence[int]
    ) -> Iterator[tuple[str, int, int]]:
        """As `FeatureCounter._oddities`."""
        odd = {cell: names for cell in set(cells) if (names := self._sums_of(cell))}
        if not odd:
            return
        for job, (first, behind) in enumerate(pairwise(starts)):
            found = Counter(name for cell in cells[first:behind] for name in odd.get(cell, ()))
            for name, count in found.items():
                yield name, job, count

    def _sums_of(self, cell: Any) -> tuple[str, ...]:
        """Names of the sums that a cell counts in, besides its bin."""
        if not isinstance(cell, str):
            return (self._missing,)
        if self._categories is not None and cell not in self._categories:
            return (self._unseen,)
        return ()

    def _value(self, cell: str) -> str:
        """What a cell says, as the statistics write it; empty for a boolean that is none."""
        if not self._is_boolean:
            return cell
        value = BOOLEANS.get(cell.lower())
        return "" if value is None else str(value).lower()
