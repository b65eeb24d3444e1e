"""Composition root of a worker: `celery -A worker.app worker`."""

import csv
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
def workers() -> WorkerRegistry:
    return WorkerRegistry(redis())


@functools.cache
def chunk_runner() -> ChunkRunner:
    """This process's runner with all models loaded; the first call takes as long as that."""
    models = ModelCache(ModelRepository(settings.models_dir), allow_pickle=settings.allow_pickle)
    models.preload()
    dispatcher = Dispatcher(app)
    return ChunkRunner(
        store=store(),
        workers=workers(),
        models=models,
        announce=tasks.persistently(dispatcher.announce),
        owner=f"{socket.gethostname()}/{os.getpid()}",
        max_attempts=settings.max_chunk_attempts,
        time_limit_seconds=settings.chunk_time_limit_seconds,
    )


@worker_process_init.connect(weak=False)
def prepare_child(**_: Any) -> None:
    """Make a pool child ready before it gets its first task."""
    for part in (redis, store, workers, chunk_runner):
        part.cache_clear()
    # Damaged records are read with the csv module; a cell may hold more than its default limit.
    csv.field_size_limit(settings.max_record_bytes)
    chunk_runner()
    # After loading, so that libraries which only a model brings in are limited, too. Limits stay
    # until the process ends; the object must live as long.
    prepare_child.limits = threadpool_limits(settings.threads_per_process)  # type: ignore[attr-defined]


tasks.register(app, chunk_runner=chunk_runner, store=store, workers=workers)
app.steps["worker"].add(Supervisor.for_registry(workers))
