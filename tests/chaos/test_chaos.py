"""Whatever is killed, frozen, cut off or sent twice: each accepted row has one right outcome."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.model import publish_chaotic
from tests.chaos.scenario import Scale, run

SEEDS = (52, 58, 106)
"""Between them the monkey takes every action it knows in the short time."""

OBJECTS = {58}
"""Seeds with which the bytes of bulk jobs are not in Redis."""

SHORT = Scale(jobs=50, monkey_seconds=20, settle_seconds=60)


@pytest.fixture(scope="module")
def chaotic_models(run_directory: Path) -> Path:
    return publish_chaotic(run_directory / "chaotic")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_accepted_row_has_one_right_outcome_whatever_the_monkey_does(
    seed: int, run_directory: Path, chaotic_models: Path
) -> None:
    scale = replace(SHORT, has_objects=seed in OBJECTS)
    report = run(seed, scale, directory=run_directory / f"c{seed}", models_dir=chaotic_models)

    problems = report.problems()
    assert not problems, f"python -m tests.chaos --seed {seed}\n{report}"
