"""How work is announced: Celery's configuration, the queue, and the names of tasks.

A message says "there is work": a job id and a chunk number, never rows. The API sends by name
and knows no task function.
"""

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from shared.errors import StoreUnavailableError
from shared.settings import Settings

SCORE_CHUNK = "score_chunk"
BULK_QUEUE = "bulk"


def make_celery(settings: Settings) -> Celery:
    """A Celery app for sending and, in a worker, for receiving. Connects when first used."""
    celery = Celery("rowmill", broker=settings.broker_url)
    celery.conf.update(_configuration(settings))
    return celery


def _configuration(settings: Settings) -> dict[str, Any]:
    # A redelivery before the time limit would run a chunk twice for nothing.
    visibility_seconds = settings.chunk_time_limit_seconds + 30
    return {
        # What a worker holds when it dies is delivered again.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_time_limit": settings.chunk_time_limit_seconds,
        "worker_prefetch_multiplier": 1,
        # Results live in the job store; Celery's own would be a second truth.
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": BULK_QUEUE,
        # Events feed Flower.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "visibility_timeout": visibility_seconds,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 15,
            "socket_timeout": 5,
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
        "visibility_timeout": visibility_seconds,
        "task_publish_retry_policy": {
            "max_retries": 3,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        # A child first loads its models; the default of 4 s would kill it in an endless loop.
        "worker_proc_alive_timeout": 120,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_redirect_stdouts": False,
    }


class Dispatcher:
    """Announces chunks to the workers."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def announce(self, job_id: str, chunks: list[int], *, model: str) -> None:
        """Queue chunks of a job in order. Raises StoreUnavailableError when it can't be reached.

        `model` is for the eyes of who watches the queue; the worker goes by the job's record.
        """
        for chunk in chunks:
            try:
                self._celery.send_task(
                    SCORE_CHUNK,
                    kwargs={"job_id": job_id, "chunk": chunk, "model": model},
                    queue=BULK_QUEUE,
                )
            except OperationalError as error:
                raise StoreUnavailableError from error
