"""An ONNX graph with scikit-learn's interface, run by onnxruntime on the processor."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from shared.errors import ModelLoadError
from worker import onnx_tensors
from worker.onnx_tensors import Array, Input
from worker.reasons import first_line

NOWHERE = "/dev/null/none"
"""Under a file there is no folder. A graph that comes as bytes may otherwise name files of the
current directory as its weights ("external data"), and onnxruntime reads them."""

FATAL = 4
"""onnxruntime's highest severity: what else goes wrong is raised, and need not be printed, too."""

SCORES = frozenset({"tensor(float16)", "tensor(float)", "tensor(double)"})
MAPS = frozenset({"seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))"})
LABELS = frozenset(onnx_tensors.ELEMENTS) - SCORES

SUM_TOLERANCE = 1e-3
"""How far a row's probabilities may be from 1 together; they are float32, one for each class."""


def _has_probabilities(model: "OnnxModel") -> bool:
    """Whether the graph gives a label and scores, as classifiers do."""
    return bool(model.labels and model.scores)


class OnnxModel:
    """A graph as an estimator: the rows of a table in, an array out.

    A graph with one input takes arrays of rows × features, one with an input for each column takes
    DataFrames with columns of those names (and has `feature_names_in_`). Values are cast to the
    type of their input, missing numbers to NaN; what does not fit raises ValueError.

    `predict` gives the labels of a graph that has them, and otherwise its scores: n values, or
    rows × columns if there are several. A graph with both has `predict_proba`, too.

    May be made before a process forks: each process opens a session of its own at its first
    prediction. A session runs in the thread that calls it and in no other.
    """

    def __init__(self, data: bytes, *, classes: Sequence[Any] = ()) -> None:
        """`data`: what an ONNX file holds. `classes`: those that the columns of `predict_proba`
        stand for, where the graph does not tell. Raises ModelLoadError."""
        self.data = data
        self._classes = list(classes)
        # Not kept: a forked process would have it in memory and could not use it.
        session = _open(data)
        self._inputs = _inputs(session)
        self.labels, self.scores = _outputs(session)
        self._session: Any = None
        self._session_pid = 0
        if len(self._inputs) > 1:
            self.feature_names_in_ = np.array([one.name for one in self._inputs], dtype=object)
            self.n_features_in_ = len(self._inputs)
        elif self._inputs[0].width is not None:
            self.n_features_in_ = self._inputs[0].width

    @classmethod
    def read(cls, path: str | Path, *, classes: Sequence[Any] = ()) -> "OnnxModel":
        """The model in a file. Raises ModelLoadError."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelLoadError(f"The ONNX file can't be read: {error}") from error
        return cls(data, classes=classes)

    @property
    def sha256(self) -> str:
        """Of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def classes_(self) -> list[Any]:
        """What the columns of `predict_proba` stand for. Without `classes` it is known from the
        first probabilities on, if those have names; AttributeError before."""
        if not self._classes:
            raise AttributeError("the graph has not told its classes")
        return self._classes

    def predict(self, X: Any) -> Array:
        """Labels, or scores: n values, or n × k."""
        values = self._run(X, self.labels or self.scores)
        return values[:, 0] if values.shape[1:] == (1,) else values

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]  # of scikit-learn
    def predict_proba(self, X: Any) -> Array:
        """n × classes. Raises ValueError if the scores of the graph are no probabilities."""
        values = self._run(X, self.scores)
        if not np.allclose(values.sum(axis=1), 1, atol=SUM_TOLERANCE):
            raise ValueError("the scores of the graph are no probabilities: they do not sum to 1")
        return values

    def _run(self, X: Any, wanted: Sequence[str]) -> Array:
        """The columns of the outputs `wanted`."""
        tensors = self._tensors(X)
        has_gaps = onnx_tensors.have_gaps(tensors)
        asked = list(dict.fromkeys([*wanted, *(self.scores if has_gaps else [])]))
        outputs = dict(zip(asked, self._own_session().run(asked, tensors), strict=True))
        self._learn_classes(outputs.values())
        if has_gaps and any(map(onnx_tensors.is_lost, map(outputs.get, self.scores))):
            raise ValueError("the graph gives no number where a value is missing")
        return onnx_tensors.side_by_side([outputs[name] for name in wanted])

    def _tensors(self, X: Any) -> dict[str, Array]:
        names = [one.name for one in self._inputs]
        if len(names) == 1:
            return {names[0]: self._inputs[0].tensor(np.asarray(X))}
        if set(getattr(X, "columns", ())) != set(names):
            raise ValueError(f"the graph takes a table with the columns {', '.join(names)}")
        return {one.name: one.tensor(X[one.name].to_numpy().reshape(-1, 1)) for one in self._inputs}

    def _own_session(self) -> Any:
        """The session of this process."""
        if self._session_pid != os.getpid():
            self._session, self._session_pid = _open(self.data), os.getpid()
        return self._session

    def _learn_classes(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            if isinstance(output, list) and not self._classes:
                self._classes = list(output[0])


def _runtime() -> Any:
    """onnxruntime. Where it is imported first, its telemetry would begin, with a thread, a file
    in the user's home and messages to its maker; told later, it would stop only some of it."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _open(data: bytes) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    # With one thread a session starts none, and what a fork leaves behind is only memory.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", NOWHERE
    )
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own have no base but this
        if "xternal data" in str(error):
            raise ModelLoadError(
                "The ONNX graph names other files as its weights (external data), and none is "
                "read; export it with all weights in its own file."
            ) from error
        raise ModelLoadError(
            f"onnxruntime {runtime.__version__} can't open this as an ONNX model: "
            f"{first_line(error)}"
        ) from error


def _inputs(session: Any) -> list[Input]:
    """Those of a graph that rows of a table can be put into."""
    found = [Input.of(one.name, one.type, one.shape) for one in session.get_inputs()]
    wide = [one.name for one in found if one.width not in (None, 1)]
    if len(found) > 1 and wide:
        raise ModelLoadError(
            f"Inputs {', '.join(wide)} of the ONNX graph take more columns than one; export it "
            "with one input for all columns, or with one for each."
        )
    if not found:
        raise ModelLoadError("The ONNX graph has no input, so it can't score rows.")
    return found


def _outputs(session: Any) -> tuple[list[str], list[str]]:
    """Names of the outputs that are labels, of which one is enough, and of those that are
    scores."""
    kinds = {output.name: output.type for output in session.get_outputs()}
    labels = [name for name, kind in kinds.items() if kind in LABELS][:1]
    scores = [name for name, kind in kinds.items() if kind in SCORES | MAPS]
    if not (labels or scores):
        raise ModelLoadError(f"The ONNX graph gives {', '.join(kinds.values())}, no predictions.")
    return labels, scores
