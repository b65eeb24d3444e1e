"""Ends with 0 when the worker of this host was heard of lately: `python -m deploy.worker_health`.

The heartbeat comes from the event loop that takes messages, so a worker that hangs is found out.
`celery inspect ping` would say the same and import scikit-learn each time to ask.
"""

import socket
import sys

from shared.job_store.connection import connect
from shared.job_store.workers import WorkerRegistry
from shared.settings import Settings


def main() -> None:
    registry = WorkerRegistry(connect(Settings().redis_url))
    worker = f"worker@{socket.gethostname()}"
    if not registry.is_live(worker):
        sys.exit(f"{worker} was not heard of lately.")


if __name__ == "__main__":
    main()
