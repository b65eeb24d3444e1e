"""What became of the rows of one job, compared with what should have."""

import csv
from dataclasses import dataclass, field

from tests.chaos.jobs import ChaosJob

MAX_EXAMPLES = 3


@dataclass(kw_only=True)
class Outcome:
    """Counts of rows. A row is right, wrong or lost; one that comes twice is duplicated, too."""

    right: int = 0
    wrong: int = 0
    lost: int = 0
    duplicated: int = 0
    misplaced: int = 0
    """Lines that do not stand in the order of the rows, or belong to no row."""
    examples: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.right += other.right
        self.wrong += other.wrong
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.misplaced += other.misplaced
        self.examples += other.examples

    def show(self, text: str) -> None:
        """Keep the first few of what is wrong."""
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(text)


def compare_results(job: ChaosJob, text: str) -> Outcome:
    """The results of a job, as CSV, against its expected rows."""
    outcome = Outcome()
    header, *lines = text.split("\n")
    if header != "row,prediction,error":
        outcome.show(f"the header is {header!r}")
    if lines and not lines[-1]:
        lines.pop()
    seen = [False] * job.rows
    last_row = 0
    for line in lines:
        try:
            row_text, prediction, code = line.split(",")
            row = int(row_text)
            value = float(prediction) if prediction else None
        except ValueError:
            outcome.misplaced += 1
            outcome.show(f"a line that is none: {line!r}")
            continue
        if not 1 <= row <= job.rows:
            outcome.misplaced += 1
            outcome.show(f"a row that was not sent: {line!r}")
            continue
        if seen[row - 1]:
            outcome.duplicated += 1
            outcome.show(f"a row that came before: {line!r}")
            continue
        seen[row - 1] = True
        outcome.misplaced += row < last_row
        last_row = row
        if (value, code) == job.expected(row):
            outcome.right += 1
        else:
            outcome.wrong += 1
            outcome.show(f"{line!r} should be {job.expected(row)}")
    outcome.lost = seen.count(False)
    if outcome.lost:
        outcome.show(f"lost rows begin with {seen.index(False) + 1}")
    return outcome


def compare_errors(job: ChaosJob, text: str) -> list[str]:
    """What is wrong with the row errors of a job, as CSV."""
    found = [
        (int(error["row"]), int(error["line"]), error["code"])
        for error in csv.DictReader(text.splitlines())
    ]
    wanted = [(row, row + 1, fault.code) for row, fault in sorted(job.faults.items())]
    return [] if found == wanted else [f"row errors are {found[:5]}, not {wanted[:5]}"]
