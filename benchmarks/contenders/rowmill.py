"""Rowmill by plain HTTP, on a stack of its own that is started as anyone starts it."""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from benchmarks import models, workloads
from benchmarks.bulk import BulkConnection
from benchmarks.contenders.contender import BulkRun, Contender, SmallWay
from benchmarks.conversations import (
    CSV,
    WAIT,
    Conversation,
    document,
    good,
    rowmill_job,
    rowmill_predict,
)
from benchmarks.models import Model
from benchmarks.ports import free_port
from benchmarks.steps import document_steps
from shared.settings import SOCKET_NAME

PROGRAM_VARIABLE = "SUPERVISOR_PROCESS_NAME"


class Rowmill:
    """A local stack in a folder of its own."""

    name = "rowmill"

    def __init__(self, rows: int, *, workers: int = 2) -> None:
        self._rows = rows
        self._workers = workers
        # Short and not in the clone: the name of a Unix socket must be.
        self.run_dir = Path(tempfile.gettempdir()) / f"rowmill-bench-{os.getpid()}"
        self.redis_socket: Path | None = self.run_dir / SOCKET_NAME
        self.port = 0
        self._models: Sequence[Model] = ()

    @contextmanager
    def running(self, served: Sequence[Model]) -> Iterator[None]:
        """Serves all models of the repository."""
        self._models = served
        self.port = free_port()
        try:
            self._stack("up")
            yield
        finally:
            self._stack("down")
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _stack(self, command: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ROWMILL_")}
        own = {
            "ROWMILL_RUN_DIR": str(self.run_dir),
            "ROWMILL_MODELS_DIR": str(models.repository()),
            "ROWMILL_PORT": str(self.port),
            "ROWMILL_FLOWER_PORT": str(free_port()),
            "ROWMILL_WORKERS": str(self._workers),
        }
        subprocess.run(
            (sys.executable, "-m", "deploy.local.stack", command),
            env=inherited | own,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def groups(self) -> Mapping[str, Sequence[int]]:
        """By the names that supervisord gives: api, worker, redis, flower."""
        supervisor = psutil.Process(int((self.run_dir / "supervisord.pid").read_text()))
        found: dict[str, list[int]] = {}
        for process in supervisor.children(recursive=True):
            found.setdefault(process.environ()[PROGRAM_VARIABLE], []).append(process.pid)
        return found

    def bulk(self, model: Model, target: Path, *, is_followed: bool) -> BulkRun:
        """Upload the file and download its results.

        `is_followed`: results are asked for when the upload has been taken in, with `follow=true`,
        and come while chunks are still scored.
        """
        source = workloads.bulk_file(self._rows)
        result = target / "rowmill.csv"
        with BulkConnection(self.port) as connection:
            headers = CSV if is_followed else CSV + WAIT
            began = time.perf_counter()
            answer = connection.post(f"/jobs?{query(model)}", source, headers)
            sent_at, answered_at = connection.sent_at, time.perf_counter()
            job = document(answer, 202)
            results = job["urls"]["results"]
            if is_followed:
                results += "?follow=true"
            else:
                while job["finished_at"] is None:
                    job = document(connection.ask("GET", job["urls"]["self"], WAIT), 200)
            ended_at = time.perf_counter()
            good(connection.ask("GET", results, into=result), 200)
            downloaded_at = time.perf_counter()
            job = document(connection.ask("GET", job["urls"]["self"], WAIT), 200)
            connection.ask("DELETE", job["urls"]["self"])
        return BulkRun(
            seconds=downloaded_at - began,
            results=(result,),
            steps={
                "upload": sent_at - began,
                "answer": answered_at - sent_at,
                "wait": ended_at - answered_at,
                "download": downloaded_at - ended_at,
                **document_steps(job),
            },
            job_id=job["id"],
        )

    def small(self, model: Model, *, converse: Callable[..., Conversation]) -> SmallWay:
        """Small jobs by one of Rowmill's two ways."""
        return SmallWay(
            port=self.port,
            converse=partial(converse, query=query(model)),
            body=workloads.csv_body,
            predictions=partial(small_predictions, model),
        )

    def problem_with_follow(self) -> str | None:
        """Why results can't be followed, if they can't."""
        body = workloads.csv_body(workloads.small_tables(1)[0])
        with BulkConnection(self.port) as connection:
            answer = connection.post_bytes(f"/jobs?model={self._models[0].name}", body, CSV + WAIT)
            path = f"{document(answer, 202)['urls']['results']}?follow=true"
            status = connection.ask("GET", path).status
        return None if status == 200 else f"results?follow=true answers {status}"

    def problem_with_predict(self) -> str | None:
        """Why there are no predictions in one request, if there are none."""
        with BulkConnection(self.port) as connection:
            status = connection.ask("POST", "/predict").status
        return f"POST /predict answers {status}" if status in (404, 405) else None


def query(model: Model) -> str:
    return f"model={model.name}&output={model.output}"


def checked(model: Model, results: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The predictions of results. Raises ValueError for a wrong row number or a row error."""
    if not np.array_equal(results["row"], np.arange(1, len(results) + 1)):
        raise ValueError("rows are missing or out of order")
    if results["error"].notna().any():
        raise ValueError("there are row errors")
    return results[list(model.columns)].to_numpy(dtype=np.float64)


def bulk_predictions(model: Model, run: BulkRun) -> npt.NDArray[np.float64]:
    return checked(model, pd.read_csv(run.results[0], float_precision="round_trip"))


def small_predictions(model: Model, body: bytes) -> npt.NDArray[np.float64]:
    return checked(model, pd.read_csv(io.BytesIO(body), float_precision="round_trip"))


def contenders(rows: int, *, workers: int = 2) -> list[Contender]:
    stack = Rowmill(rows, workers=workers)
    bulk = partial(stack.bulk, is_followed=False)
    followed = partial(stack.bulk, is_followed=True)
    return [
        Contender(
            name="rowmill",
            title="Rowmill, job",
            service=stack,
            workloads=frozenset({"w1", "w2", "w3"}),
            bulk=bulk,
            bulk_predictions=bulk_predictions,
            small=partial(stack.small, converse=rowmill_job),
        ),
        Contender(
            name="rowmill-follow",
            title="Rowmill, job, results followed",
            service=stack,
            workloads=frozenset({"w1"}),
            bulk=followed,
            bulk_predictions=bulk_predictions,
            problem=stack.problem_with_follow,
        ),
        Contender(
            name="rowmill-predict",
            title="Rowmill, POST /predict",
            service=stack,
            workloads=frozenset({"w2", "w3"}),
            bulk=bulk,
            bulk_predictions=bulk_predictions,
            small=partial(stack.small, converse=rowmill_predict),
            problem=stack.problem_with_predict,
        ),
    ]
