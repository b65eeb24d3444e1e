"""A stack to fire at, whose patience is short."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from examples.line.train import train as train_line
from examples.petrol.train import train as train_petrol
from tests.fuzz.watch import Watch
from tests.live_stack import (
    Api,
    api_process,
    environment,
    redis_server,
    wait_until_seen,
    worker_process,
)

SETTINGS = {
    "default_model": "line",
    "max_body_bytes": str(2 * 1024**2),
    "max_wait_seconds": "2",
    "max_silence_seconds": "2",
    "chunk_time_limit_seconds": "20",
    "retention_seconds": "60",
    "webhook_secret": "whsec_" + "A" * 32,
    "webhook_allow_private": "true",
}


@contextmanager
def running(directory: Path) -> Iterator[tuple[Api, Watch]]:
    """Server, API and a worker, and a watch over the latter two."""
    models_dir = directory / "models"
    train_line(models_dir)
    train_petrol(models_dir)
    with ExitStack() as stack:
        redis_url = stack.enter_context(redis_server(directory / "r"))
        env = environment(redis_url, models_dir, **SETTINGS)
        logs = [directory / "worker.log", directory / "api.log"]
        worker = stack.enter_context(worker_process(env, logs[0]))
        api = stack.enter_context(api_process(env, logs[1]))
        wait_until_seen(api, 3)
        yield api, Watch(roots=[worker.pid, api.pid], logs=logs)
