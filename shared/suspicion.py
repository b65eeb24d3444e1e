"""Which rows of a chunk killed their process, told from the attempts that were lost.

An attempt that dies leaves the rows it was scoring under suspicion. They are cut into `WAYS` parts
that are scored one after the other, each noted before it begins, so that the next death points at
one of them. A single row is found guilty when it was being scored at `STRIKES` deaths, or at
`STRIKES_OF_ANY_KIND` losses in which its process may be innocent (a machine that vanished).

Pure: knows neither Redis nor models. It is a k-ary search; binary search would kill four times as
many processes, and a death costs far more than scoring a part.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

WAYS = 16
STRIKES = 2
STRIKES_OF_ANY_KIND = 4


class LossReason(StrEnum):
    """How an attempt was lost."""

    DIED = "died"
    """Its process ended while the worker lived: a signal, want of memory, a time limit."""
    VANISHED = "vanished"
    """Its whole worker fell silent."""
    OVERDUE = "overdue"
    """It did not end in time, and its worker lives."""


@dataclass(frozen=True, kw_only=True, order=True)
class Rows:
    """The rows of a chunk at the positions from `first` up to `behind`."""

    first: int
    behind: int

    def __len__(self) -> int:
        return self.behind - self.first

    def __str__(self) -> str:
        return f"{self.first}-{self.behind}"

    @classmethod
    def parse(cls, text: str) -> "Rows":
        first, _, behind = text.partition("-")
        return cls(first=int(first), behind=int(behind))

    def split(self) -> list["Rows"]:
        """Up to `WAYS` parts of about the same size; together they are these rows."""
        ways = min(WAYS, len(self))
        ends = [self.first + len(self) * way // ways for way in range(ways + 1)]
        return [Rows(first=a, behind=b) for a, b in pairwise(ends)]


@dataclass(frozen=True, kw_only=True)
class LostAttempt:
    """An attempt that was lost; `rows` is None if it was not scoring anything at that moment."""

    reason: LossReason
    rows: Rows | None


def parse_losses(text: str) -> list[LostAttempt]:
    """What the store notes of lost attempts: a line `reason rows` for each."""
    losses = []
    for line in text.splitlines():
        reason, _, rows = line.partition(" ")
        losses.append(
            LostAttempt(reason=LossReason(reason), rows=Rows.parse(rows) if rows else None)
        )
    return losses


class Suspicion:
    """What lost attempts say about the rows of one chunk."""

    def __init__(self, rows: int, losses: Sequence[LostAttempt]) -> None:
        self._all = Rows(first=0, behind=rows)
        suspects = [(loss.rows, loss.reason) for loss in losses if loss.rows is not None]
        self._losses = Counter(rows for rows, _ in suspects)
        self._deaths = Counter(rows for rows, reason in suspects if reason is LossReason.DIED)

    def parts(self) -> Iterator[Rows]:
        """The chunk in the parts to score, in order; every row is in exactly one."""
        return self._parts_of(self._all)

    def _parts_of(self, rows: Rows) -> Iterator[Rows]:
        if len(rows) == 1 or not self._losses[rows]:
            yield rows
            return
        for part in rows.split():
            yield from self._parts_of(part)

    def is_guilty(self, part: Rows) -> bool:
        """Whether a part is a row that is not to be scored again."""
        return len(part) == 1 and (
            self._deaths[part] >= STRIKES or self._losses[part] >= STRIKES_OF_ANY_KIND
        )
