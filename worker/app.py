"""Composition root of a worker: `celery -A worker.app worker`."""

import csv
import functools
import gc
import logging
import os
import secrets
import socket
from pathlib import Path
from typing import Any

import joblib
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
)
from redis import Redis
from threadpoolctl import threadpool_limits

from shared import logs, metrics, tracing
from shared.dispatch import Dispatcher, make_celery, own_queue
from shared.job_store.connection import connect
from shared.job_store.garbage import Garbage
from shared.job_store.leases import Holder, Leases
from shared.job_store.model_reports import ModelReports, VersionReport
from shared.job_store.store import JobStore
from shared.job_store.workers import WorkerRegistry
from shared.manifest import Manifest
from shared.model_repository import ModelRepository
from shared.settings import Settings
from worker import heap, tasks
from worker.background import Background
from worker.chunk_runner import ChunkRunner
from worker.companion import CompanionStep
from worker.metrics import WorkerMetrics
from worker.model_cache import ModelCache
from worker.model_loader import ModelLoader
from worker.model_trial import try_version
from worker.model_updates import ModelUpdates
from worker.model_watch import ModelWatch, ModelWatchStep
from worker.shadowing import Shadows
from worker.supervisor import Supervisor, SupervisorStep
from worker.tidying import Tidying

MORE_OOM_SCORE = 500
"""How much more readily the system ends a pool process than others when memory runs out. Whatever
the chunk, it is a process that is lost and not the worker, the container or Redis."""

MAX_OOM_SCORE = 1000
"""Highest that Linux knows (proc_pid_oom_score_adj(5))."""

BULK_NICENESS = 10
"""How far scoring bulk chunks stands back behind small jobs and behind the processes that take in,
wake and answer, on cores that they share: those need little, and callers wait for it."""

logger = logging.getLogger(__name__)

settings = Settings()
app = make_celery(settings)
app.conf.worker_consumer = "worker.consumer:PatientConsumer"
dispatcher = Dispatcher(app)

WORKER = f"{socket.gethostname()}/{secrets.token_hex(4)}"
"""Another one at every start: what a killed worker held is not its successor's."""

QUEUE = own_queue(WORKER)


@setup_logging.connect(weak=False)
def configure_logs(**_: Any) -> None:
    """Log as every Rowmill process does, in place of Celery's own way."""
    logs.configure(settings.log_level)
    tracing.begin("rowmill-worker")


@celeryd_init.connect(weak=False)
def count_together(**_: Any) -> None:
    """Have what the worker's processes count shown, if anybody may ask for it."""
    if settings.metrics_port:
        metrics.begin()


@functools.cache
def worker_metrics() -> WorkerMetrics:
    """What this process counts; it is made before others are forked."""
    return WorkerMetrics()


@functools.cache
def redis() -> Redis:
    """This process's connections; a child must not share its parent's."""
    return connect(settings.redis_url)


@functools.cache
def workers() -> WorkerRegistry:
    return WorkerRegistry(
        redis(),
        dead_after_seconds=settings.dead_after_seconds,
        max_job_losses=settings.max_job_losses,
    )


@functools.cache
def leases() -> Leases:
    return Leases(
        redis(),
        time_limit_seconds=settings.chunk_time_limit_seconds,
        max_job_losses=settings.max_job_losses,
        on_end=worker_metrics().end_job,
    )


def holder() -> Holder:
    return Holder(worker=WORKER, process=os.getpid())


@functools.cache
def models() -> ModelCache:
    """What is loaded here; a pool process begins with what its worker has loaded."""
    return ModelCache(
        model_loader(), max_bytes=settings.model_cache_bytes, metrics=worker_metrics()
    )


@functools.cache
def model_loader() -> ModelLoader:
    return ModelLoader.by(settings, ModelRepository(settings.models_dir))


@functools.cache
def model_reports() -> ModelReports:
    return ModelReports(redis())


@functools.cache
def model_watch() -> ModelWatch:
    """The watch of this worker's main process."""
    return ModelWatch(
        model_loader().repository,
        model_reports(),
        worker=WORKER,
        attempt=try_alone,
        trial_seconds=settings.chunk_time_limit_seconds,
        at_once=joblib.cpu_count(),
    )


def try_alone(manifest: Manifest) -> VersionReport:
    """Try a version in the process made for it, behind all who score."""
    os.nice(BULK_NICENESS)
    stand_back()
    limit_threads()
    return try_version(model_loader(), manifest)


@functools.cache
def chunk_runner() -> ChunkRunner:
    return ChunkRunner(
        store=JobStore(redis()),
        leases=leases(),
        workers=workers(),
        models=models(),
        shadows=Shadows(
            models(), model_reports(), time_limit_seconds=settings.chunk_time_limit_seconds
        ),
        metrics=worker_metrics(),
        max_losses=settings.max_chunk_losses,
        time_limit_seconds=settings.chunk_time_limit_seconds,
    )


@functools.cache
def background() -> Background:
    """This process's thread for bulk chunks."""
    return Background(niceness=BULK_NICENESS, prepare=limit_threads)


def limit_threads() -> None:
    """Bound the threads of BLAS and OpenMP. The latter's bound is one of the calling thread."""
    # Limits stay until the process ends; the object must live as long.
    limits.append(threadpool_limits(settings.threads_per_process))


limits: list[threadpool_limits] = []


def supervisor() -> Supervisor:
    return Supervisor(
        workers(),
        dispatcher,
        worker=WORKER,
        queue=QUEUE,
        bulk_processes=settings.workers,
        threads_per_process=settings.threads_per_process,
        cores=joblib.cpu_count(),
        stop_seconds=settings.stop_seconds,
    )


def stand_back() -> None:
    """Let this process be the one that goes when memory runs out."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text(str(min(int(score.read_text()) + MORE_OOM_SCORE, MAX_OOM_SCORE)))


@celeryd_after_setup.connect(weak=False)
def warn_of_too_many_threads(**_: Any) -> None:
    """Threads that wait for each other's cores cost more than they bring."""
    threads = settings.workers * settings.threads_per_process
    if threads > (cores := joblib.cpu_count()):
        fields = {"threads": threads, "cores": cores}
        logger.warning("more threads score than there are cores", extra=fields)


@celeryd_after_setup.connect(weak=False)
def load_before_fork(**_: Any) -> None:
    """Load all models once, before the pool is forked: its processes share their memory, and one
    that takes the place of another is ready at once. Each was tried elsewhere before."""
    ready = model_watch().settle()
    # Loading must start no thread of OpenMP or BLAS: a forked process would wait for it for ever.
    with threadpool_limits(1):
        models().preload(ready)
    keep_shared()


def keep_shared() -> None:
    """Let processes forked from now on go on sharing what is in memory.

    Garbage collection writes to every object it looks at, and what loading has freed would be
    copied when it is used again.
    """
    heap.give_back()
    gc.freeze()


@worker_process_shutdown.connect(weak=False)
def end_child(**_: Any) -> None:
    """Send what a pool child has not sent yet."""
    tracing.end()


@worker_process_init.connect(weak=False)
def prepare_child(**_: Any) -> None:
    """Make a pool child ready before it gets its first task."""
    for part in (redis, workers, leases, model_reports, chunk_runner, background):
        part.cache_clear()
    stand_back()
    # Damaged records are read with the csv module; a cell may hold more than its default limit.
    csv.field_size_limit(settings.max_record_bytes)
    chunk_runner()
    limit_threads()
    ModelUpdates(
        models(),
        told=functools.partial(model_reports().told_by, WORKER),
        tell=functools.partial(model_reports().tell_opened, WORKER, os.getpid()),
    ).start()
    Tidying(Garbage(redis())).start()


tasks.register(
    app,
    chunk_runner=chunk_runner,
    leases=leases,
    holder=holder,
    background=background,
    wake=dispatcher.wake,
    wake_this=functools.partial(dispatcher.wake, QUEUE),
)
app.steps["worker"].add(SupervisorStep.bound(supervisor, QUEUE))
app.steps["worker"].add(ModelWatchStep.bound(model_watch))
if settings.webhook_secrets:
    app.steps["worker"].add(CompanionStep.bound("worker.webhooks"))
if settings.metrics_port:
    app.steps["worker"].add(CompanionStep.bound("worker.metrics_server"))
