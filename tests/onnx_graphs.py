"""ONNX graphs for tests: exported from scikit-learn, or written node by node."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from examples.petrol.train import SEED, load

Types = Mapping[str, Any]
Shape = Sequence[int | str | None]

FLOAT = TensorProto.FLOAT
OPSET, IR = 18, 9


def exported(estimator: Any, types: Types | int, **options: Any) -> bytes:
    """What skl2onnx makes of an estimator. `types`: those of its inputs by name, or the number of
    columns of its only one, which then takes float32."""
    inputs = {"X": FloatTensorType([None, types])} if isinstance(types, int) else types
    graph = to_onnx(estimator, initial_types=list(inputs.items()), options=options or None)
    return graph.SerializeToString()


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    weights: Sequence[TensorProto] = (),
) -> bytes:
    """A graph of these nodes; inputs and outputs are given by type and shape."""
    described = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        list(weights),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(described, opset_imports=opsets, ir_version=IR).SerializeToString()


def identity(type_: int = FLOAT, shape: Shape = ("rows", 2)) -> bytes:
    """A graph that gives what it gets."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph([node], {"x": (type_, shape)}, {"y": (type_, shape)})


@cache
def petrol_network() -> tuple[Pipeline, pd.DataFrame]:
    """A small network fitted on the petrol table, and its rows."""
    X, y = load()
    network = make_pipeline(
        StandardScaler(),
        MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=5000, random_state=SEED),
    )
    return network.fit(X, y), X


def largest_difference(found: Any, expected: Any) -> float:
    """Relative to what is expected."""
    expected = np.asarray(expected)
    return float(np.max(np.abs(np.asarray(found) - expected) / np.abs(expected)))
