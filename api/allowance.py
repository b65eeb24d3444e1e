"""What a sender may have done: so many jobs at a time, and so many rows."""

from dataclasses import dataclass
from typing import Protocol


class Quota(Protocol):
    """How many rows a sender may have scored."""

    def check(self, rows: int) -> None:
        """Raises RowQuotaExceededError if so many more would be too many."""

    def use(self, rows: int) -> None:
        """Count rows that are taken in. Raises RowQuotaExceededError, and counts none of them, if
        they are too many."""

    def give_back(self, rows: int) -> None:
        """Count these no more: they were not taken in. Called by any thread."""


class AnyNumber:
    """The quota of who has none."""

    def check(self, rows: int) -> None:
        pass

    def use(self, rows: int) -> None:
        pass

    def give_back(self, rows: int) -> None:
        pass


ANY_NUMBER = AnyNumber()


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a sender may have done."""

    most_in_flight: int = 0
    """So many of their jobs may be unfinished at a time; 0 for any number."""
    quota: Quota = ANY_NUMBER


UNLIMITED = Allowance()
