"""What a service of any size can do: `python -m benchmarks.capacity --help`.

Without --measure it reads what was measured before, which takes seconds and is the same everywhere.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import machine, models
from benchmarks.capacity import report
from benchmarks.capacity.costs import Costs, fitted
from benchmarks.capacity.measuring import measured
from benchmarks.checks import WrongResultError
from benchmarks.processes import StartError
from deploy.local.stack import exit_on_signals

MEASURED = Path(__file__).with_name("measured.json")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure this machine first")
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="m1", choices=models.MODELS)
    parser.add_argument("--json", type=Path, default=MEASURED, help="measurements, kept or read")
    return parser.parse_args()


def main() -> None:
    options = parse()
    exit_on_signals()
    if options.measure:
        try:
            _measure(options)
        except (WrongResultError, StartError) as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            sys.exit("\nInterrupted; what was started is stopped again.")
    costs = Costs.load(options.json)
    parts = (
        costs.machine,
        "## What work costs",
        report.costs_text(costs),
        "## The model beside what was measured (model / measured)",
        report.fit_text(costs),
        "## The most that a fleet can do, and what is busy first",
        report.ceilings_text(costs),
        "## Simulated",
        report.simulated_text(costs),
    )
    print("\n\n".join(parts))


def _measure(options: argparse.Namespace) -> None:
    models.train_missing([options.model])
    model = models.MODELS[options.model]
    samples = measured(model, options.workers, rounds=options.rounds)
    costs = fitted(samples, machine=machine.facts(), cores=os.cpu_count() or 1)
    options.json.write_text(costs.dump())


if __name__ == "__main__":
    main()
