"""Score the petrol CSV through the real stack and compare: `python -m deploy.local.demo`.

Starts the stack and stops it again, unless it ran before or `KEEP=1` asks to leave it running.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from deploy.local.preflight import StackError
from deploy.local.stack import Stack, exit_on_signals, ignoring_interrupts, setting_problems
from shared.model_repository import ModelRepository
from shared.settings import Settings

MODEL = "petrol"
INPUT = Path("examples/petrol/example.csv")


def served_predictions(api_url: str) -> list[float]:
    """What the service predicts, by way of the command line client, whose output is shown."""
    command = ("rowmill", "predict", str(INPUT), "--model", MODEL)
    print(f"\n$ {' '.join(command)}", flush=True)
    rowmill = Path(sys.executable).with_name("rowmill")
    result = subprocess.run(
        (str(rowmill), *command[1:]),
        # A proxy from the environment would be asked for this machine's own port.
        env={**os.environ, "ROWMILL_URL": api_url, "NO_PROXY": "*", "no_proxy": "*"},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    print(result.stdout)
    if result.returncode:
        raise StackError(f"rowmill ended with exit code {result.returncode}.")
    return [float(line["prediction"]) for line in csv.DictReader(result.stdout.splitlines())]


def in_process_predictions(settings: Settings) -> list[float]:
    """What the same model version predicts without any service."""
    # Imported only now: they take seconds, which the stack uses to start.
    import pandas as pd

    from worker.artifact_loader import load_artifact

    repository = ModelRepository(settings.models_dir)
    manifest = repository.resolve(MODEL)
    path = repository.artifact_path(manifest)
    model = load_artifact(path, manifest, allow_pickle=settings.allow_pickle)
    return [float(value) for value in model.predict(pd.read_csv(INPUT))]


def compare(served: list[float], expected: list[float]) -> None:
    """Say that both are equal. Raises StackError when a single bit differs."""
    pairs = zip(served, expected, strict=False)
    different = [row for row, (a, b) in enumerate(pairs, start=1) if a != b]
    if len(served) != len(expected) or different:
        raise StackError(
            f"The service predicted {len(served)} of {len(expected)} rows; these differ from "
            f"in-process model.predict: {different or 'none'}."
        )
    print(f"All {len(served)} predictions equal in-process model.predict to the last digit.")


def run(settings: Settings) -> None:
    """The whole demo; leaves running only what ran before or is to be kept."""
    stack = Stack(settings)
    is_kept = stack.running() is not None or os.environ.get("KEEP", "") not in ("", "0")
    print("Starting Redis, API, workers and Flower …", flush=True)
    try:
        record = stack.up()
        compare(served_predictions(record.api_url), in_process_predictions(settings))
    finally:
        if not is_kept:
            with ignoring_interrupts():
                stack.down()
    if is_kept:
        print(f"The stack runs on: {record.api_url} and Flower {record.flower_url}")
        print("Stop it with: make down")
    else:
        print("Stopped. KEEP=1 make demo leaves the stack running.")


def main() -> None:
    exit_on_signals()
    try:
        run(Settings())
    except ValidationError as error:
        sys.exit(setting_problems(error))
    except StackError as error:
        sys.exit(f"The demo failed. {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; what the demo started is stopped again.")


if __name__ == "__main__":
    main()
