"""Ends the local stack's worker when it hangs: `python -m deploy.local.worker_watch`.

The same check as a container's (`deploy/worker_health.py`), made again and again; supervisord says
which process it is about and starts it anew.
"""

import logging
import time

from deploy.local.processes import Processes
from deploy.worker_health import Hearing, MainProcess, Record
from shared import logs
from shared.settings import Settings

CHECK_SECONDS = 20.0

logger = logging.getLogger(__name__)


def main() -> None:
    settings = Settings()
    logs.configure(settings.log_level)
    hearing, record = Hearing(settings), Record()
    processes = Processes(settings.run_dir.absolute())
    while True:
        time.sleep(CHECK_SECONDS)
        worker = processes.program("worker")
        process = MainProcess(pid=worker.pid, age_seconds=worker.age_seconds)
        record, problem = hearing.check(process if worker.pid else None, record)
        if problem:
            logger.warning("worker is not well", extra={"reason": problem})


if __name__ == "__main__":
    main()
