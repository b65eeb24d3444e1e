"""The figures of a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.chaos.auditor import Audit
from tests.chaos.client import Client, Crowd
from tests.chaos.jobs import ChaosJob
from tests.chaos.monkey import Monkey
from tests.chaos.watcher import Ended, Watcher

MAX_PROBLEMS_SHOWN = 25

MIN_ACCEPTED_SHARE = 0.5
"""Some clients give up on purpose, and some while the API is down; where most do, promises to the
few others were hardly tried."""


@dataclass(kw_only=True)
class Report:
    """What happened, and what of it must not have."""

    seed: int
    jobs: Sequence[ChaosJob]
    accepted_jobs: int = 0
    accepted_rows: int = 0
    ended: list[Ended] = field(default_factory=list)
    """Slowest first, by the time from creation to end."""
    settle_seconds: float = 0.0
    orphans: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    watched: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    """Of clients and watcher, in the midst of it."""
    audit: Audit = field(default_factory=Audit)
    logs: Path | None = None

    def take(self, *, client: Client, crowd: Crowd, watcher: Watcher, monkey: Monkey) -> None:
        """Add the figures of those who took part."""
        self.accepted_jobs = len(crowd.accepted)
        self.accepted_rows = sum(each.job.rows for each in crowd.accepted)
        self.ended = sorted(watcher.ended.values(), key=lambda each: -each.after_seconds)
        self.answers = client.answers
        self.watched = watcher.counts
        self.actions = monkey.actions
        self.complaints = crowd.complaints + watcher.complaints

    def problems(self) -> list[str]:
        """Everything that must not have happened; empty if the promises were kept."""
        rows = self.audit.rows
        broken = rows.lost or rows.duplicated or rows.wrong or rows.misplaced or self.audit.stuck
        figures = [self._verdict()] if broken or rows.right != self.accepted_rows else []
        if self.accepted_jobs < MIN_ACCEPTED_SHARE * len(self.jobs) or not self.actions.total():
            figures.append("too few jobs accepted, or nothing broken, for this to say anything")
        return figures + self.complaints + self.audit.complaints

    def _verdict(self) -> str:
        rows = self.audit.rows
        return (
            f"rows lost {rows.lost}, duplicated {rows.duplicated}, wrong {rows.wrong},"
            f" misplaced {rows.misplaced}; jobs stuck {self.audit.stuck}"
        )

    def __str__(self) -> str:
        problems = self.problems()
        middle = median([each.after_seconds for each in self.ended] or [0])
        slowest = ", ".join(
            f"{each.after_seconds:.1f} s (job {each.accepted.job.number},"
            f" {each.accepted.job.rows:,} rows)"
            for each in self.ended[:3]
        )
        lines = [
            f"seed {self.seed}: {self.accepted_jobs} of {len(self.jobs)} jobs accepted,"
            f" {self.accepted_rows:,} rows, {self.audit.rows.right:,} right",
            self._verdict(),
            f"creation to end: longest {slowest}; median {middle:.1f} s;"
            f" all ended {self.settle_seconds:.1f} s after the monkey",
            f"statuses: {dict(self.audit.statuses)}; promised to nobody: {self.audit.foreign}",
            f"answers to submissions: {dict(self.answers)}",
            f"watched: {dict(self.watched)}",
            f"starts: {self.starts}; orphaned worker processes at the end: {self.orphans}",
            f"monkey: {self.actions.total()} actions: {dict(self.actions.most_common())}",
            f"problems: {len(problems)}",
            *(f"  {problem}" for problem in problems[:MAX_PROBLEMS_SHOWN]),
        ]
        if self.logs:
            lines.append(f"logs: {self.logs}, first of all {self.logs / 'monkey.jsonl'}")
        return "\n".join(lines)
