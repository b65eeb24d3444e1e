"""Runs trainings from the command line and prints what they measured and how long they took."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from shared.manifest import Manifest


def run(*trainings: Callable[[Path], Manifest], description: str) -> None:
    """Call each training with the repository of the command line; print a line for each.

    The first training that raises ends the run: a missing model must not look like a made one.
    """
    repository = _parse_repository(description)
    for train in trainings:
        started = time.perf_counter()
        manifest = train(repository)
        print(_summary(manifest, elapsed_seconds=time.perf_counter() - started), flush=True)


def _parse_repository(description: str) -> Path:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("models"),
        help="directory that the model is published to (default: %(default)s)",
    )
    repository: Path = parser.parse_args().repository
    return repository


def _summary(manifest: Manifest, *, elapsed_seconds: float) -> str:
    metrics = " ".join(f"{name}={value:.6g}" for name, value in manifest.metrics.items())
    return f"{manifest.version_id}: {elapsed_seconds:.1f} s, {metrics}"
