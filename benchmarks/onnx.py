"""Estimators of scikit-learn beside their ONNX exports: `python -m benchmarks.onnx`.

Both are published and then called as a worker calls them: by a predictor, with a typed table, on
one thread. Rows are states that lie between two of the petrol table.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import machine
from benchmarks.figures import Measurement, Measurements
from benchmarks.report import spread_text, table
from benchmarks.rounds import say
from examples.petrol import train as petrol
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.signature import OutputKind
from worker.artifact_loader import load_artifact
from worker.model_loader import ModelLoader
from worker.onnx_model import OnnxModel
from worker.predictor import Predictor
from worker.publishing import publish

SCIKIT_LEARN = "scikit-learn"
FLOATS, DOUBLES = "ONNX, float32", "ONNX, float64"
TYPES = {FLOATS: FloatTensorType, DOUBLES: DoubleTensorType}

FOREST, NETWORK = "petrol forest, 100 trees", "MLP, 4-64-64-1"
EXPORTS = {FOREST: [FLOATS], NETWORK: [FLOATS, DOUBLES]}
"""onnxruntime has no trees of float64."""

TURN_SECONDS = 0.1
"""How long a call is repeated in one turn at least, so that the clock's own time does not count."""

Contenders = Mapping[str, Predictor]
"""Scikit-learn comes first."""


def contenders(directory: Path) -> dict[str, Contenders]:
    """For each model who predicts by it, all published in `directory` and loaded from there."""
    repository = ModelRepository(directory)
    X, y = petrol.load()
    network = make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(64, 64), solver="lbfgs", max_iter=5000, random_state=petrol.SEED
        ),
    )
    manifests = {
        FOREST: petrol.train(directory),
        NETWORK: publish(network.fit(X, y), name="network", sample=X, repository=directory),
    }
    found = {}
    for title, manifest in manifests.items():
        path = repository.artifact_path(manifest)
        estimator = load_artifact(path, manifest, allow_pickle=False)
        published = {SCIKIT_LEARN: manifest}
        for name in EXPORTS[title]:
            published[name] = _export(estimator, name, X, directory)
        found[title] = _loaded(published, repository)
    return found


def _export(estimator: Any, name: str, X: pd.DataFrame, directory: Path) -> Manifest:
    graph = to_onnx(estimator, initial_types=[("X", TYPES[name]([None, X.shape[1]]))])
    model = OnnxModel(graph.SerializeToString())
    return publish(model, name="graph", sample=X, repository=directory)


def _loaded(manifests: Mapping[str, Manifest], repository: ModelRepository) -> Contenders:
    loader = ModelLoader(repository, allow_pickle=False)
    return {name: loader.load(manifest) for name, manifest in manifests.items()}


def states(count: int) -> pd.DataFrame:
    """Rows between two of the petrol table."""
    random = np.random.default_rng(0)
    X, _ = petrol.load()
    pairs = X.to_numpy(dtype=np.float64)[random.integers(0, len(X), (2, count))]
    share = random.random((count, 1))
    return pd.DataFrame(pairs[0] * share + pairs[1] * (1 - share), columns=X.columns)


def predictions(predictor: Predictor, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    (values,) = predictor.predict(rows, OutputKind.PREDICT).columns
    return np.asarray(values)


def seconds(predictor: Predictor, rows: pd.DataFrame) -> float:
    """Of one call, the mean of a turn."""
    calls, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < TURN_SECONDS or not calls:
        predictor.predict(rows, OutputKind.PREDICT)
        calls += 1
    return spent / calls


def measure(models: Mapping[str, Contenders], sizes: Sequence[int], *, rounds: int) -> Measurements:
    """Batch sizes take the workload's place."""
    found = Measurements()
    for number in range(rounds):
        for size in sizes:
            rows = states(size)
            for model, predictors in models.items():
                say(f"round {number + 1}: {model}, {size} rows")
                found.turns += _turns(predictors, rows, model=model, number=number)
    say("")
    return found


def _turns(
    predictors: Contenders, rows: pd.DataFrame, *, model: str, number: int
) -> list[Measurement]:
    """All contenders, in another order in each round."""
    names = list(predictors)
    start = number % len(names)
    expected = predictions(predictors[SCIKIT_LEARN], rows)
    return [
        Measurement(
            workload=str(len(rows)),
            model=model,
            contender=name,
            round=number,
            figures={
                "difference": _difference(predictions(predictors[name], rows), expected),
                "seconds": seconds(predictors[name], rows),
            },
        )
        for name in [*names[start:], *names[:start]]
    ]


def _difference(found: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    """The largest, relative."""
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def text(found: Measurements, models: Mapping[str, Contenders], sizes: Sequence[int]) -> str:
    """A table for each export."""
    parts = [machine.facts()]
    for model, predictors in models.items():
        for name in list(predictors)[1:]:
            parts += [f"## {model}: {name}", _table(found, model, name, sizes)]
    return "\n\n".join(parts)


def _table(found: Measurements, model: str, name: str, sizes: Sequence[int]) -> str:
    def cells(size: str) -> list[str]:
        times = [found.spread(size, model, one, "seconds") for one in (SCIKIT_LEARN, name)]
        difference = found.spread(size, model, name, "difference")
        return [
            f"{int(size):,}",
            *(f"{time.median * 1000:.3g}" if time else "–" for time in times),
            spread_text(found.ratio(size, model, (SCIKIT_LEARN, name), "seconds"), 1),
            f"{difference.high:.1e}" if difference else "–",
        ]

    head = ("rows", f"{SCIKIT_LEARN}, ms", "ONNX, ms", "times as fast", "largest difference")
    return table(head, [cells(str(size)) for size in sizes])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 10, 100, 1_000, 10_000])
    return parser.parse_args()


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as directory, threadpool_limits(1):
        models = contenders(Path(directory))
        found = measure(models, options.rows, rounds=options.rounds)
    print(text(found, models, options.rows))


if __name__ == "__main__":
    main()
