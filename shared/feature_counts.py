"""What rows show of a model's features, counted: sums that may be added in any order."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MAX_FEATURES = 256
"""Of a wider model the first are counted: the sums are in the job's record, which is read whole."""

MISSING, BELOW, ABOVE, UNSEEN = "missing", "below", "above", "unseen"
"""What is counted of a feature besides its bins: cells without a value, numbers below and above the
bounds of the sample that its model was published with, texts that are not among its categories."""

_SUM = re.compile(r"(\S+) (\d+)")


def name_of(feature: int, what: str) -> str:
    """What a sum is called. `feature`: its position in the signature."""
    return f"{feature}:{what}"


def bin_of(feature: int, number: int) -> str:
    """What the sum of a bin is called."""
    return name_of(feature, f"bin{number}")


@dataclass(frozen=True, kw_only=True)
class FeatureCounts:
    """What some rows show."""

    seen: int = 0
    """Rows that were looked at."""
    rows: int = 0
    """Rows that they stand for; the sums count these."""
    sums: Mapping[str, int] = field(default_factory=dict)
    """By `name_of`; those that are 0 may be left out."""

    def __add__(self, other: "FeatureCounts") -> "FeatureCounts":
        sums = dict(self.sums)
        for name, count in other.sums.items():
            sums[name] = sums.get(name, 0) + count
        return FeatureCounts(seen=self.seen + other.seen, rows=self.rows + other.rows, sums=sums)

    def dump(self) -> str:
        """As the store keeps and adds them: names and counts by turns. Empty for no rows."""
        if not self.seen:
            return ""
        sums = "".join(f" {name} {count}" for name, count in self.sums.items())
        return f"seen {self.seen} rows {self.rows}{sums}"

    @classmethod
    def parse(cls, text: str) -> "FeatureCounts":
        sums = {name: int(count) for name, count in _SUM.findall(text)}
        return cls(seen=sums.pop("seen", 0), rows=sums.pop("rows", 0), sums=sums)

    def share(self, feature: int, what: str) -> float:
        """Of the rows."""
        return self.sums.get(name_of(feature, what), 0) / self.rows if self.rows else 0.0

    def bins(self, feature: int, bins: int) -> list[int]:
        """How many rows fell into each of so many bins."""
        return [self.sums.get(bin_of(feature, number), 0) for number in range(bins)]


NOTHING_SEEN = FeatureCounts()


@lru_cache(maxsize=1024)
def plain(rows: int) -> FeatureCounts:
    """So many rows that show nothing to be counted, as those of most small jobs do."""
    return FeatureCounts(seen=rows, rows=rows)
