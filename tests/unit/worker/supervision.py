"""A supervisor whose clock and broker belong to the test; the registry is real."""

from kombu import Queue

from shared.dispatch import own_queue
from shared.errors import StoreUnavailableError
from shared.job_store.workers import WorkerRegistry
from tests.job_steps import WORKER
from worker.supervisor import Supervisor

QUEUE = own_queue(WORKER)
STOP_SECONDS = 20.0


class FakeClock:
    """Goes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class RecordingDispatcher:
    """Remembers which queues were woken."""

    def __init__(self) -> None:
        self.woken: list[Queue] = []
        self.is_away = False

    def wake(self, queue: Queue) -> None:
        if self.is_away:
            raise StoreUnavailableError
        self.woken.append(queue)


def make_supervisor(
    registry: WorkerRegistry, clock: FakeClock, dispatcher: RecordingDispatcher
) -> Supervisor:
    return Supervisor(
        registry,
        dispatcher,
        worker=WORKER,
        queue=QUEUE,
        bulk_processes=2,
        threads_per_process=1,
        cores=2,
        stop_seconds=STOP_SECONDS,
        clock=clock,
    )
