"""Composition root of a worker: `celery -A worker.app worker`."""

import functools
import os
import socket
from typing import Any

from celery.signals import setup_logging, worker_process_init
from redis import Redis
from threadpoolctl import threadpool_limits

from shared import logs
from shared.dispatch import Dispatcher, make_celery
from shared.job_store.connection import connect
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.model_repository import ModelRepository
from shared.settings import Settings
from worker import tasks
from worker.chunk_runner import ChunkRunner
from worker.model_cache import ModelCache
from worker.supervisor import Supervisor

settings = Settings()
app = make_celery(settings)


@setup_logging.connect(weak=False)
def configure_logs(**_: Any) -> None:
    """Log as every Rowmill process does, in place of Celery's own way."""
    logs.configure(settings.log_level)


@functools.cache
def redis() -> Redis:
    """This process's connections; a child must not share its parent's."""
    return connect(settings.redis_url)


@functools.cache
def store() -> JobStore:
    return JobStore(
        redis(),
        tombstone_seconds=settings.tombstone_seconds,
        max_retention_seconds=settings.max_retention_seconds,
    )


@functools.cache
def chunk_runner() -> ChunkRunner:
    """This process's runner with all models loaded; the first call takes as long as that."""
    models = ModelCache(ModelRepository(settings.models_dir), allow_pickle=settings.allow_pickle)
    models.preload()
    dispatcher = Dispatcher(app)
    return ChunkRunner(
        store=store(),
        workers=WorkerRegistry(redis()),
        models=models,
        announce=lambda job_id, chunks, model: dispatcher.announce(job_id, chunks, model=model),
        owner=f"{socket.gethostname()}/{os.getpid()}",
        max_attempts=settings.max_chunk_attempts,
    )


@worker_process_init.connect(weak=False)
def prepare_child(**_: Any) -> None:
    """Make a pool child ready before it gets its first task."""
    for part in (redis, store, chunk_runner):
        part.cache_clear()
    # Limits stay until the process ends; the object must live as long.
    prepare_child.limits = threadpool_limits(settings.threads_per_process)  # type: ignore[attr-defined]
    chunk_runner()


tasks.register(app, chunk_runner, store)
app.steps["worker"].add(Supervisor.for_registry(lambda: WorkerRegistry(redis())))
