"""MLServer with its scikit-learn runtime and adaptive batching, in an environment of its own.

`python -m benchmarks.peers` installs it. The figures of its settings were tried out; they are those
with which sixteen clients are served best.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import workloads
from benchmarks.bulk import BulkConnection
from benchmarks.contenders.contender import BulkRun, Contender, SmallWay, UnavailableError
from benchmarks.conversations import JSON, good, mlserver_infer
from benchmarks.models import Model
from benchmarks.peers import MLSERVER, program
from benchmarks.ports import free_port
from benchmarks.processes import Background, answers, background


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What can be turned."""

    parallel_workers: int = 0
    """Inference processes beside the one that speaks HTTP; with none, that one predicts, too."""
    max_batch_size: int = 64
    """Requests, not rows. A batch waits for more until it is as large."""
    max_batch_seconds: float = 0.002


class MLServer:
    """The server with all models."""

    name = "mlserver"
    redis_socket: Path | None = None

    def __init__(self, rows: int, tuning: Tuning) -> None:
        self._rows = rows
        self._tuning = tuning
        self._port = 0
        self._server: Background

    @contextmanager
    def running(self, models: Sequence[Model]) -> Iterator[None]:
        """Raises UnavailableError when it is not installed."""
        executable = program(MLSERVER, "mlserver")
        if not executable.exists():
            raise UnavailableError("not installed; python -m benchmarks.peers does that")
        with tempfile.TemporaryDirectory(prefix="mlserver-") as name:
            folder = Path(name)
            self._write_settings(folder, models)
            with background(
                str(executable), "start", str(folder), log=folder / "log", folder=folder
            ) as self._server:
                for model in models:
                    # The server as a whole says that it is ready before its workers are.
                    url = f"http://127.0.0.1:{self._port}/v2/models/{model.name}/ready"
                    self._server.wait_until(partial(answers, url))
                    self._write_bulk_body(model)
                yield

    def _write_settings(self, folder: Path, models: Sequence[Model]) -> None:
        self._port = free_port()
        settings = {
            "host": "127.0.0.1",
            "http_port": self._port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "debug": False,
            "parallel_workers": self._tuning.parallel_workers,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        for model in models:
            (folder / model.name).mkdir()
            settings = {
                "name": model.name,
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": str(model.path)},
                "max_batch_size": self._tuning.max_batch_size,
                "max_batch_time": self._tuning.max_batch_seconds,
            }
            (folder / model.name / "model-settings.json").write_text(json.dumps(settings))

    def _bulk_body(self, model: Model) -> Path:
        return workloads.bulk_file(self._rows).with_suffix(f".{model.output}.json")

    def _write_bulk_body(self, model: Model) -> None:
        """The JSON is made outside of the clock, although a caller who has a CSV pays for it."""
        path = self._bulk_body(model)
        if not path.exists():
            path.write_bytes(infer_body(model, workloads.table(self._rows)))

    def groups(self) -> Mapping[str, Sequence[int]]:
        return {"server": self._server.family()}

    def bulk(self, model: Model, target: Path) -> BulkRun:
        """One request for all rows."""
        result = target / "mlserver.json"
        path = f"/v2/models/{model.name}/infer"
        with BulkConnection(self._port) as connection:
            began = time.perf_counter()
            good(connection.post(path, self._bulk_body(model), JSON, into=result), 200)
            seconds = time.perf_counter() - began
        return BulkRun(seconds=seconds, results=(result,))

    def small(self, model: Model) -> SmallWay:
        return SmallWay(
            port=self._port,
            converse=partial(mlserver_infer, model=model.name),
            body=partial(infer_body, model),
            predictions=small_predictions,
        )


def infer_body(model: Model, rows: pd.DataFrame) -> bytes:
    """Rows as the Open Inference Protocol (version 2) takes them."""
    tensor = {
        "name": "rows",
        "shape": list(rows.shape),
        "datatype": "FP64",
        "data": rows.to_numpy().ravel().tolist(),
    }
    document = {"inputs": [tensor], "outputs": [{"name": model.output}]}
    return json.dumps(document, separators=(",", ":")).encode()


def small_predictions(body: bytes) -> npt.NDArray[np.float64]:
    output = json.loads(body)["outputs"][0]
    data = np.array(output["data"], dtype=np.float64)
    return data.reshape(output["shape"][0], -1)


def bulk_predictions(_model: Model, run: BulkRun) -> npt.NDArray[np.float64]:
    return small_predictions(run.results[0].read_bytes())


def contenders(rows: int, tuning: Tuning | None = None) -> list[Contender]:
    service = MLServer(rows, tuning or Tuning())
    return [
        Contender(
            name="mlserver",
            title="MLServer",
            service=service,
            workloads=frozenset({"w1", "w2", "w3"}),
            bulk=service.bulk,
            bulk_predictions=bulk_predictions,
            small=service.small,
        )
    ]
