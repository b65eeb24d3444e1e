"""How the rows of a job compare with those that its model was trained on, feature by feature.

Workers count (`feature_counts.py`), the store adds, the API compares.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from shared.errors import quoted
from shared.feature_counts import ABOVE, BELOW, MAX_FEATURES, MISSING, UNSEEN, FeatureCounts
from shared.signature import Feature, Signature
from shared.statistics import FeatureStatistics, TrainingStatistics

MIN_PSI_ROWS = 500
"""Of fewer rows a PSI is mostly noise: with ten bins it is 9 / rows on average where nothing has
changed."""

OUTSIDE_SHARE = 0.05
MISSING_EXCESS = 0.1
LARGE_PSI = 0.2
"""From here a feature is warned of: rows outside of the sample's bounds; missing ones beyond the
share that the sample has; a PSI that practice calls large (0.2 or 0.25). Of texts that no training
row had a single one is enough: the model knows nothing of them."""

CHANCE = 1e-4
"""And only if rows like those of the sample would show it so rarely. Otherwise a handful of rows,
or a model published with a handful, would warn all the time."""

EMPTY_BIN_SHARE = 1e-4
"""What an empty bin counts as: the logarithm of nothing is infinite."""

MAX_WARNINGS = 20
"""Who reads more of them reads none; the job's features have all."""


def expected_shares(statistics: FeatureStatistics) -> tuple[float, ...]:
    """Shares of the sample's values in the bins: of numbers between the deciles, of texts by
    category and, last, of all others. Empty for what has no bins."""
    if statistics.categories:
        shares = tuple(statistics.categories.values())
        return (*shares, max(0.0, 1 - sum(shares)))
    return statistics.shares


def psi(expected: Sequence[float], found: Sequence[float]) -> float:
    """Population stability index of shares in bins: Σ (found - expected) · ln(found / expected).

    0 where nothing has changed. Source: N. Siddiqi, Credit Risk Scorecards (2006), ch. 8.
    """
    pairs = [
        (max(e, EMPTY_BIN_SHARE), max(f, EMPTY_BIN_SHARE))
        for e, f in zip(expected, found, strict=True)
    ]
    return sum((f - e) * math.log(f / e) for e, f in pairs)


def psi_of_chance(bins: int, *, sample_rows: float, rows: float) -> float:
    """The PSI that two samples of the same rows hardly ever exceed.

    It is (1/n + 1/m) times a chi-squared variable with bins - 1 degrees of freedom: B. Yurdakul,
    Statistical Properties of Population Stability Index (Western Michigan University, 2018). Its
    quantile is that of Wilson and Hilferty (1931).
    """
    degrees = max(1, bins - 1)
    spread = 2 / (9 * degrees)
    deviations = NormalDist().inv_cdf(1 - CHANCE)
    quantile: float = degrees * (1 - spread + deviations * math.sqrt(spread)) ** 3
    return (1 / sample_rows + 1 / rows) * quantile


def is_beyond_chance(share: float, *, rows: int, expected: float) -> bool:
    """Whether so large a share of so many rows is rarer than `CHANCE` where `expected` is usual.

    By Chernoff's bound on the tail of a binomial distribution: exp(-rows · D(share ‖ expected)).
    """
    if share <= expected:
        return False
    if expected <= 0:
        return True
    distance = share * math.log(share / expected)
    if share < 1:
        distance += (1 - share) * math.log((1 - share) / (1 - expected))
    return rows * distance > -math.log(CHANCE)


class Finding(NamedTuple):
    """Something to be warned of."""

    weight: float
    """The share of rows it is about, more or less; of a PSI itself, at most 1."""
    text: str


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """One feature as a job's rows show it, beside what the model was trained on."""

    name: str
    missing: float
    """Share of rows, as are `outside` and `unseen`."""
    missing_in_training: float | None
    """None if the model was published without statistics."""
    outside: float | None
    """None where the signature has no bounds."""
    unseen: float | None
    """None where the signature has no categories."""
    psi: float | None
    """None where there are no bins, or too few rows were put into them."""
    findings: tuple[Finding, ...]


def compare(
    counts: FeatureCounts, signature: Signature, statistics: TrainingStatistics | None
) -> list[FeatureDrift]:
    """The features that are counted, in the order of the signature."""
    features = signature.features[:MAX_FEATURES]
    known = statistics.features if statistics else (None,) * len(features)
    rows = statistics.rows if statistics else 0
    return [
        _Comparison(number, feature, counts, trained, rows).drift()
        for number, (feature, trained) in enumerate(zip(features, known, strict=False))
    ]


FREE_TEXT_ROWS = 20
"""Of fewer rows nobody can tell whether a column holds categories or free text."""


def warnings(
    counts: FeatureCounts, signature: Signature, statistics: TrainingStatistics | None
) -> list[str]:
    """A sentence for each finding, the most serious ones first, and at last how many more."""
    if not counts.sums:
        return []
    drifts = compare(counts, signature, statistics)
    found = sorted((f for drift in drifts for f in drift.findings), key=lambda f: -f.weight)
    texts = [finding.text for finding in found[:MAX_WARNINGS]]
    if more := len(found) - len(texts):
        texts.append(f"And {more} more findings like these; see the job's features.")
    return texts


@dataclass(frozen=True)
class _Comparison:
    """What is known of one feature, to be compared."""

    number: int
    feature: Feature
    counts: FeatureCounts
    trained: FeatureStatistics | None
    sample_rows: int

    def drift(self) -> FeatureDrift:
        has_bounds = None not in (self.feature.minimum, self.feature.maximum)
        has_categories = self.feature.categories is not None
        missing = self._share(MISSING)
        outside = self._share(BELOW) + self._share(ABOVE) if has_bounds else None
        unseen = self._share(UNSEEN) if has_categories else None
        found_psi, chance = self._psi()
        # What lies outside, or was never seen, shifts the distribution, too: that is no more news.
        shifts = [
            *self._outside_findings(outside or 0.0),
            *self._unseen_findings(unseen or 0.0),
        ] or self._psi_findings(found_psi or 0.0, chance)
        return FeatureDrift(
            name=self.feature.name,
            missing=missing,
            missing_in_training=self.trained.missing if self.trained else None,
            outside=outside,
            unseen=unseen,
            psi=found_psi,
            findings=(*shifts, *self._missing_findings(missing)),
        )

    def _share(self, what: str) -> float:
        return self.counts.share(self.number, what)

    def _psi(self) -> tuple[float | None, float]:
        """The PSI, if there is one, and what chance would make of it."""
        expected = expected_shares(self.trained) if self.trained else ()
        bins = self.counts.bins(self.number, len(expected))
        binned = sum(bins)
        seen = self.counts.seen * binned / self.counts.rows if binned else 0.0
        if not expected or seen < MIN_PSI_ROWS:
            return None, 0.0
        chance = psi_of_chance(len(expected), sample_rows=self._known_rows(), rows=seen)
        return psi(expected, [count / binned for count in bins]), chance

    def _known_rows(self) -> float:
        """Rows of the sample that had a value; at least one, or it would have no bins."""
        missing = self.trained.missing if self.trained else 0.0
        return max(1.0, self.sample_rows * (1 - missing))

    # --- findings

    def _outside_findings(self, share: float) -> Iterator[Finding]:
        # Of one more row like those n of a sample, each end is passed with a chance of 1 / (n + 1).
        expected = 2 / (self._known_rows() + 1) if self.sample_rows else 0.0
        if share > OUTSIDE_SHARE and self._is_beyond_chance(share, expected):
            low, high = self.feature.minimum, self.feature.maximum
            yield Finding(
                share,
                f"{self._column}: {_percent(share)} of the rows lie outside of what the model was "
                f"trained on ({low:g} to {high:g}).",
            )

    def _unseen_findings(self, share: float) -> Iterator[Finding]:
        if share and not self._is_free_text():
            yield Finding(
                share,
                f"{self._column}: {_percent(share)} of the rows hold a text that the model was "
                "never trained on.",
            )

    def _is_free_text(self) -> bool:
        """Whether most texts of the sample are there once: then new ones are what to expect."""
        rows, known = self._known_rows(), len(self.feature.categories or ())
        return rows >= FREE_TEXT_ROWS and 2 * known > rows

    def _missing_findings(self, share: float) -> Iterator[Finding]:
        in_training = self.trained.missing if self.trained else 0.0
        # Laplace's rule: of what no row of a sample had, the next one may well have some.
        expected = (in_training * self.sample_rows + 1) / (self.sample_rows + 2)
        excess = share - in_training
        if self.trained and excess > MISSING_EXCESS and self._is_beyond_chance(share, expected):
            yield Finding(
                excess,
                f"{self._column} is missing in {_percent(share)} of the rows; in training it was "
                f"in {_percent(in_training)}.",
            )

    def _psi_findings(self, found: float, chance: float) -> Iterator[Finding]:
        if found >= LARGE_PSI and found > chance:
            yield Finding(
                min(1.0, found),
                f"{self._column} is distributed otherwise than in training: its population "
                f"stability index is {found:.2f}, and {LARGE_PSI:g} is large.",
            )

    def _is_beyond_chance(self, share: float, expected: float) -> bool:
        return is_beyond_chance(share, rows=self.counts.seen, expected=expected)

    @property
    def _column(self) -> str:
        return f"Column {quoted(self.feature.name)}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
