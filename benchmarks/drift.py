"""What it costs to count features while rows are scored: `python -m benchmarks.drift`.

The fastest model of all, a scaler and a linear model of ten floats, scores the same chunks with and
without counting by turns, as a worker does it: parsed, predicted, rendered. What a chunk costs
besides (taken, committed) is left out, so the shares shown are upper bounds.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from shared.chunks import ChunkPlan
from shared.feature_counts import NOTHING_SEEN
from shared.job_store.leases import Holder, Lease
from shared.jobs import JobSpec, Lane
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from worker.feature_counter import FeatureCounter, counts_bins
from worker.joining import score_together
from worker.model_loader import ModelLoader
from worker.predictor import Predictor
from worker.publishing import publish
from worker.scoring import Slice

FEATURES = [f"f{number}" for number in range(10)]
CHUNKS = (40_000, 10_000, 1_000)
JOBS = 64
JOB_ROWS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=101)
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        predictor = _predictor(Path(directory))
    print(f"{'rows':<16}{'scored ms':>10}{'counted ms':>12}{'share of time':>15}")
    for rows in CHUNKS:
        _show(f"{rows:,}", _chunk(predictor, rows), rounds)
    _show(f"{JOBS} jobs of {JOB_ROWS}", _jobs(predictor), rounds)


def _predictor(repository: Path) -> Predictor:
    X = _table(5_000)
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(X, X.sum(axis="columns"))
    manifest = publish(model, name="fast", sample=X, repository=repository)
    return ModelLoader(ModelRepository(repository), allow_pickle=False).load(manifest)


def _table(rows: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(1).normal(size=(rows, 10)), columns=FEATURES)


def _spec(predictor: Predictor) -> JobSpec:
    manifest = predictor.manifest
    return JobSpec(
        model_name=manifest.name,
        model_version=manifest.version,
        model_sha256=manifest.artifact.sha256,
        output=OutputKind.PREDICT,
        header=tuple(FEATURES),
        delimiter=",",
        carried=(),
        result_columns=manifest.signature.outputs[OutputKind.PREDICT],
        retention_seconds=1,
    )


def _csv(rows: int) -> bytes:
    # Inside of what the model was trained on, as most rows are.
    return _table(5_000).sample(rows, replace=True).to_csv(index=False, header=False).encode()


def _chunk(predictor: Predictor, rows: int) -> Callable[[], object]:
    """Scores a bulk chunk."""
    data, spec = _csv(rows), _spec(predictor)
    plan = ChunkPlan(number=0, first_row=1, first_line=2, rows=rows)
    with_bins = counts_bins(Lane.BULK, rows)
    return lambda: Slice(data, plan, spec=spec, predictor=predictor, with_bins=with_bins).score()


def _jobs(predictor: Predictor) -> Callable[[], object]:
    """Scores small jobs together."""
    plan = ChunkPlan(number=0, first_row=1, first_line=2, rows=JOB_ROWS)
    leases = [
        Lease(
            holder=Holder(worker="w", process=1),
            lane=Lane.SMALL,
            job_id=f"job_{number}",
            spec=_spec(predictor),
            plan=plan,
            token=1,
            attempt=1,
            input=_csv(JOB_ROWS),
        )
        for number in range(JOBS)
    ]
    return lambda: score_together(leases, predictor)


def _show(what: str, score: Callable[[], object], rounds: int) -> None:
    with_counts, without = [], []
    for _ in range(rounds):
        with_counts.append(_seconds(score))
        with (
            patch.object(FeatureCounter, "count", lambda *_, **__: NOTHING_SEEN),
            patch.object(FeatureCounter, "count_each", lambda *a, **_: [NOTHING_SEEN] * len(a[2])),
        ):
            without.append(_seconds(score))
    counting = median(a - b for a, b in zip(with_counts, without, strict=True))
    base = median(without)
    print(f"{what:<16}{base * 1e3:>10.3f}{counting * 1e3:>12.3f}{counting / base:>15.1%}")


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
