"""Costs are found again in what they made, and the simulation obeys the laws of queues."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capacity import report
from benchmarks.capacity.__main__ import MEASURED
from benchmarks.capacity.costs import COMPONENTS, MEMORY, Cost, Costs, Sample, Work, fitted
from benchmarks.capacity.scenarios import Scenario, ceiling, kept_bytes_per_second, needed
from benchmarks.capacity.simulation import MOST_JOBS, Demand, Fleet, Simulation

WORKS = (
    Work(jobs=500, calls=500, rows=2_500),
    Work(jobs=3_000, calls=400, rows=15_000),
    Work(jobs=500, calls=450, rows=500_000),
    Work(jobs=1, calls=25, rows=1_000_000),
)
costs_of = st.builds(Cost, job=st.floats(1e-5, 1e-2), call=st.just(1e-3), row=st.floats(1e-8, 1e-5))


def samples(cost: Cost) -> list[Sample]:
    """Work that takes exactly this in all respects, but for calls, which leave nothing behind."""
    kept = replace(cost, call=0.0)
    return [
        Sample(
            name=str(number),
            workers=2,
            work=work,
            used={**{name: cost.of(work) for name in COMPONENTS}, MEMORY: kept.of(work)},
            seconds=1.0,
        )
        for number, work in enumerate(WORKS)
    ]


def known_costs(**of: Cost) -> Costs:
    free = Cost(job=0.0, call=0.0, row=0.0)
    by_component = dict.fromkeys((*COMPONENTS, MEMORY), free) | of
    return Costs(by_component=by_component, samples=[], machine="none", cores=2)


@given(costs_of)
def test_costs_are_found_again(cost: Cost) -> None:
    found = fitted(samples(cost), machine="none", cores=2)
    for name in COMPONENTS:
        assert found[name].job == pytest.approx(cost.job, rel=1e-3)
        assert found[name].call == pytest.approx(cost.call, rel=1e-3)
        assert found[name].row == pytest.approx(cost.row, rel=1e-3)
    assert found[MEMORY].call == 0.0


def test_no_cost_is_less_than_nothing() -> None:
    cheap_rows = samples(Cost(job=1e-3, call=0.0, row=0.0))
    odd = replace(cheap_rows[0], used=dict.fromkeys((*COMPONENTS, MEMORY), 10.0))
    found = fitted([*cheap_rows, odd], machine="none", cores=2)
    for name in COMPONENTS:
        assert min(found[name].job, found[name].call, found[name].row) >= 0.0


def test_costs_survive_being_written(tmp_path: Path) -> None:
    costs = fitted(samples(Cost(job=1e-3, call=1e-3, row=1e-6)), machine="this one", cores=2)
    path = tmp_path / "costs.json"
    path.write_text(costs.dump())
    assert Costs.load(path) == costs


COSTS = known_costs(
    api=Cost(job=1e-3, call=0.0, row=0.0),
    worker=Cost(job=1e-4, call=2e-3, row=1e-6),
    redis=Cost(job=2e-4, call=4e-4, row=1e-7),
)


def test_a_job_that_comes_alone_takes_the_sum_of_its_steps() -> None:
    demand = Demand(jobs_per_second=0.5, rows_per_job=5, seconds=60)
    outcome = Simulation(COSTS, Fleet(api_processes=2, worker_processes=2), demand).run()
    one = Work(jobs=1, calls=1, rows=5)
    assert outcome.latency(0.5) == pytest.approx(COSTS.total(one), rel=1e-6)
    assert outcome.jobs_per_call == 1.0
    assert outcome.keeps_up


def test_what_is_busy_is_what_comes_times_what_it_takes() -> None:
    demand = Demand(jobs_per_second=400, rows_per_job=5, seconds=40)
    fleet = Fleet(api_processes=2, worker_processes=4)
    outcome = Simulation(COSTS, fleet, demand).run()
    assert outcome.busy["api"] == pytest.approx(400 * 1e-3 / 2, rel=0.1)
    expected = needed(COSTS, demand, jobs_per_call=outcome.jobs_per_call)
    assert outcome.busy["redis"] == pytest.approx(expected["redis"], rel=0.1)


def test_more_than_the_ceiling_is_not_kept_up_with() -> None:
    fleet = Fleet(api_processes=2, worker_processes=4)
    found = ceiling(COSTS, fleet, Work(jobs=1, calls=0, rows=5))
    assert found.first == "api"
    for share, keeps_up in ((0.8, True), (1.5, False)):
        demand = Demand(jobs_per_second=share * found.per_second, seconds=20)
        outcome = Simulation(COSTS, fleet, demand).run()
        assert outcome.keeps_up is keeps_up
        assert outcome.jobs_done <= found.per_second * demand.seconds * 1.05


def test_cores_that_all_share_bound_all_together() -> None:
    demand = Demand(jobs_per_second=5_000, rows_per_job=5, seconds=5)
    fleet = Fleet(api_processes=8, worker_processes=8, cores=2)
    outcome = Simulation(COSTS, fleet, demand).run()
    processes = {"api": 8, "worker": 8 + 1, "redis": 1}
    used = sum(outcome.busy[name] * processes[name] for name in COMPONENTS)
    assert used == pytest.approx(2, rel=0.05)


def test_a_busy_redis_makes_processes_take_more_together() -> None:
    demand = Demand(jobs_per_second=3_500, rows_per_job=5, seconds=5)
    outcome = Simulation(COSTS, Fleet(api_processes=16, worker_processes=100), demand).run()
    assert 1.5 < outcome.jobs_per_call <= MOST_JOBS


def test_bulk_leaves_a_process_to_small_jobs() -> None:
    slow = known_costs(worker=Cost(job=0.0, call=1.0, row=0.0))
    demand = Demand(jobs_per_second=0.5, bulk_rows_per_second=10e6, chunk_rows=100_000, seconds=100)
    outcome = Simulation(slow, Fleet(api_processes=1, worker_processes=2), demand).run()
    assert outcome.latency(0.99) < 6
    assert not outcome.keeps_up
    assert outcome.bulk_rows_done == pytest.approx(2 * 100 * 100_000, rel=0.05)


def test_what_is_kept_grows_with_jobs_and_rows() -> None:
    costs = known_costs(memory=Cost(job=2_000.0, call=0.0, row=30.0))
    demand = Demand(jobs_per_second=10, rows_per_job=5, bulk_rows_per_second=1_000)
    assert kept_bytes_per_second(costs, demand) == pytest.approx(10 * 2_000 + 1_050 * 30)


def test_the_same_seed_gives_the_same_run() -> None:
    demand = Demand(jobs_per_second=500, seconds=5)
    fleet = Fleet(api_processes=2, worker_processes=2)
    first, again = (Simulation(COSTS, fleet, demand, seed=3).run() for _ in range(2))
    other = Simulation(COSTS, fleet, demand, seed=4).run()
    assert first == again
    assert first != other


def test_the_page_has_the_tables_that_the_command_prints() -> None:
    costs = Costs.load(MEASURED)
    page = (Path(__file__).parents[3] / "docs/explanation/capacity.md").read_text()
    texts = (report.costs_text, report.fit_text, report.ceilings_text, report.simulated_text)
    for text in texts:
        assert text(costs) in page


def test_what_was_measured_is_reported() -> None:
    costs = Costs.load(MEASURED)
    assert {one.workers for one in costs.samples} >= {1, 2, 4}
    scenario = Scenario(
        title="a little",
        fleet=Fleet(api_processes=2, worker_processes=2),
        demand=Demand(jobs_per_second=10, seconds=2),
    )
    texts = (
        report.costs_text(costs),
        report.fit_text(costs),
        report.ceilings_text(costs),
        report.simulated_text(costs, [scenario]),
    )
    assert all(text.startswith("|") for text in texts)
    assert "a little" in texts[-1]
