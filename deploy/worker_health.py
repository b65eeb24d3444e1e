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
    settings = Settings()
    registry = WorkerRegistry(
        connect(settings.redis_url),
        dead_after_seconds=settings.dead_after_seconds,
        max_job_losses=settings.max_job_losses,
    )
    host = socket.gethostname()
    if not registry.is_live(host):
        sys.exit(f"The worker of {host} was not heard of lately.")


if __name__ == "__main__":
    main()
