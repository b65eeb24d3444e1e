"""A local stack of Rowmill's, started as anyone starts it, in a folder of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.models import Model
from benchmarks.ports import free_port
from benchmarks.processes import StartError
from deploy.local.stack import ignoring_interrupts
from shared.settings import SOCKET_NAME

PROGRAM_VARIABLE = "SUPERVISOR_PROCESS_NAME"


class RowmillStack:
    """API, workers, Redis and Flower."""

    name = "rowmill"

    def __init__(self, *, workers: int) -> None:
        self._workers = workers
        # Short and not in the clone: the name of a Unix socket must be.
        self.run_dir = Path(tempfile.gettempdir()) / f"rowmill-bench-{os.getpid()}"
        self.redis_socket: Path | None = self.run_dir / SOCKET_NAME
        self.port = 0
        self.models: Sequence[Model] = ()
        self._environment: dict[str, str] = {}

    @contextmanager
    def running(self, models: Sequence[Model]) -> Iterator[None]:
        """Serves these models and no others. Raises StartError."""
        self.port, self.models = free_port(), models
        models_dir = self.run_dir / "models"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ROWMILL_")}
        self._environment = inherited | {
            "ROWMILL_RUN_DIR": str(self.run_dir),
            "ROWMILL_MODELS_DIR": str(models_dir),
            "ROWMILL_PORT": str(self.port),
            "ROWMILL_FLOWER_PORT": str(free_port()),
            "ROWMILL_WORKERS": str(self._workers),
        }
        try:
            for model in models:
                shutil.copytree(model.repository / model.name, models_dir / model.name)
            self._command("up")
            yield
        finally:
            with ignoring_interrupts():
                self._command("down")
            shutil.rmtree(self.run_dir, ignore_errors=True)

    def _command(self, command: str) -> None:
        result = subprocess.run(
            (sys.executable, "-m", "deploy.local.stack", command),
            env=self._environment,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if result.returncode:
            raise StartError(result.stderr)

    def groups(self) -> Mapping[str, Sequence[int]]:
        """By the names that supervisord gives: api, worker, redis, flower."""
        supervisor = psutil.Process(int((self.run_dir / "supervisord.pid").read_text()))
        found: dict[str, list[int]] = {}
        for process in supervisor.children(recursive=True):
            # One that just ends has no variables any more, or is gone.
            with suppress(psutil.Error, KeyError):
                found.setdefault(process.environ()[PROGRAM_VARIABLE], []).append(process.pid)
        return found
