"""Jobs of mixed sizes, made from a seed, each with the outcome every row must have."""

import math
from dataclasses import dataclass, field
from enum import StrEnum, auto

from tests.chaos import model
from tests.chaos.chance import seeded

MAX_ROWS = 50_000

CELLS_PER_JOB = 100_000
"""Each job has cells of its own, so a prediction in the wrong job or row is seen."""

MAX_POISONED_ROWS = 30
"""A poison row is found by letting processes die; in a small job that takes a few deaths only."""

MAX_HANGING_ROWS = 2
"""Each attempt on a hanging row takes the whole time limit of a chunk."""


BROKEN_ROWS = (15_000, MAX_ROWS)
"""Rows of half the jobs that break off: so many that the API has begun a job by then."""


class Manner(StrEnum):
    """How a client sends a job."""

    AT_ONCE = auto()
    SLOWLY = auto()
    """In pieces, seconds apart, so that the monkey meets uploads under way."""
    TWICE = auto()
    """Hangs up without reading the answer, then sends it again with the same key."""
    BROKEN = auto()
    """Stops in the middle of the body, sends it again with the same key, hangs up meanwhile."""
    ABANDONED = auto()
    """Hangs up in the middle of the body and never comes back: must not be accepted."""


MANNERS = {
    Manner.AT_ONCE: 60,
    Manner.SLOWLY: 20,
    Manner.TWICE: 8,
    Manner.BROKEN: 8,
    Manner.ABANDONED: 4,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row that can have no prediction: what stands in its cell, and the code it ends with."""

    cell: str
    code: str


BAD = Fault(cell=model.BAD_CELL, code="not_a_number")
REFUSED = Fault(cell=model.REFUSED_CELL, code="prediction_failed")
POISON = Fault(cell=model.POISON_CELL, code="row_crashed_worker")
HANGING = Fault(cell=model.HANGING_CELL, code="row_crashed_worker")


@dataclass(frozen=True, kw_only=True)
class ChaosJob:
    """A job before it is sent. Rows count from 1."""

    number: int
    rows: int
    key: str
    """Its Idempotency-Key."""
    manner: Manner = Manner.AT_ONCE
    upload_seconds: float = 0.0
    """How long it takes to send it slowly; 0: as chance will have it."""
    faults: dict[int, Fault] = field(default_factory=dict)

    def body(self) -> bytes:
        """The CSV; the same at every call."""
        first = self._cell(1)
        cells = list(map(str, range(first, first + self.rows)))
        for row, fault in self.faults.items():
            cells[row - 1] = fault.cell
        return ("x\n" + "\n".join(cells) + "\n").encode()

    def expected(self, row: int) -> tuple[float | None, str]:
        """Prediction and error code of a row: one of the two is empty."""
        if fault := self.faults.get(row):
            return None, fault.code
        return float(model.prediction(self._cell(row))), ""

    def expected_status(self) -> str:
        if not self.faults:
            return "succeeded"
        return "failed" if len(self.faults) == self.rows else "partially_succeeded"

    def _cell(self, row: int) -> int:
        return model.MIN_GOOD_CELL + self.number * CELLS_PER_JOB + row


def make_jobs(seed: int, count: int) -> list[ChaosJob]:
    """The jobs of a seed; sizes are log-uniform, so there are as many of 5 rows as of 5,000."""
    return [_make_job(seed, number) for number in range(count)]


def _make_job(seed: int, number: int) -> ChaosJob:
    chance = seeded("job", seed, number)
    manner = chance.choices(list(MANNERS), weights=list(MANNERS.values()))[0]
    rows = max(1, round(math.exp(chance.uniform(0, math.log(MAX_ROWS)))))
    if manner in {Manner.BROKEN, Manner.ABANDONED} and chance.random() < 0.5:
        rows = chance.randint(*BROKEN_ROWS)
    faults: dict[int, Fault] = {}
    if number % 50 == 4:
        rows = min(rows, chance.randint(1, MAX_HANGING_ROWS))
        faults = {chance.randint(1, rows): HANGING}
    elif number % 20 == 9:
        rows = min(rows, chance.randint(1, MAX_POISONED_ROWS))
        faults = {chance.randint(1, rows): POISON}
    elif chance.random() < 0.3:
        for _ in range(chance.randint(1, 6)):
            faults[chance.randint(1, rows)] = chance.choice([BAD, BAD, REFUSED])
    key = f"chaos-{seed}-{number}"
    return ChaosJob(number=number, rows=rows, key=key, manner=manner, faults=faults)
