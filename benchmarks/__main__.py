"""Rowmill beside scripts, a textbook service and peers: `python -m benchmarks --help`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import models, summary, workloads
from benchmarks.checks import WrongResultError
from benchmarks.contenders import roster
from benchmarks.processes import StartError
from benchmarks.rounds import Plan, Rounds
from benchmarks.turns import Sizes
from deploy.local.stack import exit_on_signals


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", default=["w1", "w2", "w3"])
    parser.add_argument("--models", nargs="+", default=list(models.MODELS), choices=models.MODELS)
    parser.add_argument("--contenders", nargs="+", default=list(roster.NAMES), choices=roster.NAMES)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of a bulk job")
    parser.add_argument("--jobs", type=int, default=2_000, help="small jobs of a round of w2")
    parser.add_argument("--seconds", type=float, default=10, help="of a round of w3")
    parser.add_argument("--json", type=Path, help="file for all figures of all rounds")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    exit_on_signals()
    try:
        run(options)
    except (WrongResultError, StartError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what was started is stopped again.")


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    models.train_missing(options.models)
    workloads.bulk_file(options.rows)
    plan = Plan(
        rounds=options.rounds,
        workloads=options.workloads,
        models=[models.MODELS[name] for name in options.models],
        sizes=Sizes(rows=options.rows, jobs=options.jobs, seconds=options.seconds),
    )
    contenders = roster.contenders(options.rows, options.contenders)
    rounds = Rounds(plan)
    rounds.run(contenders)
    if options.json:
        turns = [dataclasses.asdict(turn) for turn in rounds.found.turns]
        options.json.write_text(json.dumps(turns, indent=1))
    titles = {one.name: one.title for one in contenders}
    print(summary.text(plan, rounds.found, titles))
    print(f"\nTurns taken again because the machine stood still: {rounds.taken_again}")
    for name, problem in rounds.left_out.items():
        print(f"Left out: {name}: {problem}")


if __name__ == "__main__":
    main()
