"""The long form: `python -m tests.chaos --seed 7 --minutes 20 --jobs 500`."""

import argparse
import secrets
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.chaos.model import publish_chaotic
from tests.chaos.scenario import Scale, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one every time")
    parser.add_argument("--minutes", type=float, default=3, help="time of the monkey")
    parser.add_argument("--jobs", type=int, default=500, help="sent in that time, evenly")
    parser.add_argument("--settle", type=float, default=120, help="seconds to end all jobs after")
    parser.add_argument("--only", help="names of the monkey's actions, by commas; empty: none")
    parser.add_argument("--objects", action="store_true", help="keep payloads in a folder")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clean up on the way
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}")
    scale = Scale(
        jobs=options.jobs,
        monkey_seconds=options.minutes * 60,
        settle_seconds=options.settle,
        has_objects=options.objects,
        only=None if options.only is None else frozenset(options.only.split(",")),
    )
    with tempfile.TemporaryDirectory(prefix="rowmill-") as name:
        directory = Path(name)
        report = run(
            seed,
            scale,
            directory=directory / "c",
            models_dir=publish_chaotic(directory / "models"),
            tell=partial(print, flush=True),
        )
    print(report)
    sys.exit(1 if report.problems() else 0)


if __name__ == "__main__":
    main()
