"""Fire wrong requests at a service of its own: `make fuzz MINUTES=10`; `SHOT=file` for one again.

First bytes of bodies and heads made wrong by chance, then what the contract allows and forbids, by
Schemathesis. No answer may be a server error, take long, tell of the inside or be lost; no process
may die, crash or grow; and good jobs must go on being right.
"""

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.contract.conformance import compare
from tests.fuzz.campaign import WARM_SHARE, Campaign
from tests.fuzz.range import Range, Wrong
from tests.fuzz.shot import Shot
from tests.fuzz.stack import running

CAMPAIGN_SHARE = 0.7
"""Of the time, for bytes made wrong by chance; what is left is for what the contract describes."""

MANY = 100_000
"""Examples of each operation: more than there is time for."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a new one every time")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--keep", type=Path, default=Path(), help="folder for what is found")
    parser.add_argument("--shot", type=Path, help="send this one again, and nothing else")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clean up on the way
    with tempfile.TemporaryDirectory(prefix="rowmill-") as name:
        sys.exit(again(options.shot, Path(name)) if options.shot else fuzz(options, Path(name)))


def fuzz(options: argparse.Namespace, directory: Path) -> int:
    """The exit code: 1 if anything was found."""
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    began, seconds = time.monotonic(), options.minutes * 60 * CAMPAIGN_SHARE
    with running(directory) as (api, watch):
        campaign = Campaign(api.url, watch, seed=seed, keep=options.keep)
        findings = campaign.run(
            lambda _: time.monotonic() - began > seconds,
            is_warm=lambda _: time.monotonic() - began > WARM_SHARE * seconds,
        )
        print(findings, flush=True)
        left = round(options.minutes * 60 - (time.monotonic() - began))
        run = compare(
            api.url, seed=seed, examples=MANY, directory=directory, most_seconds=max(1, left)
        )
        complaints = list(watch.complaints())
    print(run.stdout)
    print("\n".join(complaints))
    return 1 if findings.wrong or complaints or run.returncode else 0


def again(path: Path, directory: Path) -> int:
    """The exit code: 1 if something is wrong with the answer."""
    with running(directory) as (api, watch):
        watch.begin()
        try:
            print(Range(api.url).fire(Shot.load(path)))
        except Wrong as wrong:
            print(wrong)
            return 1
        complaints = list(watch.complaints())
    print("\n".join(complaints) or "nothing wrong")
    return 1 if complaints else 0


if __name__ == "__main__":
    main()
