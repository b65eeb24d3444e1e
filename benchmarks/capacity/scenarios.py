"""How much a fleet can do by its costs alone, and the questions that the capacity page answers."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.capacity.costs import COMPONENTS, MEMORY, Costs, Work
from benchmarks.capacity.simulation import Demand, Fleet

DAY = 86_400.0

MACHINE = "cores"
"""What is busy first where all components share a machine."""


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most of something that a fleet can do in a second, and what is busy then."""

    per_second: float
    first: str


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A question: does this fleet bear this demand?"""

    title: str
    fleet: Fleet
    demand: Demand


def ceiling(costs: Costs, fleet: Fleet, work: Work, *, client_seconds: float = 0.0) -> Ceiling:
    """How often a second this work can be done. `client_seconds`: what it costs the client, which
    counts where it shares the machine's cores."""
    servers = {
        "api": fleet.api_processes,
        "worker": fleet.worker_processes,
        "redis": fleet.redis_servers,
    }
    rates = {name: servers[name] / max(costs[name].of(work), 1e-12) for name in COMPONENTS}
    if fleet.cores is not None:
        rates[MACHINE] = fleet.cores / (costs.total(work) + client_seconds)
    first = min(rates, key=lambda name: rates[name])
    return Ceiling(per_second=rates[first], first=first)


def work_of(demand: Demand, *, jobs_per_call: float) -> Work:
    """What comes in a second."""
    chunks = demand.bulk_rows_per_second / demand.chunk_rows
    return Work(
        jobs=demand.jobs_per_second,
        calls=demand.jobs_per_second / max(1.0, jobs_per_call) + chunks,
        rows=demand.jobs_per_second * demand.rows_per_job + demand.bulk_rows_per_second,
    )


def needed(costs: Costs, demand: Demand, *, jobs_per_call: float) -> Mapping[str, float]:
    """Processes of each component that would be busy all the time."""
    work = work_of(demand, jobs_per_call=jobs_per_call)
    return {name: costs[name].of(work) for name in COMPONENTS}


def kept_bytes_per_second(costs: Costs, demand: Demand) -> float:
    """By which Redis grows until the first jobs expire."""
    return costs[MEMORY].of(work_of(demand, jobs_per_call=1.0))


HUNDRED = Fleet(api_processes=32, worker_processes=200, workers=100)
"""A hundred workers of two processes, and enough processes of the API for them."""

SCENARIOS = (
    Scenario(
        title="1 billion rows a day in huge jobs; one worker",
        fleet=Fleet(api_processes=2, worker_processes=2),
        demand=Demand(bulk_rows_per_second=1e9 / DAY, seconds=600),
    ),
    Scenario(
        title="1 billion rows a day in jobs of 5 rows; 2 workers, 8 API processes",
        fleet=Fleet(api_processes=8, worker_processes=4, workers=2),
        demand=Demand(jobs_per_second=1e9 / DAY / 5, seconds=10),
    ),
    Scenario(
        title="10,000 jobs/s of 5 rows; 100 workers, 32 API processes",
        fleet=HUNDRED,
        demand=Demand(jobs_per_second=10_000, seconds=5),
    ),
    Scenario(
        title="the same as 8 services side by side, each with a Redis",
        fleet=Fleet(api_processes=32, worker_processes=200, workers=100, redis_servers=8),
        demand=Demand(jobs_per_second=10_000, seconds=5),
    ),
    Scenario(
        title="3 million rows/s in huge jobs; 100 workers, 32 API processes",
        fleet=HUNDRED,
        demand=Demand(bulk_rows_per_second=3e6, seconds=20),
    ),
    Scenario(
        title="1,000 jobs/s of 5 rows beside 1 million rows/s; 10 workers, 8 API processes",
        fleet=Fleet(api_processes=8, worker_processes=20, workers=10),
        demand=Demand(jobs_per_second=1_000, bulk_rows_per_second=1e6, seconds=10),
    ),
)
