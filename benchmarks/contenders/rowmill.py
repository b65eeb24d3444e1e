"""Rowmill by plain HTTP."""

import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import workloads
from benchmarks.answers import Answer
from benchmarks.bulk import BulkConnection
from benchmarks.contenders.contender import BulkRun, Contender, SmallWay
from benchmarks.contenders.rowmill_stack import RowmillStack
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
from benchmarks.steps import document_steps, log_steps


class Ways:
    """The ways in which jobs are done on one stack."""

    def __init__(self, stack: RowmillStack, rows: int) -> None:
        self._stack = stack
        self._rows = rows

    def bulk(self, model: Model, target: Path, *, is_followed: bool) -> BulkRun:
        """Upload the file and download its results.

        `is_followed`: results are asked for when the upload has been taken in, with `follow=true`,
        and come while chunks are still scored.
        """
        source = workloads.bulk_file(self._rows)
        result = target / "rowmill.csv"
        with BulkConnection(self._stack.port) as connection:
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
        steps = {
            "upload": sent_at - began,
            "answer": answered_at - sent_at,
            "wait": ended_at - answered_at,
            "download": downloaded_at - ended_at,
        }
        return BulkRun(
            seconds=downloaded_at - began,
            results=(result,),
            explain=partial(self._explain, job, steps),
        )

    def _explain(self, job: Mapping[str, Any], steps: Mapping[str, float]) -> dict[str, float]:
        log = self._stack.run_dir / "logs" / "worker.log"
        found = {**steps, **document_steps(job), **log_steps(log, job)}
        return {f"step.{name}": seconds for name, seconds in found.items()}

    def small(self, model: Model, *, converse: Callable[..., Conversation]) -> SmallWay:
        """Small jobs by one of Rowmill's two ways."""
        return SmallWay(
            port=self._stack.port,
            converse=partial(converse, query=query(model)),
            body=workloads.csv_body,
            predictions=partial(small_predictions, model),
        )

    def problem_with_follow(self) -> str | None:
        """Why results can't be followed, if they can't."""
        with BulkConnection(self._stack.port) as connection:
            job = document(self._try_out(connection, "/jobs"), 202)
            status = connection.ask("GET", f"{job['urls']['results']}?follow=true").status
        return None if status == 200 else f"results?follow=true answers {status}"

    def problem_with_predict(self) -> str | None:
        """Why there are no predictions in one request, if there are none."""
        with BulkConnection(self._stack.port) as connection:
            status = self._try_out(connection, "/predict").status
        return None if status == 200 else f"POST /predict answers {status}"

    def _try_out(self, connection: BulkConnection, path: str) -> Answer:
        body = workloads.csv_body(workloads.small_tables(1)[0])
        path = f"{path}?{query(self._stack.models[0])}"
        return connection.post_bytes(path, body, CSV + WAIT)


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
    return checked(model, pd.read_csv(run.results[0]))


def small_predictions(model: Model, body: bytes) -> npt.NDArray[np.float64]:
    return checked(model, pd.read_csv(io.BytesIO(body)))


def contenders(rows: int, *, workers: int = 2) -> list[Contender]:
    """One stack, used in three ways."""
    stack = RowmillStack(workers=workers)
    ways = Ways(stack, rows)
    bulk = partial(ways.bulk, is_followed=False)
    followed = partial(ways.bulk, is_followed=True)
    return [
        Contender(
            name="rowmill",
            title="Rowmill, job",
            service=stack,
            workloads=frozenset({"w1", "w2", "w3"}),
            bulk=bulk,
            bulk_predictions=bulk_predictions,
            small=partial(ways.small, converse=rowmill_job),
        ),
        Contender(
            name="rowmill-follow",
            title="Rowmill, job, results followed",
            service=stack,
            workloads=frozenset({"w1"}),
            bulk=followed,
            bulk_predictions=bulk_predictions,
            problem=ways.problem_with_follow,
        ),
        Contender(
            name="rowmill-predict",
            title="Rowmill, POST /predict",
            service=stack,
            workloads=frozenset({"w2", "w3"}),
            bulk=bulk,
            bulk_predictions=bulk_predictions,
            small=partial(ways.small, converse=rowmill_predict),
            problem=ways.problem_with_predict,
        ),
    ]
