"""What work costs, by least squares: seconds of processor time, and bytes of Redis' memory.

A component's cost is taken for a sum: so much for each job, for each call (a chunk, or small jobs
that are scored together) and for each row. The three can be told apart since the samples mix them
differently.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

COMPONENTS = ("api", "worker", "redis")
"""Each takes processor time."""

MEMORY = "memory"
"""What jobs leave behind in Redis until they expire, in bytes."""

CLIENT = "client"
"""Takes processor time, too, which is none of the service's."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """An amount of it."""

    jobs: float = 0.0
    calls: float = 0.0
    rows: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was measured of some work: seconds by component and CLIENT, and bytes by MEMORY."""

    name: str
    workers: int
    work: Work
    used: Mapping[str, float]
    seconds: float
    """By the clock, from the first request to the last answer."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one of each."""

    job: float
    call: float
    row: float

    def of(self, work: Work) -> float:
        return self.job * work.jobs + self.call * work.calls + self.row * work.rows


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of all components, and what they were fitted on."""

    by_component: Mapping[str, Cost]
    samples: Sequence[Sample]
    machine: str
    cores: int
    """Of that machine."""

    def __getitem__(self, component: str) -> Cost:
        return self.by_component[component]

    def total(self, work: Work) -> float:
        """Processor seconds of all components."""
        return sum(self[name].of(work) for name in COMPONENTS)

    def dump(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Costs":
        """What `dump` has written."""
        known = json.loads(path.read_text())
        return cls(
            by_component={name: Cost(**cost) for name, cost in known["by_component"].items()},
            samples=[Sample(**one | {"work": Work(**one["work"])}) for one in known["samples"]],
            machine=known["machine"],
            cores=known["cores"],
        )


def fitted(samples: Sequence[Sample], *, machine: str, cores: int) -> Costs:
    """The costs that miss the samples least, relative to each; none is less than nothing."""
    names = (*COMPONENTS, MEMORY)
    return Costs(
        by_component={name: _fitted(samples, name) for name in names},
        samples=samples,
        machine=machine,
        cores=cores,
    )


def _fitted(samples: Sequence[Sample], component: str) -> Cost:
    """Relative misses count, or the largest sample would decide alone."""
    known = [one for one in samples if one.used.get(component, 0.0) > 0]
    amounts = np.array([[one.work.jobs, one.work.calls, one.work.rows] for one in known])
    used = np.array([one.used[component] for one in known])
    weighted = amounts / used[:, None]
    if component == MEMORY:
        # What is kept knows nothing of calls.
        weighted[:, 1] = 0
    # Columns of like size: the solver's tolerance is one for all.
    scale = np.where(weighted.any(axis=0), weighted.max(axis=0), 1.0)
    found, _ = nnls(weighted / scale, np.ones(len(known)))
    job, call, row = map(float, found / scale)
    return Cost(job=job, call=call, row=row)
