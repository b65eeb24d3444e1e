"""How workers are woken: Celery's configuration, the queues, and the name of the task.

A message says "there may be work": which chunk is next is decided in the job store when a worker is
free to run it. The job that a message names is for who watches the queue. So a message that comes
twice does no harm, and one that is lost costs the second until a worker's supervisor looks for
itself.
"""

from typing import Any

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError
from kombu.transport import TRANSPORT_ALIASES

from shared.errors import StoreUnavailableError
from shared.settings import Settings

SCORE_CHUNKS = "score_chunks"
WORK_QUEUE = "work"

OWN_QUEUE_KEPT_SECONDS = 60
"""How long the queue of a worker that is gone is kept."""


def own_queue(worker: str) -> Queue:
    """The queue by which a worker wakes itself, and finds out whether it hears its messages.

    Its messages are not acknowledged: Celery would put those of a dead worker back into a queue
    that nobody reads any more, without its expiry.
    """
    return Queue(f"{WORK_QUEUE}:{worker}", expires=OWN_QUEUE_KEPT_SECONDS, no_ack=True)


def make_celery(settings: Settings) -> Celery:
    """A Celery app for sending and, in a worker, for receiving. Connects when first used."""
    # For the whole process: kombu remembers transports, and goes by a URL's scheme alone once it
    # has tried the next sentinel.
    TRANSPORT_ALIASES["sentinel"] = "shared.master_transport:MasterTransport"
    celery = Celery("rowmill")
    celery.conf.update(_configuration(settings), **settings.broker.configuration)
    return celery


def _configuration(settings: Settings) -> dict[str, Any]:
    return {
        # The job store knows what a worker ran when it died; its message is of no use to anyone.
        "task_acks_late": False,
        "worker_concurrency": settings.processes,
        "worker_prefetch_multiplier": 1,
        # Results live in the job store; Celery's own would be a second truth.
        "task_ignore_result": True,
        "result_backend": None,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": WORK_QUEUE,
        # A message is of no use after a restart of the broker: workers look for themselves.
        "task_default_delivery_mode": "transient",
        # Events feed Flower.
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        # Who sends need not insist: a lost message is made up for.
        "task_publish_retry_policy": {
            "max_retries": 1,
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
    """Wakes workers."""

    def __init__(self, celery: Celery) -> None:
        self._celery = celery

    def wake(self, queue: Queue | None = None, *, job_id: str = "") -> None:
        """Make one worker process look for chunks. Raises StoreUnavailableError.

        `queue`: that of the worker to wake; any one by default. `job_id`: why, if because of a job.
        """
        kwargs = {"job_id": job_id} if job_id else {}
        try:
            # celery-types knows only names of queues.
            where: Any = queue or WORK_QUEUE
            self._celery.send_task(SCORE_CHUNKS, kwargs=kwargs, queue=where)
        except OperationalError as error:
            raise StoreUnavailableError from error
