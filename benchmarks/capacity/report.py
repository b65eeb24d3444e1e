"""What was fitted, how well, and what it says, as Markdown."""

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.capacity.costs import CLIENT, COMPONENTS, MEMORY, Costs, Sample, Work
from benchmarks.capacity.scenarios import (
    DAY,
    HUNDRED,
    SCENARIOS,
    Ceiling,
    Scenario,
    ceiling,
    kept_bytes_per_second,
)
from benchmarks.capacity.simulation import Fleet, Simulation
from benchmarks.report import table

API_PROCESSES = 2
"""Of the stack that is measured."""

CHUNK_ROWS = 40_000
SMALL_ROWS = 5
TOGETHER = 8
"""Small jobs of a call when there are many of them."""


def costs_text(costs: Costs) -> str:
    """A line for each component."""
    lines = [
        [
            name,
            f"{costs[name].job * 1e6:.0f}",
            f"{costs[name].call * 1e6:.0f}",
            f"{costs[name].row * 1e6:.3f}",
        ]
        for name in COMPONENTS
    ]
    memory = costs[MEMORY]
    lines.append(["Redis' memory, bytes", f"{memory.job:.0f}", "–", f"{memory.row:.1f}"])
    return table(("processor time, µs", "a job", "a call", "a row"), lines)


def fit_text(costs: Costs) -> str:
    """What the samples took by the model, as a share of what was measured; and by the clock."""
    lines = []
    for samples in _alike(costs.samples):
        first = samples[0]
        misses = [_median_share(costs, samples, name) for name in (*COMPONENTS, MEMORY)]
        lines.append([str(first.workers), first.name, *misses, _clock_share(costs, samples)])
    head = ("processes", "work", *COMPONENTS, "memory", "by the clock")
    return table(head, lines)


def _alike(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Samples of the same work on the same stack, of all rounds."""
    kinds = dict.fromkeys((one.workers, one.name) for one in samples)
    for kind in kinds:
        yield [one for one in samples if (one.workers, one.name) == kind]


def _median_share(costs: Costs, samples: Sequence[Sample], component: str) -> str:
    shares = [
        costs[component].of(one.work) / one.used[component]
        for one in samples
        if one.used.get(component, 0.0) > 0
    ]
    return f"{median(shares):.2f}" if shares else "–"


def _clock_share(costs: Costs, samples: Sequence[Sample]) -> str:
    return f"{median(predicted_seconds(costs, one) / one.seconds for one in samples):.2f}"


def predicted_seconds(costs: Costs, sample: Sample) -> float:
    """How long the work takes if something is busy all the time."""
    fleet = Fleet(api_processes=API_PROCESSES, worker_processes=sample.workers, cores=costs.cores)
    client = sample.used.get(CLIENT, 0.0)
    return 1 / ceiling(costs, fleet, sample.work, client_seconds=client).per_second


def ceilings_text(costs: Costs) -> str:
    """What fleets can do at most."""
    fleets = {
        f"one machine of {costs.cores} cores": Fleet(
            api_processes=API_PROCESSES, worker_processes=2, cores=costs.cores
        ),
        "10 workers, 4 API processes": Fleet(api_processes=4, worker_processes=20, workers=10),
        "100 workers, 32 API processes": HUNDRED,
    }
    small = Work(jobs=1, calls=1 / TOGETHER, rows=SMALL_ROWS)
    bulk = Work(calls=1, rows=CHUNK_ROWS)
    lines = [
        [
            title,
            _ceiling_text(ceiling(costs, fleet, small), 1),
            _ceiling_text(ceiling(costs, fleet, bulk), CHUNK_ROWS),
        ]
        for title, fleet in fleets.items()
    ]
    return table(("fleet", f"jobs/s of {SMALL_ROWS} rows", "rows/s of huge jobs"), lines)


def _ceiling_text(found: Ceiling, times: int) -> str:
    return f"{_rounded(found.per_second * times):,} ({found.first})"


def _rounded(value: float) -> int:
    """To two digits: the model knows no more."""
    digits = max(0, len(str(int(value))) - 2)
    return int(round(value, -digits))


def simulated_text(costs: Costs, scenarios: Sequence[Scenario] = SCENARIOS) -> str:
    """What becomes of each scenario."""
    head = ("scenario", "keeps up", "p50 ms", "p99 ms", *COMPONENTS, "jobs a call", "Redis a day")
    return table(head, [_simulated(costs, scenario) for scenario in scenarios])


def _simulated(costs: Costs, scenario: Scenario) -> list[str]:
    outcome = Simulation(costs, scenario.fleet, scenario.demand).run()
    has_jobs = bool(outcome.latencies_seconds)
    grows = kept_bytes_per_second(costs, scenario.demand) * DAY / 1e9
    return [
        scenario.title,
        "yes" if outcome.keeps_up else "no",
        *(f"{outcome.latency(q) * 1000:.0f}" if has_jobs else "–" for q in (0.5, 0.99)),
        *(f"{outcome.busy[name]:.1%}" for name in COMPONENTS),
        f"{outcome.jobs_per_call:.1f}" if has_jobs else "–",
        f"{grows:,.0f} GB",
    ]
