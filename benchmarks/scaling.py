"""One, two and four worker processes, each with a stack of its own: `python -m benchmarks.scaling`.

Prints what rows and jobs cost each component in CPU time, and how many cores each would need for
ten times the jobs. With more processes than cores it shows what oversubscription costs.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import machine, models, workloads
from benchmarks.checks import WrongResultError
from benchmarks.contenders import rowmill
from benchmarks.figures import Measurement, Measurements
from benchmarks.models import Model
from benchmarks.processes import StartError, warm_process
from benchmarks.report import grouped_table, spread_text, table
from benchmarks.rounds import WARM_UP_JOBS, say
from benchmarks.turns import Sizes, Turns
from benchmarks.usage import meter
from deploy.local.stack import exit_on_signals

TIMES_MORE = 10
WAYS = ("rowmill", "rowmill-predict")


def measure(
    worker_counts: Sequence[int], model: Model, sizes: Sizes, *, rounds: int
) -> Measurements:
    """W1 and W2 by number of workers, which takes the contender's place; stacks take turns, one
    running at a time."""
    found = Measurements()
    with ExitStack() as stack:
        client = stack.enter_context(warm_process())
        turns = Turns(sizes, stack.enter_context(meter()), client)
        for number in range(rounds):
            start = number % len(worker_counts)
            for workers in [*worker_counts[start:], *worker_counts[:start]]:
                say(f"round {number + 1}: {workers} workers")
                found.turns += _one_stack(turns, model, sizes, workers=workers, number=number)
    say("")
    return found


def _one_stack(
    turns: Turns, model: Model, sizes: Sizes, *, workers: int, number: int
) -> list[Measurement]:
    measured: list[Measurement] = []
    ways = {one.name: one for one in rowmill.contenders(sizes.rows, workers=workers)}
    job, predict = (ways[name] for name in WAYS)
    with job.service.running([model]):
        turns.bulk(job, model)
        figures = {"w1": turns.bulk(job, model)}
        for workload, way in (("w2 job", job), ("w2 predict", predict)):
            if way.problem is None or way.problem() is None:
                turns.small(way, model, jobs=WARM_UP_JOBS)
                figures[workload] = turns.small(way, model)
    for workload, values in figures.items():
        measured.append(
            Measurement(
                workload=workload,
                model=model.name,
                contender=str(workers),
                round=number,
                figures=values,
            )
        )
    return measured


def text(found: Measurements, model: Model, sizes: Sizes, worker_counts: Sequence[int]) -> str:
    """Tables as Markdown."""
    titles = {str(count): f"{count} workers" for count in worker_counts}
    bulk = [
        [title, spread_text(found.spread("w1", model.name, name, "seconds"), 3)]
        for name, title in titles.items()
    ]
    parts = [
        machine.facts(),
        f"## W1, {sizes.rows:,} rows ({model.title})",
        table(("", "seconds"), bulk),
        "CPU microseconds a row:",
        grouped_table(found, ("w1", model.name), "cpu", titles, unit=sizes.rows / 1e6),
    ]
    for workload in ("w2 job", "w2 predict"):
        if not found.spread(workload, model.name, str(worker_counts[0]), "jobs_per_second"):
            continue
        parts += [
            f"## {workload}, {sizes.jobs:,} jobs",
            _small_table(found, workload, model, titles),
            "CPU microseconds a job:",
            grouped_table(
                found, (workload, model.name), "cpu", titles, unit=sizes.jobs / 1e6, digits=0
            ),
            f"Cores that each would need for {TIMES_MORE} × the jobs/s:",
            _cores_table(found, workload, model, sizes, titles),
        ]
    return "\n\n".join(parts)


def _small_table(found: Measurements, workload: str, model: Model, titles: dict[str, str]) -> str:
    figures = (("jobs_per_second", 0), ("p50_ms", 1), ("p99_ms", 1))
    lines = [
        [
            title,
            *(
                spread_text(found.spread(workload, model.name, name, figure), digits)
                for figure, digits in figures
            ),
        ]
        for name, title in titles.items()
    ]
    return table(("", "jobs/s", "p50 ms", "p99 ms"), lines)


def _cores_table(
    found: Measurements, workload: str, model: Model, sizes: Sizes, titles: dict[str, str]
) -> str:
    """CPU seconds a job × jobs a second × ten: what a component would use if it scaled so far."""
    needed = Measurements(
        [
            Measurement(
                workload=workload,
                model=model.name,
                contender=turn.contender,
                round=turn.round,
                figures={
                    name.replace("cpu.", "cores."): value
                    / sizes.jobs
                    * turn.figures["jobs_per_second"]
                    * TIMES_MORE
                    for name, value in turn.figures.items()
                    if name.startswith("cpu.")
                },
            )
            for turn in found.turns
            if turn.workload == workload
        ]
    )
    return grouped_table(needed, (workload, model.name), "cores", titles, digits=1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--model", default="m1", choices=models.MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2_000)
    return parser.parse_args()


def main() -> None:
    options = parse()
    exit_on_signals()
    models.train_missing([options.model])
    model = models.MODELS[options.model]
    sizes = Sizes(rows=options.rows, jobs=options.jobs, seconds=0)
    workloads.bulk_file(options.rows)
    try:
        found = measure(options.workers, model, sizes, rounds=options.rounds)
    except (WrongResultError, StartError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what was started is stopped again.")
    print(text(found, model, sizes, options.workers))


if __name__ == "__main__":
    main()
